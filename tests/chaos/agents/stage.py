"""A whole node, all that its agents talk to, phones that they call: calls to be brought into a state and stopped."""

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.chaos.agents.world import BOT, VOICE, World
from tests.wire.harness import MachineLag
from tests.wire.node import NodeUnderTest, running_node
from tests.wire.peers.compose import Act
from tests.wire.peers.raw_uas import RawUas, Script
from tests.wire.peers.rtp_caller import RtpCaller, Say

from onhook.agents import pool as pool_module
from onhook.agents.definition import LINE_KINDS, AgentKind
from onhook.agents.pool import AgentPool
from onhook.agents.process import Counters
from onhook.calls.call import Call, Event, EventType
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Result
from onhook.provision import DEFAULT_ENVIRONMENT, create_key
from onhook.store.store import Number, StopOrder, Stopped, TrunkRecord

LIMIT_S = 30.0
"""For what has no limit of its own: a process that starts on a busy machine."""
STOP_LIMIT_MS = 100.0
COMMIT_MS = 20.0
"""What a stop's commit may take of that. A disk that needs longer is no agent's doing: the limit grows by it."""
CLOSE_LIMIT_S = 0.6
KILL_LIMIT_S = 2.6
"""When a process that answers nothing is killed at the latest, and its sockets with it."""
PROGRAM_LIMIT_S = 3.5
"""espeak-ng is given 3 s for a sentence, which all calls of its process may want; then it is killed."""
LOUD = 8
"""Frames of a voice, of 20 ms, after which somebody is speaking."""

SLOW: Script = {"BYE": [(Act("200 OK", 0.07),)]}
"""A far end that takes its time to answer a BYE: audio that goes on after it would come in that time."""

NEVER_SPOKEN = "This sentence hangs."
GREETING = "Good morning, this is the agent of the tests, with a greeting that takes its time. Press one to go on."
FAREWELL = "That was all that there was to say. Thank you for your patience, and goodbye until the next time."
ESPEAK = """#!/bin/sh
case "$*" in *--voices*) exec {program} --voices ;; esac
text=$(cat)
case "$text" in *hangs*) exec sleep 600 ;; esac
printf %s "$text" | exec {program} "$@"
"""
"""espeak-ng, but for one sentence, which it never speaks."""

SCRIPT = {
    "start": "hello",
    "states": {
        "hello": {"say": GREETING, "expect": [{"keys": "1", "goto": "stuck"}], "retries": 0},
        "stuck": {"say": NEVER_SPOKEN, "hang_up": True},
    },
}
WORDS = {"prompt": "Be kind.", "initial_message": GREETING}
SETTINGS: dict[AgentKind, dict[str, Any]] = {
    AgentKind.SCRIPTED: {"script": SCRIPT},
    AgentKind.WEBSOCKET: {},
    AgentKind.OPENAI_REALTIME: WORDS,
    AgentKind.CHAIN: {**WORDS, "options": {"stt": "deepgram", "tts": "elevenlabs"}},
    AgentKind.ECHO: {},
    AgentKind.SILENCE: {},
}

_numbers = itertools.count(1)
_stops = itertools.count(1)


async def until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Look every 10 ms whether it is so: what the conditions are about, in other processes, sets no event here."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Stop(NamedTuple):
    """A stop that was asked for: by the wall clock in ms, and by the event loop's in s."""

    asked_ms: float
    asked_s: float
    lag: MachineLag


