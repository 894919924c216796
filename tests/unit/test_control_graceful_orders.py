"""Graceful stops when something goes wrong, and in every order with what else may end a call."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.agents.messages import Cue, CueKind, HangUp
from onhook.calls.call import Call, EventType
from onhook.calls.causes import Reason
from onhook.calls.states import State
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Store, StoreError
from onhook.testing.store import MemoryStore
from onhook.voice.ear import BargedIn, SpeechStarted
from tests.unit.control_bench import API
from tests.unit.graceful_bench import BYE, POLITE, asked, ended, farewell_of, polite, says_goodbye, talking
from tests.unit.voice_bench import VoiceBench

pytestmark = pytest.mark.unit


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "onhook.db")
    await store.open()
    yield store
    await store.close()


async def test_the_promise_is_durable_before_the_agent_is_told() -> None:
    bench, call = await talking()
    bench.store.write_delay = 0.02
    asking = asyncio.create_task(bench.graceful.request(polite(bench, call)))
    await asyncio.sleep(0.01)
    assert not bench.agent.sent
    await asking
    assert bench.agent.sent == [Cue(CueKind.FAREWELL, "So long.")]


async def test_a_hard_stop_that_overtakes_the_promise_leaves_nobody_to_be_told() -> None:
    bench, call = await talking()
    bench.store.write_delay = 0.01
    asking = asyncio.create_task(bench.graceful.request(polite(bench, call), wait_ms=1_000))
    await asyncio.sleep(0.005)
    await bench.ending.request_stop(bench.stop_order(call.id), 1_000)
    found = await asking
    over = await ended(bench, call)
    assert found == over
    assert (over.cause, farewell_of(over)) == (API, "skipped")
    assert not bench.agent.sent


async def recorded(bench: VoiceBench, call: Call) -> Call:
    """Let the disk be there again, and the far end reply to our BYE; return the call."""
    bench.store.fail_writes, bench.store.write_delay = False, 0
    await bench.reconciler.sweep()
    bench.engine.settle(call.id)
    return await ended(bench, call)


async def test_with_a_full_disk_the_call_ends_at_once_on_the_wire_and_the_stop_is_told_to_have_failed() -> None:
    bench, call = await talking()
    bench.engine.settles = False
    bench.store.fail_writes = True
    with pytest.raises(StoreError):
        await bench.graceful.request(polite(bench, call))
    assert bench.engine.hangups == [(call.id, POLITE)]
    over = await recorded(bench, call)
    assert (over.cause, farewell_of(over)) == (POLITE, "skipped")


async def test_a_promise_that_takes_too_long_to_write_is_no_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onhook.control.end.COMMIT_LIMIT_S", 0.02)
    bench, call = await talking()
    bench.engine.settles = False
    bench.store.write_delay = 0.1
    with pytest.raises(StoreError):
        await bench.graceful.request(polite(bench, call))
    assert bench.engine.hangups == [(call.id, POLITE)]
    assert not bench.agent.sent
    assert farewell_of(await recorded(bench, call)) == "skipped"


async def test_a_disk_that_fills_up_during_the_farewell_lets_it_be_said_and_ends_the_call_on_the_wire() -> None:
    bench, call = await talking()
    bench.engine.settles = False
    await asked(bench, call)
    bench.store.fail_writes = True
    says_goodbye(bench, 400)
    bench.pass_time(call, 700)
    await bench.timers.rung()
    await bench.conversations.settled()
    assert bench.engine.hangups == [(call.id, POLITE)]
    over = await recorded(bench, call)
    assert (over.cause, farewell_of(over)) == (POLITE, "played")


async def test_a_second_one_that_cannot_be_recorded_ends_the_call() -> None:
    bench, call = await talking()
    await asked(bench, call)
    bench.store.fail_writes = True
    with pytest.raises(StoreError):
        await bench.graceful.request(polite(bench, call, 1_000))
    assert [call_id for call_id, _ in bench.engine.hangups] == [call.id]


async def test_the_next_life_ends_the_call_for_who_had_asked(store: Store) -> None:
    bench, call = await talking(store)
    await bench.store.save_snapshot(call.id, b"{}", before_invite=False)
    await asked(bench, call)
    says_goodbye(bench, 1_000)
    bench.pass_time(call, 200)
    after = VoiceBench(store=store)
    assert await after.reconciler.settle_earlier_life() == 1
    over = await after.written(call.id)
    assert (over.state, over.cause, farewell_of(over)) == (State.ENDED, POLITE, "truncated")
    assert over.stop is not None
    assert over.stop.request_id == "req_1"


async def test_a_deadline_whose_alarm_was_lost_is_met_by_the_sweep(store: Store) -> None:
    bench, call = await talking(store)
    now = bench.clock.now_ms()
    await bench.store.set_timer(call.id, "a", CallTimer(TimerKind.FAREWELL, now + 400, POLITE, now))
    bench.conversations.wind_down(call.id, POLITE, 60_000)
    bench.pass_time(call, 400)
    await bench.reconciler.sweep()
    over = await ended(bench, call)
    assert (over.cause, farewell_of(over)) == (POLITE, "skipped")


async def test_deadline_hard_stop_and_last_word_at_one_moment_give_one_end(store: Store) -> None:
    bench, call = await talking(store)
    await asked(bench, call, 600)
    says_goodbye(bench, 400)
    bench.pass_time(call, 580)
    bench.clock.advance(0.02)
    results = await asyncio.gather(
        bench.ending.request_stop(bench.stop_order(call.id), 1_000),
        bench.graceful.request(polite(bench, call, 100), 1_000),
        bench.reconciler.sweep(),
        bench.settled(),
    )
    over = await ended(bench, call)
    hard, soft = results[0], results[1]
    assert hard is not None
    assert (hard.call, soft) == (over, over)
    assert over.cause in (API, POLITE)
    assert farewell_of(over) == "played"
    assert (await bench.event_types(call.id)).count("call.stop_requested") == 1


# --- every order

STEPS = [
    "polite",
    "polite soon",
    "hard",
    "bye",
    "speak",
    "hang up",
    "talk over",
    "wait",
    "past deadline",
    "sweep",
    "race",
]


@given(st.lists(st.sampled_from(STEPS), max_size=9), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_order_gives_one_end_for_the_winner_and_a_farewell_as_it_was_heard(steps: list[str], on_disk: bool) -> None:
    asyncio.run(_any_order(steps, on_disk=on_disk))


async def _any_order(steps: Sequence[str], *, on_disk: bool) -> None:
    if not on_disk:
        await Orders(MemoryStore()).play(steps)
        return
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory) / "onhook.db")
        await store.open()
        await Orders(store).play(steps)
        await store.close()


class Orders:
    """A call on which things happen in some order, and what must be true of its end."""

    def __init__(self, store: Store) -> None:
        self.bench = VoiceBench(store=store)
        self.asked = False
        """True once a farewell was promised before the agent wished to hang up by itself."""
        self.wished = False
        self.spoken = False

    async def play(self, steps: Sequence[str]) -> None:
        bench = self.bench
        await bench.open()
        call = await bench.talk()
        leg = bench.engine.legs[call.id]
        for step in [*steps, "hard"]:
            before = await bench.written(call.id)
            await self.step(step, call)
            await bench.settled()
            promised = "call.farewell_started" in await bench.event_types(call.id)
            self.asked = self.asked or (promised and not self.wished)
            now = await bench.written(call.id)
            assert not before.is_over or (now.cause, now.outcome, now.ended_at, now.stop and now.stop.farewell) == (
                before.cause, before.outcome, before.ended_at, before.stop and before.stop.farewell
            )  # fmt: skip
        await self.check(await ended(bench, call), bytes(leg.left).count(BYE))

    async def check(self, end: Call, frames: int) -> None:
        bench = self.bench
        types = await bench.event_types(end.id)
        (closing,) = await bench.noted(end, EventType.CONVERSATION_ENDED)
        assert types.count("call.stop_requested") == (end.stop is not None)
        assert end.cause is not None
        if end.stop is None:
            assert end.cause.reason is Reason.HANGUP
            return
        assert end.stop.cause == end.cause
        if closing["farewell"] != "none":
            assert end.stop.farewell == closing["farewell"]
        if self.asked:
            heard = {"skipped": range(1), "truncated": range(1, 21), "played": range(20, 21)}
            assert end.stop.farewell is not None
            assert frames in heard[end.stop.farewell]
        elif not self.wished:
            assert end.stop.farewell in (None, "skipped")

    async def step(self, step: str, call: Call) -> None:
        bench, live = self.bench, call.id in self.bench.engine.legs
        match step:
            case "polite":
                await bench.graceful.request(polite(bench, call, 1_000))
            case "polite soon":
                await bench.graceful.request(polite(bench, call, 300))
            case "hard":
                await bench.ending.request_stop(bench.stop_order(call.id), 1_000)
            case "bye" if live:
                bench.engine.hang_up_far_end(call.id)
            case "speak" if live and self.asked and not self.spoken:
                self.spoken = True
                says_goodbye(bench, 400, hangs_up=False)
            case "hang up" if live:
                self.wished = True
                bench.agent.say(HangUp("done", drain=True))
            case "talk over" if live:
                bench.hears(call, SpeechStarted(0), BargedIn(20, 20))
            case "wait":
                bench.pass_time(call, 160)
            case "past deadline":
                bench.pass_time(call, 1_200)
            case "sweep":
                await bench.reconciler.sweep()
            case "race":
                await asyncio.gather(
                    bench.graceful.request(polite(bench, call, 500)),
                    bench.ending.request_stop(bench.stop_order(call.id)),
                    bench.reconciler.sweep(),
                )
