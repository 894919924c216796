"""Whatever an agent is doing, the end of its call is never late, and nothing of the agent outlives it.

Each case is a call over SIP and RTP that is brought into a state by an event and then stopped through an API. What
became of it is read from the far end's packets, from the other ends of the agent's connections, and from the kernel.

Not every kind knows every state:

    kind                  starting  speaks  listens  hangs  half-dead  process stopped  process killed  farewell
    scripted              x         x       x        x (1)  - (1)      x                x               x
    websocket             x         x       x        x      x          x                x               x
    openai_realtime       x         x       x        x      x          x                x               x
    chain                 x         x       x        x      x          x                x               x
    echo                  - (2)     x       x (3)    - (2)  - (2)      - (2)            - (2)           - (2)
    silence               - (2)     - (4)   x        - (2)  - (2)      - (2)            - (2)           - (2)

(1) Has programs instead of providers: espeak-ng hangs. A program has no close to answer.
(2) Lives in the line process: no start, no provider, no process of its own, and nobody to be asked for a farewell.
(3) Speaks and listens at once.
(4) Never speaks.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from tests.chaos.agents.stage import (
    FAREWELL,
    KILL_LIMIT_S,
    LOUD,
    NEVER_SPOKEN,
    Line,
    Stage,
    loud_frames,
    open_stage,
    until,
)
from tests.chaos.agents.world import World
from tests.providers.cloud import Temper
from tests.speech import needs_espeak, speak
from tests.wire.harness import MachineLag
from tests.wire.peers.rtp_caller import Say

from onhook.agents.definition import AgentKind
from onhook.calls.call import EventType
from onhook.calls.causes import Reason
from onhook.voice.farewell import FAREWELL as FAREWELL_MARK
from onhook.voice.seat import ANNOUNCER_TRIES

pytestmark = [pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module"), needs_espeak]

SCRIPTED, WEBSOCKET = AgentKind.SCRIPTED, AgentKind.WEBSOCKET
REALTIME, CHAIN = AgentKind.OPENAI_REALTIME, AgentKind.CHAIN
ECHO, SILENCE = AgentKind.ECHO, AgentKind.SILENCE
REMOTE = (WEBSOCKET, REALTIME, CHAIN)
"""Kinds that hold a connection to somebody else during the whole call."""
HOSTED = (SCRIPTED, *REMOTE)
"""Kinds that live in an agent process."""

CONNECTS_AT = {WEBSOCKET: "/bot", REALTIME: "/realtime", CHAIN: "/listen"}
VOICE_IN = {WEBSOCKET: "media", REALTIME: "input_audio_buffer.append", CHAIN: "audio"}
"""Where the caller's voice goes."""
ASKED_BY_KEY = {WEBSOCKET: ("dtmf", 1), REALTIME: ("response.create", 2), CHAIN: ("/chat/completions", 1)}
"""What is asked after a key, and how often it was asked then; the chain's greeting needs no model."""
APOLOGY = "I am sorry, there is a technical fault on our side, and I have to end this call now. Goodbye."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


async def stop_and_judge(stage: Stage, world: World, line: Line) -> None:
    """Stop a call; see that its end is in time and proved, and that its providers saw theirs."""
    stop = await line.stop()
    await line.assert_stopped(stop)
    await stage.assert_closed(world, stop.asked_s)


def each(*kinds: AgentKind) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, ids=str)


# --- a stop in each state ------------------------------------------------------------------------------------


@each(*HOSTED)
async def test_a_stop_while_the_agent_starts(stage: Stage, kind: AgentKind) -> None:
    settings: dict[str, Any] = {"script": {"say": NEVER_SPOKEN, "hang_up": True}} if kind is SCRIPTED else {}
    async with stage.world() as world:
        world.become(Temper.HALF_DEAD)
        async with stage.line(kind, **settings) as line:
            await until(lambda: bool(stage.hung_programs() if kind is SCRIPTED else world.of(CONNECTS_AT[kind])))
            await stop_and_judge(stage, world, line)
            assert EventType.AGENT_STARTED not in [event.type for event in await line.events()]
    await stage.assert_nothing_left()


@each(*HOSTED, ECHO)
async def test_a_stop_while_the_agent_speaks(stage: Stage, kind: AgentKind) -> None:
    async with stage.world() as world, stage.line(kind) as line:
        world.holds.clear()
        await line.speaking()
        await stop_and_judge(stage, world, line)
    await stage.assert_nothing_left()


