"""`python -m benchmarks.soak [--minutes N]`: random calls, stopped at random moments, and nothing may be left of them.

The node is in this process, behind its HTTP server; its agent processes and the sandbox carrier are others. Calls go in
waves. In each, 60 scripted agents talk at the same time with the people, the machine and the silence behind the
sandbox's numbers 22 to 27, are stopped at random moments or come to their own end, and a new conversation takes the
place of each that is over; beside them calls without a conversation dial random numbers of the sandbox (all the ways a
call can go wrong), and are stopped at once, early, late, twice, or left to their own end.

Between waves, when all legs are settled and forgotten, the processes must be as they were: no leg, no audio session, no
conversation, no task, no descriptor and no child more than after the first wave, and of these only the agent processes
with a recogniser each. The memory of the node and of the agent processes must not grow with the calls, once the store's
page caches are full (the slope of a line through the samples, less its doubt). No agent may leave anything behind, no
agent process be killed. Every call must have ended, exactly once, with a cause and a proof. SIP's timer T1 is 0.1 s
here, so that silence is waited out in seconds; all the rest is as in production.

Leaves with 1 when any of this does not hold.
"""

import argparse
import asyncio
import contextlib
import gc
import math
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

from benchmarks.calls_per_core import fill_caches
from benchmarks.machine import load, pss_kb, rss_kb, scratch
from onhook.agents.definition import AgentKind
from onhook.agents.pool import AgentPool
from onhook.api.app import create_app
from onhook.api.http_server import HttpServer
from onhook.calls.call import Dialect, EventType, new_agent_id
from onhook.calls.states import State
from onhook.lines.sandbox import NUMBERS
from onhook.provision import DEFAULT_ENVIRONMENT, SANDBOX_NUMBER, ensure_sandbox
from onhook.server import Node, sip_settings
from onhook.settings import Settings
from onhook.store.secrets import SecretBox, load_or_create_key
from onhook.store.store import Agent
from onhook.supervisor import SIP_SOCKETS, free_port

TALKING = 60
"""Conversations at the same time, and calls without one in each wave."""
WAVE_S = 20.0
"""How long a wave begins new conversations."""
PEOPLE = ("22", "23", "24", "25", "26", "27")
SPREAD_S = 8.0
"""Over how many seconds the calls without a conversation begin."""
QUIET_LIMIT_S = 120.0
T1_S, WATCH_S = 0.1, 5.0
LAST_STOP_S = 10.0
"""A call that is left to its own end is stopped after that long all the same: some numbers never hang up."""
LONGEST_TALK_S = 25.0
"""A conversation that has not come to its end by then is stopped."""
WARM_UP_WAVES, LEAST_WAVES = 4, 3
"""Before memory counts, and for a line through what it takes."""
KB_PER_CALL = 2.0
"""What memory may grow by, in the node and in the agent processes: a leg that is kept weighs ten times that."""
POOL_LIMIT_S = 60.0
PROCESSES_EACH = 2
"""An agent process and its recogniser."""


class Sample(msgspec.Struct, frozen=True):
    """What the processes hold between two waves."""

    calls: int
    tasks: int
    descriptors: int
    memory_kb: int
    legs: int
    sessions: int
    conversations: int
    children: int
    """Agent processes, and what they have started: one recogniser each."""
    agents_descriptors: int
    agents_kb: int


