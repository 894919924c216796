"""`python -m benchmarks.soak [--minutes N]`: random calls, stopped at random moments, and nothing may be left of them.

The node is in this process, behind its HTTP server; the sandbox carrier is another process. Calls go in waves: each
dials random numbers of the sandbox (all the ways a call can go wrong), and is stopped at once, early, late, twice, or
left to its own end. Between waves, when all legs are settled and forgotten, the process must be as it was: no leg,
no audio session, no task and no descriptor more than after the first wave; and its memory must not grow with the calls
(the slope of a line through the samples). Every call must have ended, exactly once, with a cause and a proof. SIP's
timer T1 is 0.1 s here, so that silence is waited out in seconds; all the rest is as in production.

Leaves with 1 when any of this does not hold.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import uvloop

from benchmarks.machine import rss_kb, scratch
from onhook.agents.definition import AgentKind
from onhook.api.app import create_app
from onhook.api.http_server import HttpServer
from onhook.calls.call import EventType
from onhook.calls.states import State
from onhook.lines.sandbox import NUMBERS
from onhook.provision import ensure_sandbox
from onhook.server import Node, sip_settings
from onhook.settings import Settings
from onhook.store.secrets import SecretBox, load_or_create_key
from onhook.supervisor import SIP_SOCKETS, free_port

CALLS_PER_WAVE = 150
SPREAD_S = 8.0
"""Over how many seconds the calls of a wave begin."""
QUIET_LIMIT_S = 120.0
T1_S, WATCH_S = 0.1, 5.0
LAST_STOP_S = 10.0
"""A call that is left to its own end is stopped after that long all the same: some numbers never hang up."""
WARM_UP_WAVES = 3
KB_PER_CALL = 2.0
"""What memory may grow by: a leg that is kept weighs ten times that."""


class Sample(msgspec.Struct, frozen=True):
    """What the process holds between two waves."""

    calls: int
    tasks: int
    descriptors: int
    memory_kb: int
    legs: int
    sessions: int


class Soak:
    """Waves of calls on one node."""

    def __init__(self, node: Node, client: httpx.AsyncClient, agent_id: str, seed: int) -> None:
        self._node = node
        self._client = client
        self._agent_id = agent_id
        self._random = random.Random(seed)
        self._ids: list[str] = []
        self._faults: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.calls = 0

    async def wave(self) -> Sample:
        """Run one wave, wait until nothing is left of it, check its records, take a sample."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLS_PER_WAVE):
                group.create_task(self._call(self._random.uniform(0, SPREAD_S)))
        await self._quiet()
        await self._check_records()
        gc.collect()
        return Sample(
            calls=self.calls,
            tasks=len(asyncio.all_tasks()),
            descriptors=len(os.listdir("/proc/self/fd")),
            memory_kb=rss_kb(),
            legs=self._node.engine.remembered_legs(),
            sessions=self._node.media.live_sessions,
        )

    @property
    def faults(self) -> list[str]:
        """What was wrong with the records of calls."""
        return self._faults

    async def _call(self, delay: float) -> None:
        """Place one call and stop it at a random moment, sometimes twice at once."""
        number = self._random.choice(NUMBERS).digits
        moment = self._random.choice((0.0, 0.02, 0.1, self._random.uniform(0, 3), LAST_STOP_S))
        stops = self._random.choice((1, 1, 1, 2))
        await asyncio.sleep(delay)
        answer = await self._client.post(f"/api/v1/agents/{self._agent_id}/call", json={"to": f"+120255501{number}"})
        call_id = answer.raise_for_status().json()["data"]["id"]
        self._ids.append(call_id)
        await asyncio.sleep(moment)
        for answer in await asyncio.gather(*(self._stop(call_id) for _ in range(stops))):
            if answer.status_code not in (200, 204, 409):
                self._faults.append(f"{call_id}: a stop answered {answer.status_code} {answer.text}")

    async def _stop(self, call_id: str) -> httpx.Response:
        if self._random.random() < 0.5:
            return await self._client.post(f"/v2/stop-call/{call_id}")
        return await self._client.post(f"/api/v1/agents/{self._agent_id}/end-call", json={"call_sid": call_id})

    async def _quiet(self) -> None:
        """Wait until all legs are settled, written and forgotten. Raises `TimeoutError`."""
        async with asyncio.timeout(QUIET_LIMIT_S):
            await self._node.live.wait_until_empty()
            await self._node.recorder.drained()
            while self._node.engine.remembered_legs() or await self._node.store.snapshots():  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.2)

    async def _check_records(self) -> None:
        for call_id in self._ids:
            call = await self._node.store.get_call(call_id, None)
            events = await self._node.store.events(call_id)
            ends = sum(event.type is EventType.ENDED for event in events)
            if call is None or call.state is not State.ENDED or call.cause is None or call.proof is None or ends != 1:
                self._faults.append(f"{call_id}: {call.state if call else 'no row'}, {ends} end events")
            else:
                self.outcomes[f"{call.outcome} {call.proof.result}"] += 1
            if [event.seq for event in events] != list(range(1, len(events) + 1)):
                self._faults.append(f"{call_id}: the log has a gap")
        self.calls += len(self._ids)
        self._ids.clear()