@each(*HOSTED, ECHO, SILENCE)
async def test_a_stop_while_the_agent_listens(stage: Stage, kind: AgentKind) -> None:
    settings = {"agent_speaks_first": False, "initial_message": None} if kind in HOSTED else {}
    async with stage.world(shy=True) as world, stage.line(kind, **settings) as line:
        await line.started()
        if kind in REMOTE:
            await world.until(VOICE_IN[kind], 5)
        await stop_and_judge(stage, world, line)
    await stage.assert_nothing_left()


@each(*HOSTED)
async def test_a_stop_while_the_provider_hangs(stage: Stage, kind: AgentKind) -> None:
    async with stage.world() as world, stage.line(kind) as line:
        await line.speaking()
        world.become(Temper.HANGING)
        line.phone.press("1" if kind is SCRIPTED else "#", 100)
        if kind is SCRIPTED:
            await until(lambda: bool(stage.hung_programs()))
        else:
            await world.until(*ASKED_BY_KEY[kind])
        await stop_and_judge(stage, world, line)
    await stage.assert_nothing_left()


@each(*REMOTE)
async def test_a_stop_while_the_provider_is_half_dead(stage: Stage, kind: AgentKind) -> None:
    async with stage.world() as world, stage.line(kind) as line:
        await line.speaking()
        world.become(Temper.HALF_DEAD)
        await stop_and_judge(stage, world, line)
    await stage.assert_nothing_left()


@each(*HOSTED)
async def test_a_hard_stop_during_the_farewell(stage: Stage, kind: AgentKind) -> None:
    async with stage.world() as world, stage.line(kind) as line:
        await line.speaking()
        line.wind_down()
        await until(lambda: line.farewell_stage() == "draining")
        await line.speaking()
        await stop_and_judge(stage, world, line)
        assert await farewell_of(line) == "truncated"
    await stage.assert_nothing_left()


# --- agent processes that are wedged or gone -----------------------------------------------------------------


async def test_a_stop_while_agent_processes_are_stopped(stage: Stage) -> None:
    """Providers see their connections close when the processes are killed, as nobody in them can close any more."""
    async with one_call_of_each_kind(stage) as (world, lines):
        pids = stage.pids_of_calls()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        stops = [await line.stop() for line in lines]
        for line, stop in zip(lines, stops, strict=True):
            await line.assert_stopped(stop)
        await stage.assert_closed(world, stops[0].asked_s, KILL_LIMIT_S)
    await stage.assert_nothing_left(killed=len(pids))


async def test_a_stop_after_agent_processes_were_killed(stage: Stage) -> None:
    """The stop comes while other processes say the apology."""
    async with one_call_of_each_kind(stage, apology=APOLOGY) as (world, lines):
        killed_s = asyncio.get_running_loop().time()
        for pid in stage.pids_of_calls():
            os.kill(pid, signal.SIGKILL)
        await stage.assert_closed(world, killed_s)
        for line in lines:
            await line.speaking()
            await line.assert_stopped(await line.stop())
            assert await farewell_of(line) == "truncated"
    await stage.assert_nothing_left(lost=len(HOSTED), most_lost=ANNOUNCER_TRIES * len(HOSTED))


async def test_a_call_whose_agent_process_is_killed_ends_at_once(stage: Stage) -> None:
    """At once is counted from the process's death, which the kernel may take its time for, and the providers see."""
    async with one_call_of_each_kind(stage) as (world, lines):
        lag = MachineLag()
        lag.start()
        killed_ms, killed_s = time.time() * 1000, asyncio.get_running_loop().time()
        for pid in stage.pids_of_calls():
            os.kill(pid, signal.SIGKILL)
        await stage.assert_closed(world, killed_s)
        died_ms = killed_ms + 1000 * (max(watched.closed_at for watched in world.watch.all) - killed_s)
        for line in lines:
            took = await line.assert_ended(Reason.AGENT_LOST) - died_ms
            assert took < line.limit_ms(lag), f"{line.kind}: BYE after {took:.1f} ms"
        lag.stop()
    await stage.assert_nothing_left(lost=len(HOSTED))