class Soak:
    """Waves of calls on one node. `scripted` is the agent that talks, `greeting` the one that does not."""

    def __init__(self, node: Node, pool: AgentPool, client: httpx.AsyncClient, scripted: str, greeting: str) -> None:
        self._node = node
        self._pool = pool
        self._client = client
        self._scripted = scripted
        self._greeting = greeting
        self._ids: list[str] = []
        self.faults: list[str] = []
        """What was wrong with calls, in words."""
        self.outcomes: Counter[str] = Counter()
        self.calls = 0

    async def wave(self, talking: int, wave_s: float, chance: random.Random) -> Sample:
        """Run one wave, wait until nothing is left of it, check its records, take a sample."""
        over = time.monotonic() + wave_s
        async with asyncio.TaskGroup() as group:
            for _ in range(talking):
                group.create_task(self._conversations(over, chance))
            for _ in range(talking):
                group.create_task(self._other_call(chance.uniform(0, SPREAD_S), chance))
        await self._quiet()
        await self._check_records()
        gc.collect()
        children = descendants(self._pool.pids())
        if len(children) > PROCESSES_EACH * self._pool.count:
            self.faults.append(f"{len(children)} children of {self._pool.count} agent processes")
        return Sample(
            calls=self.calls,
            tasks=len(asyncio.all_tasks()),
            descriptors=len(os.listdir("/proc/self/fd")),
            memory_kb=rss_kb(),
            legs=self._node.engine.remembered_legs(),
            sessions=self._node.media.live_sessions,
            conversations=self._node.conversations.live,
            children=len(children),
            agents_descriptors=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in children),
            agents_kb=sum(map(pss_kb, children)),
        )

    async def _conversations(self, over: float, chance: random.Random) -> None:
        """Hold one conversation after the other until it is `over`."""
        while time.monotonic() < over:
            moment = chance.choice((chance.uniform(0, 3), chance.uniform(0, LONGEST_TALK_S), LONGEST_TALK_S))
            call_id = await self._place(self._scripted, chance.choice(PEOPLE))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(moment):
                    while self._node.live.get(call_id) is not None:  # noqa: ASYNC110 (no event)
                        await asyncio.sleep(0.2)
            await self._stop_all(call_id, 1, chance)

    async def _other_call(self, delay: float, chance: random.Random) -> None:
        """Place one call and stop it at a random moment, sometimes twice at once."""
        number = chance.choice(NUMBERS).digits
        moment = chance.choice((0.0, 0.02, 0.1, chance.uniform(0, 3), LAST_STOP_S))
        stops = chance.choice((1, 1, 1, 2))
        await asyncio.sleep(delay)
        call_id = await self._place(self._greeting, number)
        await asyncio.sleep(moment)
        await self._stop_all(call_id, stops, chance)

    async def _place(self, agent_id: str, number: str) -> str:
        order = {"to_number": f"+120255501{number}", "from_number": SANDBOX_NUMBER, "agent_id": agent_id}
        answer = await self._client.post("/v1/calls", json=order)
        while answer.status_code == 429:  # The machine is too slow for more calls now; clients do as they are told.
            await asyncio.sleep(int(answer.headers["Retry-After"]))
            answer = await self._client.post("/v1/calls", json=order)
        call_id: str = answer.raise_for_status().json()["call_id"]
        self._ids.append(call_id)
        return call_id

    async def _stop_all(self, call_id: str, stops: int, chance: random.Random) -> None:
        """Stop a call so many times at once; the second finds it ended."""
        paths = [chance.choice((f"/v2/stop-call/{call_id}", f"/v1/calls/{call_id}/stop")) for _ in range(stops)]
        for answer in await asyncio.gather(*(self._client.post(path, json={}) for path in paths)):
            if answer.status_code not in (200, 204, 409):
                self.faults.append(f"{call_id}: a stop answered {answer.status_code} {answer.text}")

    async def _quiet(self) -> None:
        """Wait until all legs are settled, written and forgotten. Raises `TimeoutError`."""
        async with asyncio.timeout(QUIET_LIMIT_S):
            await self._node.live.wait_until_empty()
            await self._node.recorder.drained()
            while self._node.engine.remembered_legs() or await self._node.store.snapshots():  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.2)

    def judged_agents(self) -> list[str]:
        """Return whether an agent left something behind, or a process had to be killed, since the start."""
        counters = self._pool.counters
        return [f"agent processes: {counters}"] if counters.leaks or counters.killed or counters.lost else []

    async def _check_records(self) -> None:
        for call_id in self._ids:
            call = await self._node.store.get_call(call_id, None)
            events = await self._node.store.events(call_id)
            ends = sum(event.type is EventType.ENDED for event in events)
            if call is None or call.state is not State.ENDED or call.cause is None or call.proof is None or ends != 1:
                self.faults.append(f"{call_id}: {call.state if call else 'no row'}, {ends} end events")
            else:
                self.outcomes[f"{call.outcome} {call.proof.result}"] += 1
            if [event.seq for event in events] != list(range(1, len(events) + 1)):
                self.faults.append(f"{call_id}: the log has a gap")
        self.calls += len(self._ids)
        self._ids.clear()


GROWTH = ("tasks", "descriptors", "legs", "sessions", "conversations", "children", "agents_descriptors")
"""What must not be more at the end than after the first wave."""