def judged(samples: list[Sample]) -> list[str]:
    """Return what has grown, in words."""
    first, last = samples[0], samples[-1]
    found = [
        f"{name} grew from {getattr(first, name)} to {getattr(last, name)}"
        for name in ("tasks", "descriptors", "legs", "sessions")
        if getattr(last, name) > getattr(first, name)
    ]
    settled = samples[WARM_UP_WAVES:]
    if len(settled) >= WARM_UP_WAVES:
        slope = statistics.linear_regression([one.calls for one in settled], [one.memory_kb for one in settled]).slope
        print(f"    memory: {slope:+.2f} KB per call, {settled[0].memory_kb} to {settled[-1].memory_kb} KB")
        if slope > KB_PER_CALL:
            found.append(f"memory grows by {slope:.1f} KB per call")
    return found


@contextlib.contextmanager
def carrier() -> Iterator[int]:
    """Run a sandbox carrier; give its port."""
    port = free_port("127.0.0.1", *SIP_SOCKETS)
    process = subprocess.Popen(
        [sys.executable, "-m", "onhook", "phone", "--port", str(port), "--quiet"], stdin=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.asynccontextmanager
async def soak_of(directory: Path, carrier_port: int, seed: int) -> AsyncIterator[Soak]:
    """Run a node with its HTTP server, and give the waves for it."""
    uri = f"sip:127.0.0.1:{carrier_port};transport=udp"
    settings = Settings(data_dir=directory, http_bind="127.0.0.1:0", sip_bind="127.0.0.1:0", stop_wait_ms=500)
    secrets = SecretBox(load_or_create_key(directory / "secret.key"))
    sip = msgspec.structs.replace(sip_settings(settings), t1=T1_S, watch=WATCH_S)
    node = Node(settings, secrets, uri, sip)
    async with node.running(), HttpServer(create_app(node.services()), "127.0.0.1", 0) as server:
        base_url = f"http://127.0.0.1:{server.port}"
        sandbox = await ensure_sandbox(node.store, secrets, node.clock, directory, base_url, uri, AgentKind.GREETING)
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=base_url, headers=headers, limits=limits, timeout=60) as client:
            yield Soak(node, client, sandbox.agent_id, seed)


async def run(minutes: float, seed: int) -> int:
    """Run waves for so many minutes, two at least; print the summary; return the exit code."""
    samples: list[Sample] = []
    deadline = time.monotonic() + minutes * 60
    with scratch() as directory, carrier() as port:
        async with soak_of(directory, port, seed) as soak:
            while len(samples) < 2 or time.monotonic() < deadline:
                samples.append(await soak.wave())
                print(f"    {samples[-1]}", flush=True)
    found = judged(samples) + soak.faults
    print(f"    {soak.calls} calls: {', '.join(f'{count} {name}' for name, count in soak.outcomes.most_common())}")
    for fault in found:
        print(f"    {fault}")
    print(f"soak: {soak.calls} calls in {len(samples)} waves, seed {seed}: {'MISS' if found else 'PASS'}")
    return int(bool(found))


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Random calls; nothing may be left.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to go on (default: 30)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="to repeat a run")
    arguments = parser.parse_args()
    return uvloop.run(run(arguments.minutes, arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