async def test_a_call_whose_agent_process_hangs_ends_when_its_pulse_is_missed(stage: Stage) -> None:
    async with one_call_of_each_kind(stage) as (world, lines):
        stopped_s = asyncio.get_running_loop().time()
        pids = stage.pids_of_calls()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        await stage.assert_closed(world, stopped_s, KILL_LIMIT_S)
        for line in lines:
            await line.assert_ended(Reason.AGENT_LOST)
    await stage.assert_nothing_left(lost=len(HOSTED), killed=len(pids))


@pytest.mark.parametrize("wound", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_the_callers_of_lost_agents_hear_the_apology_to_its_end(stage: Stage, wound: signal.Signals) -> None:
    async with one_call_of_each_kind(stage, apology="Sorry.") as (_, lines):
        pids = stage.pids_of_calls()
        for pid in pids:
            os.kill(pid, wound)
        for line in lines:
            await line.assert_ended(Reason.AGENT_LOST)
            assert await farewell_of(line) == "played"
            assert loud_frames(line.phone.heard) > LOUD
    killed = len(pids) if wound is signal.SIGSTOP else 0
    await stage.assert_nothing_left(lost=len(HOSTED), most_lost=ANNOUNCER_TRIES * len(HOSTED), killed=killed)


@asynccontextmanager
async def one_call_of_each_kind(stage: Stage, **settings: Any) -> AsyncIterator[tuple[World, list[Line]]]:
    """Place a call by each kind that an agent process hosts, until all agents listen."""
    settings = {"agent_speaks_first": False, "initial_message": None, **settings}
    async with stage.world(shy=True) as world, AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(stage.line(kind, **settings)) for kind in HOSTED]
        for line in lines:
            await line.started()
        yield world, lines


# --- farewells -----------------------------------------------------------------------------------------------


async def test_a_caller_who_talks_over_the_farewell_does_not_cut_it(stage: Stage) -> None:
    over = Say(speak("No, wait a moment, please do not hang up on me yet, there is more."), over_ms=600)
    async with stage.world(), stage.line(SCRIPTED, over, agent_speaks_first=False) as line:
        await line.started()
        line.wind_down()
        await line.assert_ended(Reason.MAX_DURATION)
        assert EventType.CONVERSATION_STARTED in [event.type for event in await line.events()], "nobody was heard"
        assert await farewell_of(line) == "played"
        assert loud_frames(line.phone.heard) * 20 > 0.5 * len(speak(FAREWELL)) / 8
        assert not any(event.data["interrupted"] for event in await line.events() if event.type is EventType.TURN)
    await stage.assert_nothing_left()


async def test_last_words_whose_mark_is_never_echoed_end_in_their_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = stage.engine.mark
    monkeypatch.setattr(stage.engine, "mark", lambda call, name: None if name == FAREWELL_MARK else mark(call, name))
    script = {"say": "Bye.", "hang_up": True}
    async with stage.world(), stage.line(SCRIPTED, script=script, drain_ms=1500) as line:
        await line.assert_ended(Reason.FAREWELL_OVERRUN)
    await stage.assert_nothing_left()


@each(REALTIME, CHAIN)
async def test_a_farewell_that_a_hanging_provider_never_says_ends_in_its_time(stage: Stage, kind: AgentKind) -> None:
    settings = {"agent_speaks_first": False, "initial_message": None}
    async with stage.world() as world, stage.line(kind, **settings) as line:
        await line.started()
        world.become(Temper.HANGING)
        line.wind_down(limit_ms=300)
        await line.assert_ended(Reason.MAX_DURATION)
        assert await farewell_of(line) == "skipped"
    await stage.assert_nothing_left()


@each(REALTIME, CHAIN)
async def test_a_stop_while_nothing_else_would_happen_any_more(stage: Stage, kind: AgentKind) -> None:
    """The farewell was asked for, the provider hangs, the caller says nothing, the deadline is far away."""
    settings = {"agent_speaks_first": False, "initial_message": None}
    async with stage.world() as world, stage.line(kind, **settings) as line:
        await line.started()
        world.become(Temper.HANGING)
        line.wind_down()
        await until(lambda: bool(world.of("response.create") or world.of("/text-to-speech")))
        assert line.farewell_stage() == "asked"
        await stop_and_judge(stage, world, line)
    await stage.assert_nothing_left()


async def farewell_of(line: Line) -> str:
    """Return what became of the last words, by the log."""
    (over,) = [event for event in await line.events() if event.type is EventType.CONVERSATION_ENDED]
    result: str = over.data["farewell"]
    return result