class Line:
    """A call of one agent, and the phone that it calls."""

    def __init__(self, stage: "Stage", kind: AgentKind, far: RawUas, phone: RtpCaller, agent_id: str) -> None:
        self.kind, self.far, self.phone = kind, far, phone
        self.call_id = ""
        self._stage = stage
        self._agent_id = agent_id

    async def place(self, number: str) -> None:
        """Dial; return when the call is answered."""
        order = {"to_number": "+12025550100", "agent_id": self._agent_id, "from_number": number}
        self.call_id = (await self._stage.post("/v1/calls", order))["call_id"]
        await self._stage.node.watcher.reached(self.call_id, "answered")

    async def speaking(self) -> None:
        """Wait until the far end hears a voice from now on, and more is to come."""
        before = loud_frames(self.phone.heard)
        await until(lambda: loud_frames(self.phone.heard) >= before + LOUD)
        assert self._stage.engine.queued_ms(self.call_id) > 0

    async def started(self) -> None:
        """Wait until the agent is ready, and the far end hears the line."""
        if self.kind not in LINE_KINDS:
            await self.logged(EventType.AGENT_STARTED)
        await self.phone.received(5)

    async def logged(self, event: EventType) -> None:
        """Wait until an event is in the call's log."""
        async with asyncio.timeout(LIMIT_S):
            while event not in [one.type for one in await self.events()]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def stop(self) -> Stop:
        """Stop the call, by TalkOver's way or Retell's in turn."""
        lag = MachineLag()
        lag.start()
        stop = Stop(time.time() * 1000, asyncio.get_running_loop().time(), lag)
        if next(_stops) % 2:
            await self._stage.post(f"/api/v1/agents/{self._agent_id}/end-call", {"call_sid": self.call_id})
        else:
            await self._stage.post(f"/v2/stop-call/{self.call_id}", {})
        lag.stop()
        return stop

    async def ended(self) -> Call:
        """Wait until the call is settled and written, and return it."""
        await self._stage.node.watcher.reached(self.call_id, "ended")
        call = await self._stage.node.node.store.get_call(self.call_id, None)
        assert call is not None
        return call

    async def events(self) -> list[Event]:
        """Return the call's log."""
        await self._stage.node.node.recorder.drained()
        return list(await self._stage.node.node.store.events(self.call_id))

    async def assert_stopped(self, stop: Stop) -> None:
        """The far end had its BYE at once, and nothing after it; the log has one end, and the proof of it."""
        took = await self.assert_ended(Reason.API_STOP) - stop.asked_ms
        assert took < self.limit_ms(stop.lag), f"{self.kind}: BYE after {took:.1f} ms"

    def limit_ms(self, lag: MachineLag) -> float:
        """Return how long the BYE may take: what the machine gave to others in that time does not count."""
        return STOP_LIMIT_MS + lag.ms + max(0.0, self._stage.commits_ms[self.call_id] - COMMIT_MS)

    async def assert_ended(self, reason: Reason) -> float:
        """One BYE went out, no audio after it; the log has one end, for this reason, and the proof of it.

        Returns when the BYE came to the far end, in ms of the wall clock.
        """
        call = await self.ended()
        assert call.cause is not None
        assert call.cause.reason is reason, f"{self.kind}: {call.cause}"
        assert call.proof is not None
        assert call.proof.result is Result.CONFIRMED, f"{self.kind}: {call.proof}"
        assert [one.type for one in await self.events()].count(EventType.ENDED) == 1
        (bye,) = self.far.log.requests("BYE")
        assert self.phone.last_at <= bye.at, f"{self.kind}: audio {self.phone.last_at - bye.at:.1f} ms after the BYE"
        return bye.at

    def farewell_stage(self) -> str:
        """Return how far the last words are."""
        seated = self._stage.node.node.conversations._calls[self.call_id]
        assert seated.conversation is not None
        return str(seated.conversation.farewell.stage)

    def wind_down(self, limit_ms: int = 20_000) -> None:
        """Have the call end politely, as the clock of its maximum duration does."""
        cause = Cause("timer", Reason.MAX_DURATION)
        assert self._stage.node.node.conversations.wind_down(self.call_id, cause, limit_ms, FAREWELL)


