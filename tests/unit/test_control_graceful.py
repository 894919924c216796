"""The graceful stop: promised before the agent is told, bounded, pre-empted, and told of as it was heard."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.agents.messages import Cue, CueKind, HangUp, Lost
from onhook.calls.call import EventType
from onhook.calls.causes import Cause, Outcome, Reason
from onhook.calls.states import State
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Store
from onhook.testing.store import MemoryStore
from onhook.voice.ear import BargedIn, SpeechStarted
from tests.unit.control_bench import API
from tests.unit.graceful_bench import BYE, POLITE, asked, ended, farewell_of, polite, says_goodbye, talking, told
from tests.unit.voice_bench import VoiceBench

pytestmark = pytest.mark.unit


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "onhook.db")
    await store.open()
    yield store
    await store.close()


async def test_the_agent_says_its_farewell_and_the_call_ends_for_who_asked(store: Store) -> None:
    bench, call = await talking(store)
    bench.pass_time(call, 100)
    winding = await asked(bench, call)
    (timer,) = await bench.store.timers(call.id)
    assert (winding.state, winding.stop) == (State.ANSWERED, None)
    assert timer == CallTimer(TimerKind.FAREWELL, timer.set_at + 3_000, POLITE, bench.clock.now_ms(), "req_1")
    assert bench.agent.sent == [Cue(CueKind.FAREWELL, "So long.")]
    says_goodbye(bench, 400)
    bench.pass_time(call, 580)
    assert await bench.goes_on(call)
    bench.pass_time(call, 60)

    over = await ended(bench, call)
    assert (over.cause, over.outcome, farewell_of(over)) == (POLITE, Outcome.COMPLETED, "played")
    assert over.stop is not None
    assert over.stop.request_id == "req_1"
    assert over.ended_at is not None
    assert over.ended_at < timer.at
    types = await bench.event_types(call.id)
    assert types.index("call.farewell_started") < types.index("call.stop_requested")


@pytest.mark.parametrize(
    ("said_ms", "hangs_up", "farewell"),
    [(0, False, "skipped"), (60_000, False, "truncated"), (60_000, True, "truncated"), (200, False, "truncated")],
)
async def test_at_its_deadline_the_call_ends_whatever_the_agent_does(
    store: Store, said_ms: int, hangs_up: bool, farewell: str
) -> None:
    bench, call = await talking(store)
    await asked(bench, call, 2_000)
    asked_at = bench.clock.now_ms()
    says_goodbye(bench, said_ms, hangs_up=hangs_up)
    bench.pass_time(call, 1_980)
    assert await bench.goes_on(call)
    bench.pass_time(call, 20)

    over = await ended(bench, call)
    assert (over.cause, farewell_of(over), over.ended_at) == (POLITE, farewell, asked_at + 2_000)


async def test_an_agent_that_hangs_up_without_a_word_has_said_no_farewell(store: Store) -> None:
    bench, call = await talking(store)
    bench.speaks("Hello.", 200)
    bench.pass_time(call, 400)
    await asked(bench, call)
    bench.agent.say(HangUp("", drain=True))
    bench.pass_time(call, 300)
    over = await ended(bench, call)
    assert (over.cause, farewell_of(over)) == (POLITE, "skipped")


async def test_a_deadline_that_falls_into_the_pause_after_the_last_word_finds_the_farewell_played(store: Store) -> None:
    bench, call = await talking(store)
    await asked(bench, call, 500)
    says_goodbye(bench, 400)
    bench.pass_time(call, 500)
    over = await ended(bench, call)
    assert (over.cause, farewell_of(over)) == (POLITE, "played")


@pytest.mark.parametrize("state", [State.SCHEDULED, State.DIALING, State.RINGING, State.ENDED])
async def test_where_nobody_can_say_it_the_call_ends_at_once(store: Store, state: State) -> None:
    bench = VoiceBench(store=store)
    await bench.open()
    call = await bench.place(delay_s=60 if state is State.SCHEDULED else 0)
    if state is State.RINGING:
        bench.engine.ring(call.id)
    if state is State.ENDED:
        bench.engine.reject(call.id, 486)
    await bench.settled()
    found = await bench.graceful.request(polite(bench, call), wait_ms=1_000)
    assert found is not None
    over = await ended(bench, call)
    if state is State.ENDED:
        assert (over.stop, over.outcome) == (None, Outcome.BUSY)
    else:
        assert (over.cause, farewell_of(over), over.outcome) == (POLITE, "skipped", Outcome.CANCELED)
    assert "call.farewell_started" not in await bench.event_types(call.id)


@pytest.mark.parametrize("kind", [AgentKind.ECHO, AgentKind.SILENCE, AgentKind.GREETING])
async def test_an_agent_that_cannot_be_asked_says_nothing(kind: AgentKind) -> None:
    bench, call = await talking(definition=AgentDefinition(kind))
    await asked(bench, call)
    over = await ended(bench, call)
    assert (over.cause, farewell_of(over)) == (POLITE, "skipped")
    assert "call.farewell_started" not in await bench.event_types(call.id)


async def test_an_agent_that_is_not_on_the_call_yet_is_not_waited_for() -> None:
    bench = VoiceBench()
    await bench.open()
    call = await bench.dial()
    bench.conversations._calls[call.id].info = None
    bench.engine.answer(call.id)
    await bench.recorder.drained()
    await asked(bench, call)
    assert farewell_of(await ended(bench, call)) == "skipped"


async def test_other_tenants_calls_are_unknown_and_go_on(store: Store) -> None:
    bench, call = await talking(store)
    assert await bench.graceful.request(polite(bench, call, environment_id="b")) is None
    assert not bench.agent.sent
    assert await bench.goes_on(call)


@pytest.mark.parametrize(("said_ms", "farewell"), [(0, "skipped"), (1_000, "truncated")])
async def test_a_hard_stop_pre_empts_the_farewell_and_the_call_is_its_own(
    store: Store, said_ms: int, farewell: str
) -> None:
    bench, call = await talking(store)
    await asked(bench, call)
    says_goodbye(bench, said_ms, hangs_up=said_ms > 0)
    bench.pass_time(call, 200)
    leg = bench.engine.legs[call.id]
    heard = bytes(leg.left)
    stopped = await bench.ending.request_stop(bench.stop_order(call.id), 1_000)

    assert stopped is not None
    assert stopped.first
    over = await ended(bench, call)
    assert (over.cause, farewell_of(over)) == (API, farewell)
    assert bytes(leg.left) == heard


async def test_not_a_word_is_heard_after_the_stop_that_cut_the_farewell_short() -> None:
    bench, call = await talking()
    await asked(bench, call)
    says_goodbye(bench, 300)
    bench.pass_time(call, 200)
    leg = bench.engine.legs[call.id]
    heard = leg.left.count(BYE)
    bench.store.write_delay = 0.01
    stopping = asyncio.create_task(bench.ending.request_stop(bench.stop_order(call.id)))
    await asyncio.sleep(0)
    bench.pass_time(call, 200)
    await stopping
    assert farewell_of(await ended(bench, call)) == "truncated"
    assert leg.left.count(BYE) == heard


async def test_a_bulk_stop_pre_empts_it_too(store: Store) -> None:
    bench, call = await talking(store)
    await asked(bench, call)
    says_goodbye(bench, 1_000)
    bench.pass_time(call, 200)
    await bench.ending.end_many([bench.stop_order(call.id)])
    assert farewell_of(await ended(bench, call)) == "truncated"


async def test_a_hard_stop_of_a_call_that_says_no_farewell_tells_of_none(store: Store) -> None:
    bench, call = await talking(store)
    bench.speaks("A long story.", 5_000)
    bench.pass_time(call, 200)
    await bench.ending.request_stop(bench.stop_order(call.id))
    assert farewell_of(await ended(bench, call)) is None


async def test_barging_in_does_not_cancel_a_farewell(store: Store) -> None:
    bench, call = await talking(store)
    await asked(bench, call)
    says_goodbye(bench, 600)
    bench.pass_time(call, 100)
    bench.hears(call, SpeechStarted(0), BargedIn(100, 100))
    bench.pass_time(call, 800)
    assert farewell_of(await ended(bench, call)) == "played"


@pytest.mark.parametrize(("second_ms", "end_ms"), [(500, 500), (2_000, 1_500), (100, 200)])
async def test_a_second_one_returns_the_first_and_only_shortens_it(store: Store, second_ms: int, end_ms: int) -> None:
    bench, call = await talking(store)
    await asked(bench, call, 1_500)
    begun = bench.clock.now_ms()
    bench.pass_time(call, 100) if second_ms == 100 else None
    other = Cause("api_key:k2", Reason.API_STOP, text="me too")
    again = await asked(bench, call, second_ms, cause=other, request_id="req_2", text="Never said.")
    assert again.state is State.ANSWERED
    (timer,) = await bench.store.timers(call.id)
    assert (timer.cause, timer.at) == (POLITE, begun + end_ms)
    assert bench.agent.sent == [Cue(CueKind.FAREWELL, "So long.")]
    told = [one.data["actor"] for one in await bench.store.events(call.id) if one.type is EventType.FAREWELL_STARTED]
    assert told == ["api_key:k9", "api_key:k2"][: 2 if end_ms < 1_500 else 1]
    bench.pass_time(call, begun + end_ms - bench.clock.now_ms())

    over = await ended(bench, call)
    assert (over.cause, over.ended_at) == (POLITE, begun + end_ms)


async def test_the_far_ends_goodbye_during_the_farewell_is_why_the_call_ended(store: Store) -> None:
    bench, call = await talking(store)
    await asked(bench, call)
    says_goodbye(bench, 1_000)
    bench.pass_time(call, 200)
    bench.engine.hang_up_far_end(call.id)
    over = await ended(bench, call)
    assert over.cause is not None
    assert (over.cause.reason, over.stop) == (Reason.HANGUP, None)
    (told,) = await bench.noted(call, EventType.CONVERSATION_ENDED)
    assert told["farewell"] == "truncated"
    bench.pass_time(call, 5_000)
    assert await ended(bench, call) == over


@pytest.mark.parametrize(("said_ms", "farewell"), [(0, "skipped"), (400, "truncated")])
async def test_an_agent_that_is_lost_during_its_farewell_has_not_said_it(
    store: Store, said_ms: int, farewell: str
) -> None:
    bench, call = await talking(store)
    await asked(bench, call)
    says_goodbye(bench, said_ms, hangs_up=False)
    bench.pass_time(call, 100)
    bench.agent.say(Lost("killed"))
    bench.pass_time(call, 1_000)
    over = await ended(bench, call)
    assert (over.cause, farewell_of(over)) == (POLITE, farewell)


async def test_an_agent_that_is_hanging_up_already_is_given_no_longer_than_the_deadline(store: Store) -> None:
    bench, call = await talking(store, drain_ms=20_000)
    bench.speaks("A long good-bye.", 10_000, HangUp("done", drain=True))
    bench.pass_time(call, 100)
    begun = bench.clock.now_ms()
    winding = await asked(bench, call, 1_000)
    assert winding.state is State.ANSWERED
    bench.pass_time(call, 1_000)
    over = await ended(bench, call)
    assert (over.cause, farewell_of(over), over.ended_at) == (POLITE, "truncated", begun + 1_000)


async def test_an_agent_that_is_hanging_up_already_and_ends_in_time_is_why_the_call_ended(store: Store) -> None:
    bench, call = await talking(store)
    bench.speaks("Good-bye.", 400, HangUp("done", drain=True))
    bench.pass_time(call, 100)
    await asked(bench, call)
    bench.pass_time(call, 600)
    over = await ended(bench, call)
    assert (over.cause, farewell_of(over)) == (Cause("agent", Reason.AGENT_HANGUP, text="done"), "played")


async def test_the_answer_waits_for_the_end_when_it_is_told_to(store: Store) -> None:
    bench, call = await talking(store)
    waiting = asyncio.create_task(bench.graceful.request(polite(bench, call), wait_ms=5_000))
    await told(bench)
    says_goodbye(bench, 200)
    bench.pass_time(call, 500)
    found = await waiting
    assert found is not None
    assert (found.state, farewell_of(found)) == (State.ENDED, "played")
