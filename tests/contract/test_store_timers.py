"""Stops at a later moment, in every store: set, changed, taken back, found when due, and gone with their call."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.contract.store_cases import (
    BY_KEY,
    CONFIRMED,
    NOW,
    added,
    answered,
    last_event,
    settlement,
    stop,
    types,
)

from onhook.calls.call import Call, EventType, Farewell
from onhook.calls.causes import Cause, Reason
from onhook.calls.states import State
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store.audit import AuditEntry
from onhook.store.store import ConflictError, StopOrder, Store
from onhook.store.timers import DueTimer, TimerCleared, TimerSet
from onhook.testing.calls import sample_call

pytestmark = pytest.mark.contract

STOP_AT = CallTimer(TimerKind.STOP_AT, NOW + 500, BY_KEY, NOW + 5, "req_1")
FAREWELL = CallTimer(TimerKind.FAREWELL, NOW + 300, BY_KEY, NOW + 6, "req_2")


async def with_timer(store: Store, call: Call, timer: CallTimer = STOP_AT) -> Call:
    found = await store.set_timer(call.id, None, timer)
    assert found is not None
    assert found.set
    return found.call


# --- setting


@pytest.mark.parametrize("state", [State.SCHEDULED, State.DIALING, State.RINGING])
async def test_a_timer_is_set_in_every_live_state(store: Store, state: State) -> None:
    call = await added(store, state=state)
    found = await store.set_timer(call.id, call.environment_id, STOP_AT)
    assert found == TimerSet(msgspec.structs.replace(call, updated_at=NOW + 5), STOP_AT, set=True)
    assert await store.timers(call.id) == [STOP_AT]
    assert await store.get_call(call.id, None) == found.call


async def test_setting_is_told_with_who_and_why(store: Store) -> None:
    call = await answered(store)
    who = {"actor": "api_key:key_1", "reason": "customer asked"}
    await with_timer(store, call, STOP_AT)
    event = await last_event(store, call)
    assert (event.type, event.at) == (EventType.STOP_SCHEDULED, NOW + 5)
    assert event.data == {"at": NOW + 500, "request_id": "req_1", **who}
    await with_timer(store, call, FAREWELL)
    event = await last_event(store, call)
    assert (event.type, event.at) == (EventType.FAREWELL_STARTED, NOW + 6)
    assert event.data == {"at": NOW + 300, "request_id": "req_2", **who}


async def test_a_second_timer_of_a_kind_replaces_the_first(store: Store) -> None:
    call = await answered(store)
    later = msgspec.structs.replace(STOP_AT, at=NOW + 900, set_at=NOW + 7, request_id=None)
    await with_timer(store, call)
    await with_timer(store, call, later)
    assert await store.timers(call.id) == [later]
    assert (await types(store, call)).count(EventType.STOP_SCHEDULED) == 2


async def test_a_call_has_one_timer_of_each_kind_the_earliest_first(store: Store) -> None:
    call = await answered(store)
    await with_timer(store, call, STOP_AT)
    await with_timer(store, call, FAREWELL)
    assert await store.timers(call.id) == [FAREWELL, STOP_AT]


async def test_where_one_is_asked_for_if_absent_the_one_that_is_there_stays(store: Store) -> None:
    call = await answered(store)
    first = await store.set_timer(call.id, None, FAREWELL, if_absent=True)
    assert first is not None
    assert first.set
    log = await types(store, call)
    other = msgspec.structs.replace(FAREWELL, at=NOW + 1)
    assert await store.set_timer(call.id, None, other, if_absent=True) == TimerSet(first.call, FAREWELL, set=False)
    assert await types(store, call) == log
    await with_timer(store, call, STOP_AT)


async def test_of_many_that_are_asked_for_if_absent_one_is_set(store: Store) -> None:
    call = await answered(store)
    asked = [msgspec.structs.replace(FAREWELL, at=NOW + 300 + number) for number in range(20)]
    found = await asyncio.gather(*(store.set_timer(call.id, None, timer, if_absent=True) for timer in asked))
    (winner,) = [one.timer_now for one in found if one is not None and one.set]
    assert all(one is not None and one.timer_now == winner for one in found)
    assert (await types(store, call)).count(EventType.FAREWELL_STARTED) == 1


@pytest.mark.parametrize("state", [State.SCHEDULED, State.DIALING, State.RINGING])
async def test_a_timer_for_answered_calls_only_is_set_on_no_other(store: Store, state: State) -> None:
    call = await added(store, state=state)
    assert await store.set_timer(call.id, None, FAREWELL, only_answered=True) == TimerSet(call, None, set=False)
    assert await types(store, call) == [EventType.CREATED]
    found = await store.set_timer((await answered(store)).id, None, FAREWELL, only_answered=True)
    assert found is not None
    assert found.set


@pytest.mark.parametrize("settled", [False, True])
async def test_a_call_that_is_over_gets_no_timer(store: Store, settled: bool) -> None:
    call = await answered(store)
    over: Call | None = (await stop(store, call)).call
    if settled:
        over = await store.settle(settlement(call, NOW + 60))
    log = await types(store, call)
    assert over is not None
    assert await store.set_timer(call.id, None, STOP_AT) == TimerSet(over, None, set=False)
    assert await store.timers(call.id) == []
    assert await types(store, call) == log


async def test_timers_are_set_and_cleared_within_their_environment_only(store: Store) -> None:
    call = await answered(store)
    assert await store.set_timer(call.id, "env_2", STOP_AT) is None
    assert await store.set_timer("call_unknown", None, STOP_AT) is None
    await with_timer(store, call)
    assert await store.clear_timer(call.id, "env_2", TimerKind.STOP_AT, NOW + 9) is None
    assert await store.clear_timer("call_unknown", None, TimerKind.STOP_AT, NOW + 9) is None
    assert await store.timers(call.id) == [STOP_AT]


async def test_a_call_is_created_with_its_timer_or_not_at_all(store: Store) -> None:
    call = sample_call(deadline_at=NOW + 60_000)
    await store.create_call(call, STOP_AT)
    assert await store.timers(call.id) == [STOP_AT]
    assert await types(store, call) == [EventType.CREATED, EventType.STOP_SCHEDULED]
    assert [entry.action for entry in await store.audit_entries("env_1")] == ["call.stop_scheduled"]
    with pytest.raises(ConflictError):
        await store.create_call(call, msgspec.structs.replace(STOP_AT, at=NOW + 1))
    assert await store.timers(call.id) == [STOP_AT]


async def test_the_timers_of_many_calls_are_found_at_once(store: Store) -> None:
    both, one, none = await answered(store), await answered(store), await answered(store)
    await with_timer(store, both, STOP_AT)
    await with_timer(store, both, FAREWELL)
    await with_timer(store, one, STOP_AT)
    ids = [both.id, one.id, none.id, "call_unknown"]
    assert await store.timers_of(ids) == {both.id: [FAREWELL, STOP_AT], one.id: [STOP_AT]}
    assert await store.timers_of([]) == {}


# --- shortening


async def test_a_timer_that_is_shortened_keeps_its_cause_and_tells_who_shortened_it(store: Store) -> None:
    call = await with_timer(store, await answered(store), FAREWELL)
    who = {"actor": "api_key:key_2", "reason": "quickly", "request_id": "req_9"}
    found = await store.shorten_timer(
        call.id, call.environment_id, TimerKind.FAREWELL, NOW + 100, NOW + 9,
        actor="api_key:key_2", reason="quickly", request_id="req_9",
    )  # fmt: skip
    shorter = msgspec.structs.replace(FAREWELL, at=NOW + 100)
    assert found == TimerSet(await current(store, call), shorter, set=True)
    assert await store.timers(call.id) == [shorter]
    event = await last_event(store, call)
    assert (event.type, event.at, event.data) == (EventType.FAREWELL_STARTED, NOW + 9, {"at": NOW + 100, **who})
    entry = (await store.audit_entries("env_1"))[-1]
    assert (entry.actor, entry.reason, entry.request_id) == ("api_key:key_2", "quickly", "req_9")


async def test_of_many_that_shorten_a_timer_the_earliest_is_kept(store: Store) -> None:
    call = await with_timer(store, await answered(store), FAREWELL)
    asked = [NOW + 200, NOW + 50, NOW + 100, NOW + 300, NOW + 400]
    shorten = store.shorten_timer
    await asyncio.gather(*(shorten(call.id, None, TimerKind.FAREWELL, to, NOW + 9) for to in asked))
    assert [timer.at for timer in await store.timers(call.id)] == [NOW + 50]


async def test_what_is_not_there_is_not_shortened(store: Store) -> None:
    call = await with_timer(store, await answered(store), STOP_AT)
    log = await types(store, call)
    for kind, environment, to in ((TimerKind.FAREWELL, None, NOW + 1), (TimerKind.STOP_AT, None, STOP_AT.at)):
        found = await store.shorten_timer(call.id, environment, kind, to, NOW + 9)
        assert found is not None
        assert not found.set
    assert await store.shorten_timer(call.id, "env_2", TimerKind.STOP_AT, NOW + 1, NOW + 9) is None
    assert await store.shorten_timer("call_unknown", None, TimerKind.STOP_AT, NOW + 1, NOW + 9) is None
    assert (await store.timers(call.id), await types(store, call)) == ([STOP_AT], log)
    over = (await stop(store, call)).call
    assert await store.shorten_timer(call.id, None, TimerKind.STOP_AT, NOW, NOW + 9) == TimerSet(over, None, set=False)


# --- clearing


async def test_a_timer_that_is_taken_back_is_gone_and_told_of(store: Store) -> None:
    call = await with_timer(store, await answered(store))
    cleared = await store.clear_timer(
        call.id, call.environment_id, TimerKind.STOP_AT, NOW + 9, actor="api_key:key_2", reason="no", request_id="req_3"
    )
    assert cleared == TimerCleared(msgspec.structs.replace(call, updated_at=NOW + 10), STOP_AT)
    assert await store.timers(call.id) == []
    event = await last_event(store, call)
    assert (event.type, event.at) == (EventType.STOP_UNSCHEDULED, NOW + 9)
    assert event.data == {"at": NOW + 500, "actor": "api_key:key_2", "reason": "no", "request_id": "req_3"}


async def test_where_there_is_nothing_to_take_back_nothing_is_told(store: Store) -> None:
    call = await with_timer(store, await answered(store), FAREWELL)
    log = await types(store, call)
    assert await store.clear_timer(call.id, None, TimerKind.STOP_AT, NOW + 9) == TimerCleared(call, None)
    assert await types(store, call) == log
    assert await store.timers(call.id) == [FAREWELL]


async def test_the_deadline_of_a_farewell_is_taken_back_in_silence(store: Store) -> None:
    call = await with_timer(store, await answered(store), FAREWELL)
    log = await types(store, call)
    assert await store.clear_timer(call.id, None, TimerKind.FAREWELL, NOW + 9) == TimerCleared(call, FAREWELL)
    assert await types(store, call) == log
    assert await store.timers(call.id) == []


# --- what becomes of them


async def test_a_stop_takes_the_timers_along(store: Store) -> None:
    call, other = await answered(store), await answered(store)
    for one in (call, other):
        await with_timer(store, one, STOP_AT)
        await with_timer(store, one, FAREWELL)
    await stop(store, call)
    assert await store.timers(call.id) == []
    assert await store.timers(other.id) == [FAREWELL, STOP_AT]
    assert [due.call.id for due in (await store.due(NOW + 1000)).timers] == [other.id, other.id]
    assert (await types(store, call))[-1] is EventType.STOP_REQUESTED


async def test_a_stop_of_a_scheduled_call_takes_its_timer_along(store: Store) -> None:
    call = await with_timer(store, await added(store, state=State.SCHEDULED))
    await stop(store, call)
    assert await store.timers(call.id) == []


@pytest.mark.parametrize(("known", "told"), [(None, "skipped"), ("truncated", "truncated"), ("played", "played")])
async def test_a_stop_tells_of_the_farewell_that_it_forestalls(
    store: Store, known: Farewell | None, told: Farewell
) -> None:
    call = await with_timer(store, await answered(store), FAREWELL)
    stopped = await store.request_stop(StopOrder(call.id, BY_KEY, NOW + 50, farewell=known))
    assert stopped is not None
    assert stopped.call.stop is not None
    assert stopped.call.stop.farewell == told
    assert (await last_event(store, call)).data["farewell"] == told
    assert (await store.audit_entries("env_1"))[-1].data["farewell"] == told


async def test_a_stop_tells_of_no_farewell_where_none_was_promised(store: Store) -> None:
    stopped = await stop(store, await with_timer(store, await answered(store), STOP_AT))
    assert stopped.call.stop is not None
    assert stopped.call.stop.farewell is None


async def test_a_natural_end_takes_the_timers_along(store: Store) -> None:
    call = await with_timer(store, await answered(store))
    await store.settle(settlement(call, NOW + 60))
    assert await store.timers(call.id) == []
    assert (await store.due(NOW + 1000)).timers == ()


async def test_a_settlement_that_moves_nothing_leaves_the_timers(store: Store) -> None:
    call = await with_timer(store, await added(store, state=State.SCHEDULED))
    await store.settle(settlement(call, NOW + 60, CONFIRMED))
    assert await store.timers(call.id) == [STOP_AT]


async def test_a_wire_fact_leaves_the_timers(store: Store) -> None:
    call = await added(store, state=State.SCHEDULED, dial_at=NOW)
    await with_timer(store, call)
    assert await store.dial(call.id, NOW + 7, NOW + 100)
    assert await store.timers(call.id) == [STOP_AT]


async def test_a_sweep_finds_timers_whose_moment_has_come_the_longest_waiting_first(store: Store) -> None:
    calls = [await answered(store) for _ in range(3)]
    for number, call in enumerate(calls):
        await with_timer(store, call, msgspec.structs.replace(STOP_AT, at=NOW + 50 - number))
    assert (await store.due(NOW + 47)).timers == ()
    due = (await store.due(NOW + 49)).timers
    assert [(call.id, timer.at) for call, timer in due] == [(calls[2].id, NOW + 48), (calls[1].id, NOW + 49)]
    assert due[0] == DueTimer(await current(store, calls[2]), (await store.timers(calls[2].id))[0])
    assert len((await store.due(NOW + 60, limit=2)).timers) == 2


async def current(store: Store, call: Call) -> Call:
    found = await store.get_call(call.id, None)
    assert found is not None
    return found


async def test_calls_past_their_deadline_or_their_timer_are_counted_once_each(store: Store) -> None:
    both = await added(store, deadline_at=NOW + 10)
    await with_timer(store, both, msgspec.structs.replace(STOP_AT, at=NOW + 20))
    timed = await added(store, deadline_at=NOW + 1000)
    await with_timer(store, timed, msgspec.structs.replace(STOP_AT, at=NOW + 30))
    await with_timer(store, timed, msgspec.structs.replace(FAREWELL, at=NOW + 31))
    await stop(store, await added(store, deadline_at=NOW))
    counts = {now: await store.count_overdue(NOW + now, grace_ms=5) for now in (15, 16, 35, 36, 999, 1006)}
    assert counts == {15: 0, 16: 1, 35: 1, 36: 2, 999: 2, 1006: 2}


# --- the audit log


async def test_setting_and_clearing_are_in_the_audit_log_when_they_did_something(store: Store) -> None:
    call = await answered(store)
    who: dict[str, Any] = {"actor": "api_key:key_1", "reason": "customer asked"}
    await with_timer(store, call)
    await with_timer(store, call, FAREWELL)
    await store.set_timer(call.id, None, FAREWELL, if_absent=True)
    await store.set_timer(call.id, "env_2", STOP_AT)
    await store.clear_timer(call.id, None, TimerKind.STOP_AT, NOW + 9, actor="operator")
    await store.clear_timer(call.id, None, TimerKind.STOP_AT, NOW + 10, actor="operator")
    assert await store.audit_entries("env_1") == [
        AuditEntry(
            "env_1", NOW + 5, action="call.stop_scheduled", target=call.id, data={"at": STOP_AT.at}, seq=1,
            request_id="req_1", **who,
        ),
        AuditEntry(
            "env_1", NOW + 6, action="call.farewell_started", target=call.id, data={"at": FAREWELL.at}, seq=2,
            request_id="req_2", **who,
        ),
        AuditEntry("env_1", NOW + 9, "operator", "call.stop_unscheduled", call.id, data={"at": STOP_AT.at}, seq=3),
    ]  # fmt: skip


async def test_the_cause_of_a_timer_is_kept_whole(store: Store) -> None:
    call = await answered(store)
    cause = Cause("timer", Reason.MAX_DURATION, sip_status=None, q850=16, text="«schluß»")
    timer = CallTimer(TimerKind.STOP_AT, NOW + 1, cause, NOW)
    await with_timer(store, call, timer)
    assert await store.timers(call.id) == [timer]