class Stage:
    """The node, for many cases one after another. What each case leaves is held against what there was at the start."""

    def __init__(self, node: NodeUnderTest, listener: socket.socket) -> None:
        self.node = node
        self.engine = node.node.engine
        self.pool: AgentPool
        self.commits_ms: dict[str, float] = {}
        """How long the stop of a call took to be durable."""
        self._request_stops = node.node.store.request_stops
        self._listener = listener
        self._before: Counter[str]
        self._counters: Counters

    async def warm_up(self) -> None:
        """Have all that comes with the first call and stays: processes, the ear's model, a recogniser."""
        pool = await self.node.node.open_agents()
        assert isinstance(pool, AgentPool)
        self.pool = pool
        await until(lambda: pool.ready() == pool.count)
        async with self.world(), self.line(AgentKind.SCRIPTED) as line:
            await line.speaking()
            await line.stop()
            await line.ended()
        await until(lambda: not any(process.calls for process in pool._processes()))
        self._before = belongings()

    async def request_stops(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        """Have the store take stops, and note how long it takes."""
        began = time.perf_counter()
        found = await self._request_stops(orders)
        for order in orders:
            self.commits_ms.setdefault(order.call_id, (time.perf_counter() - began) * 1000)
        return found

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post to the API; return the answer's body, if it has one."""
        response = await self.node.client.post(path, json=body)
        assert response.status_code in (200, 201, 204), f"{path}: {response.status_code} {response.text}"
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer

    @contextlib.asynccontextmanager
    async def world(self, *, shy: bool = False) -> AsyncIterator[World]:
        """Serve all that agents talk to, on the port that the agent processes know."""
        world = World(shy=shy)
        self._counters = Counters(**vars(self.pool.counters))
        async with world.serving(self._listener):
            yield world

    @contextlib.asynccontextmanager
    async def line(self, kind: AgentKind, *says: Say, **settings: Any) -> AsyncIterator[Line]:
        """Place a call by an agent of a kind to a phone of its own, where somebody says `says`; it is answered."""
        with RtpCaller(says) as phone, contextlib.closing(RawUas(SLOW, phone.port)) as far:
            name, number = f"case_{next(_numbers)}", f"+1202556{next(_numbers):04}"
            uri = f"sip:127.0.0.1:{far.port};transport=udp"
            await self.node.node.store.put(TrunkRecord(name, DEFAULT_ENVIRONMENT, name, uri, 0))
            await self.node.node.store.put(Number(name, DEFAULT_ENVIRONMENT, number, name, 0))
            url = {"url": f"ws://127.0.0.1:{self._listener.getsockname()[1]}{BOT}"}
            own = url if kind is AgentKind.WEBSOCKET else {}
            all_settings = {"start_timeout_ms": 20_000, **SETTINGS[kind], **own, **settings}
            body = {"name": name, "kind": kind, "settings": all_settings, "published": True}
            line = Line(self, kind, far, phone, (await self.post("/v1/agents", body))["id"])
            await line.place(number)
            try:
                yield line
            finally:
                if self.node.node.live.get(line.call_id) is not None:
                    await line.stop()
                    await line.ended()

    def pids_of_calls(self) -> list[int]:
        """Return the agent processes that have calls."""
        return [process.pid for process in self.pool._processes() if process.calls and process.pid is not None]

    def hung_programs(self) -> list[int]:
        """Return the programs that will never say what they were started for."""
        return [pid for agents in self.pool.pids() for pid in children_of(agents) if b"sleep" in command_of(pid)]

    async def assert_closed(self, world: World, since_s: float, limit_s: float = CLOSE_LIMIT_S) -> None:
        """Everybody to whom an agent talked has seen the connection close in time."""
        for watched in world.watch.all:
            async with asyncio.timeout(limit_s):
                await watched.closed.wait()
            took = watched.closed_at - since_s
            assert took < limit_s, f"{watched.path} closed after {took:.2f} s"

    async def assert_nothing_left(self, *, killed: int = 0, lost: int = 0, most_lost: int = 0) -> None:
        """No call, agent, task, socket or program is left, and the pool counted what happened: never a leak.

        Of children there are the agent processes, as many as there are to be, and their recognisers. `lost` calls have
        lost an agent, or up to `most_lost`: an apology may be given to a process that is dead, too.
        """
        pool = self.pool
        await until(lambda: not any(process.calls for process in pool._processes()))
        happened = {name: now - getattr(self._counters, name) for name, now in vars(pool.counters).items()}
        assert (happened["leaks"], happened["killed"]) == (0, killed), str(happened)
        assert lost <= happened["lost"] <= max(lost, most_lost), str(happened)
        assert self.node.node.conversations.live == 0
        assert self.engine.live_legs() == self.node.node.media.live_sessions == 0
        await until(lambda: pool.ready() == pool.count)
        with contextlib.suppress(TimeoutError):
            await until(lambda: not belongings() - self._before, 2)
        left = belongings() - self._before
        assert not left, str(left)
        assert set(children_of("self")) == set(pool.pids())
        with contextlib.suppress(TimeoutError):
            await until(lambda: not self.strangers(), PROGRAM_LIMIT_S)
        assert self.strangers() == []

    def strangers(self) -> list[bytes]:
        """Return the programs of agent processes that are not their recognisers."""
        programs = [command_of(child) for pid in self.pool.pids() for child in children_of(pid)]
        return [program for program in programs if program and b"recognizer" not in program]


@contextlib.asynccontextmanager
async def open_stage(directory: Path) -> AsyncIterator[Stage]:
    """Run a node whose agent processes find the world, and an espeak-ng that may hang."""
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        patch.setattr("tests.providers.cloud.TONE", VOICE)
        # Processes are killed here again and again, which is no fault of theirs.
        patch.setattr(pool_module, "LONG_LIFE_S", 0.0)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        for provider in ("OPENAI", "DEEPGRAM", "ELEVENLABS"):
            patch.setenv(f"{provider}_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
            patch.setenv(f"{provider}_API_KEY", f"{provider.lower()}-key")
        patch.setenv("PATH", f"{_programs(directory)}:{os.environ['PATH']}")
        bots = (f"ws://127.0.0.1:{listener.getsockname()[1]}",)
        async with running_node(directory, own_trunks=True, bots=bots) as node:
            await create_key(node.node.store, node.node.clock, DEFAULT_ENVIRONMENT, "signs", kept_in=node.node.secrets)
            stage = Stage(node, listener)
            patch.setattr(node.node.store, "request_stops", stage.request_stops)
            await stage.warm_up()
            yield stage


def _programs(directory: Path) -> Path:
    real = shutil.which("espeak-ng")
    assert real is not None
    programs = directory / "programs"
    programs.mkdir()
    program = programs / "espeak-ng"
    program.write_text(ESPEAK.format(program=real))
    program.chmod(0o755)
    return programs


def loud_frames(mulaw: bytes) -> int:
    """Count the frames of 20 ms with a voice in them."""
    frames = (mulaw[at : at + 160] for at in range(0, len(mulaw), 160))
    return sum(sum(code & 0x7F < 0x60 for code in frame) > 8 for frame in frames)


def belongings() -> Counter[str]:
    """Return how many sockets and pipes this process has, and the other tasks of this event loop by name."""
    descriptors = [os.readlink(one.path).partition("[")[0] for one in os.scandir("/proc/self/fd") if one.is_symlink()]
    kinds = [one for one in descriptors if one in ("socket:", "pipe:")]
    tasks = [str(task.get_coro()) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    return Counter(kinds + [task.partition(" at 0x")[0] for task in tasks])


def children_of(process: int | str) -> list[int]:
    """Return the process ids that the threads of a process have started."""
    children: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has just ended.
        for thread in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children += map(int, (thread / "children").read_text().split())
    return children


def command_of(pid: int) -> bytes:
    """Return a process's command line, nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