def descendants(pids: list[int]) -> list[int]:
    """Return processes and all that they have started."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has ended meanwhile.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    found = list(pids)
    for pid in found:
        found += parents.get(pid, [])
    return found


def growth(calls: list[int], sizes: list[int]) -> tuple[float, float]:
    """Return the slope of a line through sizes in KB, and twice its standard error: a few samples prove little."""
    slope, start = statistics.linear_regression(calls, sizes)
    mean = statistics.fmean(calls)
    left = sum((size - start - slope * call) ** 2 for call, size in zip(calls, sizes, strict=True))
    return slope, 2 * math.sqrt(left / (len(calls) - 2) / sum((call - mean) ** 2 for call in calls))


def judged(samples: list[Sample]) -> list[str]:
    """Return what has grown, in words."""
    first, last = samples[0], samples[-1]
    found = [
        f"{name} grew from {getattr(first, name)} to {getattr(last, name)}"
        for name in GROWTH
        if getattr(last, name) > getattr(first, name)
    ]
    settled = samples[WARM_UP_WAVES:]
    for name in ("memory_kb", "agents_kb"):
        sizes = [getattr(one, name) for one in settled]
        slope, doubt = growth([one.calls for one in settled], sizes)
        print(f"    {name}: {slope:+.2f} +- {doubt:.2f} KB per call, {sizes[0]} to {sizes[-1]} KB")
        if slope - doubt > KB_PER_CALL:
            found.append(f"{name} grows by {slope:.1f} KB per call, {slope - doubt:.1f} at least")
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
async def soak_of(directory: Path, carrier_port: int) -> AsyncIterator[Soak]:
    """Run a node with its agent processes and its HTTP server, and give the waves for it."""
    uri = f"sip:127.0.0.1:{carrier_port};transport=udp"
    settings = Settings(data_dir=directory, http_bind="127.0.0.1:0", sip_bind="127.0.0.1:0", stop_wait_ms=500)
    secrets = SecretBox(load_or_create_key(directory / "secret.key"))
    sip = msgspec.structs.replace(sip_settings(settings), t1=T1_S, watch=WATCH_S)
    node = Node(settings, secrets, uri, sip)
    async with node.running(), HttpServer(create_app(node.services()), "127.0.0.1", 0) as server:
        base_url = f"http://127.0.0.1:{server.port}"
        sandbox = await ensure_sandbox(node.store, secrets, node.clock, directory, base_url, uri, AgentKind.GREETING)
        scripted = await _scripted_like(node, sandbox.agent_id)
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=base_url, headers=headers, limits=limits, timeout=httpx.Timeout(60, pool=None)
        ) as client:
            await fill_caches(node)
            yield Soak(node, await _agent_processes(node), client, scripted, sandbox.agent_id)


async def _scripted_like(node: Node, agent_id: str) -> str:
    """Add an agent that is like another, recorded, too, if that one is, and follows the built-in script."""
    agent = await node.store.get(Agent, agent_id, DEFAULT_ENVIRONMENT)
    assert agent is not None
    scripted = new_agent_id(Dialect.TALKOVER)
    await node.store.put(msgspec.structs.replace(agent, id=scripted, kind=AgentKind.SCRIPTED.value))
    return scripted


async def _agent_processes(node: Node) -> AgentPool:
    """Start the agent processes; return when all are up. Raises `TimeoutError`."""
    await node.open_agents()
    assert node.pool is not None
    pool = node.pool
    async with asyncio.timeout(POOL_LIMIT_S):
        while pool.ready() < pool.count:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.1)
    return pool


async def run(minutes: float, talking: int, wave_s: float, seed: int) -> int:
    """Run waves for so many minutes, as many as can be judged at least; print the summary; return the exit code."""
    samples: list[Sample] = []
    chance = random.Random(seed)
    deadline = time.monotonic() + minutes * 60
    with scratch() as directory, carrier() as port:
        async with soak_of(directory, port) as soak:
            while len(samples) < WARM_UP_WAVES + LEAST_WAVES or time.monotonic() < deadline:
                samples.append(await soak.wave(talking, wave_s, chance))
                print(f"    {samples[-1]}; {load()}", flush=True)
    found = judged(samples) + soak.faults + soak.judged_agents()
    print(f"    {soak.calls} calls: {', '.join(f'{count} {name}' for name, count in soak.outcomes.most_common())}")
    for fault in found:
        print(f"    {fault}")
    print(f"soak: {soak.calls} calls in {len(samples)} waves, seed {seed}: {'MISS' if found else 'PASS'}")
    return int(bool(found))


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Random calls; nothing may be left.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to go on, seven waves at least")
    parser.add_argument("--talking", type=int, default=TALKING, help=f"conversations at a time (default: {TALKING})")
    parser.add_argument("--wave", type=float, default=WAVE_S, help=f"seconds of new talks (default: {WAVE_S:g})")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="to repeat a run")
    arguments = parser.parse_args()
    return uvloop.run(run(arguments.minutes, arguments.talking, arguments.wave, arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
