"""Stops at a later moment: on time, changed and taken back, fired by whoever is first, and once."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from onhook.calls.call import Call, EventType
from onhook.calls.causes import Cause, Outcome, Reason
from onhook.calls.states import State
from onhook.calls.timer import CallTimer, TimerKind
from onhook.control.timers import stop_at, stop_of
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Store, StoreError
from onhook.testing.store import MemoryStore
from tests.unit.control_bench import Bench

pytestmark = pytest.mark.unit

KEY = "api_key:k1"


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "onhook.db")
    await store.open()
    yield await Bench(store).open()
    await store.close()


@pytest_asyncio.fixture
async def fake() -> Bench:
    return await Bench().open()


def in_ms(bench: Bench, span: int, text: str | None = "enough") -> CallTimer:
    now = bench.clock.now_ms()
    return stop_at(now + span, KEY, text, now, "req_1")


async def scheduled(bench: Bench, call: Call, span: int) -> CallTimer:
    timer = in_ms(bench, span)
    found = await bench.timers.schedule(call.id, "a", timer)
    assert found is not None
    assert found.set
    return timer


async def passes(bench: Bench, ms: int) -> None:
    bench.clock.advance(ms / 1000)
    await bench.timers.rung()
    await bench.dialer.started()
    await bench.recorder.drained()


async def brought_to(bench: Bench, state: State) -> Call:
    call = await bench.place(delay_s=60 if state is State.SCHEDULED else 0)
    if state in (State.RINGING, State.ANSWERED):
        bench.engine.ring(call.id)
    if state is State.ANSWERED:
        bench.engine.answer(call.id)
    found = await bench.written(call.id)
    assert found.state is state
    return found


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (State.SCHEDULED, Outcome.CANCELED),
        (State.DIALING, Outcome.CANCELED),
        (State.RINGING, Outcome.CANCELED),
        (State.ANSWERED, Outcome.COMPLETED),
    ],
)
async def test_in_every_live_state_a_scheduled_stop_ends_the_call_on_time(
    bench: Bench, state: State, outcome: Outcome
) -> None:
    call = await brought_to(bench, state)
    timer = await scheduled(bench, call, 2_000)
    await passes(bench, 1_999)
    assert not (await bench.written(call.id)).is_over
    await passes(bench, 1)

    ended = await bench.written(call.id)
    assert (ended.state, ended.outcome, ended.ended_at) == (State.ENDED, outcome, timer.at)
    assert ended.cause == Cause("timer", Reason.SCHEDULED_STOP, q850=16, text="enough")
    assert ended.stop is not None
    assert (ended.stop.request_id, ended.stop.farewell) == ("req_1", None)
    assert (await bench.event_types(call.id)).count("call.ended") == 1


async def test_who_scheduled_it_is_in_the_calls_log(bench: Bench) -> None:
    call = await brought_to(bench, State.ANSWERED)
    timer = await scheduled(bench, call, 500)
    (told,) = [one for one in await bench.store.events(call.id) if one.type is EventType.STOP_SCHEDULED]
    assert told.data == {"at": timer.at, "actor": KEY, "reason": "enough", "request_id": "req_1"}


@pytest.mark.parametrize("span", [0, -5_000])
async def test_a_moment_that_has_passed_ends_the_call_at_once(bench: Bench, span: int) -> None:
    call = await brought_to(bench, State.ANSWERED)
    await scheduled(bench, call, span)
    ended = await bench.written(call.id)
    assert ended.cause is not None
    assert (ended.state, ended.cause.reason, ended.ended_at) == (
        State.ENDED, Reason.SCHEDULED_STOP, bench.clock.now_ms(),
    )  # fmt: skip


@pytest.mark.parametrize(("first", "then"), [(1_000, 3_000), (3_000, 1_000)])
async def test_a_changed_moment_is_the_one_that_counts(bench: Bench, first: int, then: int) -> None:
    call = await brought_to(bench, State.ANSWERED)
    await scheduled(bench, call, first)
    await scheduled(bench, call, then)
    await passes(bench, then - 1)
    assert not (await bench.written(call.id)).is_over
    await passes(bench, 1)
    assert (await bench.written(call.id)).is_over


async def test_a_stop_that_is_taken_back_does_not_happen(bench: Bench) -> None:
    call = await brought_to(bench, State.ANSWERED)
    timer = await scheduled(bench, call, 1_000)
    cleared = await bench.timers.unschedule(call.id, "a", KEY, "go on", "req_2")
    assert cleared is not None
    assert cleared.timer == timer
    await passes(bench, 5_000)
    await bench.reconciler.sweep()
    assert not (await bench.written(call.id)).is_over
    assert (await bench.event_types(call.id))[-1] == "call.stop_unscheduled"


async def test_other_tenants_calls_have_no_timers_to_set_or_take_back(bench: Bench) -> None:
    call = await brought_to(bench, State.ANSWERED)
    assert await bench.timers.schedule(call.id, "b", in_ms(bench, 0)) is None
    await scheduled(bench, call, 1_000)
    assert await bench.timers.unschedule(call.id, "b", KEY, None, None) is None
    await passes(bench, 1_000)
    assert (await bench.written(call.id)).is_over


async def test_a_call_that_is_over_gets_no_timer_and_leaves_no_alarm(bench: Bench) -> None:
    call = await brought_to(bench, State.ANSWERED)
    await scheduled(bench, call, 60_000)
    assert bench.clock.pending == 1
    await bench.ending.request_stop(bench.stop_order(call.id), 1_000)
    await passes(bench, 1)
    assert bench.clock.pending == 0
    found = await bench.timers.schedule(call.id, "a", in_ms(bench, 1_000))
    assert found is not None
    assert not found.set
    assert bench.clock.pending == 0


async def test_a_sweep_fires_what_another_process_has_set(bench: Bench) -> None:
    call = await brought_to(bench, State.ANSWERED)
    await bench.store.set_timer(call.id, "a", in_ms(bench, 400))
    await passes(bench, 399)
    await bench.reconciler.sweep()
    assert not (await bench.written(call.id)).is_over
    await passes(bench, 1)
    await bench.reconciler.sweep()
    ended = await bench.written(call.id)
    assert ended.cause is not None
    assert ended.cause.reason is Reason.SCHEDULED_STOP


async def test_a_scheduled_call_whose_end_came_while_nobody_was_there_is_not_dialled(bench: Bench) -> None:
    call = await brought_to(bench, State.SCHEDULED)
    await scheduled(bench, call, 1_000)
    after = Bench(bench.store)
    after.clock.advance(120)
    assert await after.reconciler.settle_earlier_life() == 0
    await after.reconciler.sweep()
    ended = await after.written(call.id)
    assert (ended.state, ended.dialed_at, after.engine.legs) == (State.ENDED, None, {})
    assert ended.cause is not None
    assert ended.cause.reason is Reason.SCHEDULED_STOP


async def test_a_process_that_was_away_fires_all_that_is_due_at_its_first_sweep(
    fake: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onhook.control.reconcile.SWEPT_AT_ONCE", 3)
    timed = [await brought_to(fake, State.ANSWERED) for _ in range(7)]
    for number, call in enumerate(timed):
        await fake.store.set_timer(call.id, "a", in_ms(fake, 1_000 + number))
    too_long = [await brought_to(fake, State.ANSWERED) for _ in range(7)]
    fake.clock.advance(timed[0].max_duration_ms / 1000 + 60)
    await fake.reconciler.sweep()
    reasons = [(await fake.written(call.id)).cause for call in (*timed, *too_long)]
    assert [cause and cause.reason for cause in reasons] == [Reason.SCHEDULED_STOP] * 7 + [Reason.MAX_DURATION] * 7
    assert await fake.store.count_overdue(fake.clock.now_ms(), 0) == 0


@pytest.mark.parametrize(("span", "reason"), [(-1, Reason.SCHEDULED_STOP), (0, Reason.SCHEDULED_STOP), (1, None)])
async def test_of_a_timer_and_a_deadline_that_both_have_passed_the_earlier_is_why(
    fake: Bench, span: int, reason: Reason | None
) -> None:
    call = await brought_to(fake, State.ANSWERED)
    deadline = call.max_duration_ms + span
    await fake.store.set_timer(call.id, "a", in_ms(fake, deadline))
    fake.clock.advance((deadline + 1_000) / 1000)
    await fake.reconciler.sweep()
    ended = await fake.written(call.id)
    assert ended.cause is not None
    assert ended.cause.reason is (reason or Reason.MAX_DURATION)


async def test_an_alarm_that_goes_off_before_the_wall_clock_is_there_waits_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await brought_to(bench, State.ANSWERED)
    await scheduled(bench, call, 1_000)
    real = bench.clock.now_ms
    monkeypatch.setattr(bench.clock, "now_ms", lambda: real() - 300)
    await passes(bench, 1_000)
    assert not (await bench.written(call.id)).is_over
    await passes(bench, 299)
    assert not (await bench.written(call.id)).is_over
    await passes(bench, 1)
    assert (await bench.written(call.id)).is_over


async def test_a_wall_clock_that_jumps_ahead_is_followed_by_the_sweep(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await brought_to(bench, State.RINGING)
    await scheduled(bench, call, 10_000)
    real = bench.clock.now_ms
    monkeypatch.setattr(bench.clock, "now_ms", lambda: real() + 10_000)
    await bench.reconciler.sweep()
    ended = await bench.written(call.id)
    assert ended.cause is not None
    assert ended.cause.reason is Reason.SCHEDULED_STOP


async def test_what_was_taken_back_does_not_fire_a_moment_later(fake: Bench) -> None:
    call = await brought_to(fake, State.ANSWERED)
    await scheduled(fake, call, 1_000)
    fake.store.write_delay = 0.01
    taking_back = asyncio.create_task(fake.timers.unschedule(call.id, "a", KEY, None, None))
    await asyncio.sleep(0)
    fake.clock.advance(2)
    await asyncio.gather(taking_back, fake.timers.rung(), fake.reconciler.sweep())
    cleared = taking_back.result()
    assert cleared is not None
    assert cleared.timer is not None
    assert not (await fake.written(call.id)).is_over


async def test_who_takes_it_back_too_late_learns_that_the_call_is_over(fake: Bench) -> None:
    call = await brought_to(fake, State.ANSWERED)
    await scheduled(fake, call, 1_000)
    fake.store.write_delay = 0.01
    fake.clock.advance(1)
    await asyncio.sleep(0)
    cleared = await fake.timers.unschedule(call.id, "a", KEY, None, None)
    assert cleared is not None
    assert cleared.timer is None
    assert cleared.call.is_over


async def test_an_alarm_ends_the_call_on_the_wire_though_the_disk_is_full(
    fake: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    call = await brought_to(fake, State.ANSWERED)
    timer = await scheduled(fake, call, 1_000)
    fake.engine.settles = False
    fake.store.fail_writes = True
    fake.clock.advance(1)
    await fake.timers.rung()
    assert [call_id for call_id, _ in fake.engine.hangups] == [call.id]
    assert re.search(rf"the timer of call {call.id}", caplog.text)
    fake.store.fail_writes = False
    await fake.reconciler.sweep()
    fake.engine.settle(call.id)
    ended = await fake.written(call.id)
    assert (ended.cause, ended.ended_at) == (stop_of(call.id, timer, timer.at).cause, timer.at)


async def test_a_timer_that_cannot_be_written_is_not_promised(fake: Bench) -> None:
    call = await brought_to(fake, State.ANSWERED)
    fake.store.fail_writes = True
    with pytest.raises(StoreError):
        await fake.timers.schedule(call.id, "a", in_ms(fake, 1_000))
    fake.store.fail_writes = False
    await passes(fake, 2_000)
    assert not (await fake.written(call.id)).is_over


async def test_a_sweep_that_the_store_refuses_still_ends_every_call_on_the_wire(fake: Bench) -> None:
    timed = [await brought_to(fake, State.ANSWERED) for _ in range(2)]
    too_long = await brought_to(fake, State.ANSWERED)
    for call in timed:
        await fake.store.set_timer(call.id, "a", in_ms(fake, 1_000))
    fake.engine.settles = False
    fake.clock.advance(too_long.max_duration_ms / 1000)
    fake.store.fail_writes = True
    with pytest.raises(StoreError):
        await fake.reconciler.sweep()
    assert {call_id for call_id, _ in fake.engine.hangups} == {call.id for call in (*timed, too_long)}
    fake.store.fail_writes = False
    await fake.reconciler.sweep()
    reasons = [(await fake.written(call.id)).cause for call in (*timed, too_long)]
    assert [cause and cause.reason for cause in reasons] == [Reason.SCHEDULED_STOP] * 2 + [Reason.MAX_DURATION]


async def test_alarm_sweep_and_stop_at_one_moment_give_one_end(bench: Bench) -> None:
    call = await brought_to(bench, State.ANSWERED)
    await scheduled(bench, call, 1_000)
    bench.clock.advance(1)
    await asyncio.gather(
        bench.ending.request_stop(bench.stop_order(call.id), 1_000),
        bench.reconciler.sweep(),
        bench.reconciler.sweep(),
        bench.timers.rung(),
    )
    ended = await bench.written(call.id)
    types = await bench.event_types(call.id)
    assert (types.count("call.stop_requested"), types.count("call.ended")) == (1, 1)
    assert ended.cause is not None
    assert ended.cause.reason in (Reason.API_STOP, Reason.SCHEDULED_STOP)
    assert await bench.store.timers(call.id) == []


def test_a_farewells_deadline_is_the_stop_of_who_asked_for_it() -> None:
    cause = Cause(KEY, Reason.API_STOP, q850=16, text="closing time")
    order = stop_of("call_1", CallTimer(TimerKind.FAREWELL, 10, cause, 5, "req_3"), 12)
    assert (order.cause, order.at, order.request_id, order.farewell) == (cause, 12, "req_3", "truncated")
