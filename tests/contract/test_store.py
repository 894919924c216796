"""The port to durable state: what a call's row and its event log do, in every store."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.contract.store_cases import (
    BY_KEY,
    CONFIRMED,
    NOW,
    UNCONFIRMED,
    added,
    answer,
    answered,
    ring,
    settlement,
    stop,
    types,
)

from onhook.calls.call import CallDetails, EventType
from onhook.calls.causes import Outcome
from onhook.calls.proof import Proof
from onhook.calls.states import State
from onhook.store.store import ConflictError, Progress, StopOrder, Store
from onhook.testing.calls import sample_call

pytestmark = pytest.mark.contract

# --- creation and reading


async def test_a_call_comes_back_as_it_was_created_with_everything_its_maker_gave(store: Store) -> None:
    details = CallDetails(
        payload={"deep": [1, 2.5, None, {"ключ": "☎ naïve \u0000 end"}]},
        metadata={"customer": "名前"},
        dynamic_variables={"name": "O'Brien; DROP TABLE calls"},
        sip_headers={"X-Ref": "7"},
        is_testing=True,
        agent_version=3,
    )
    call = await added(store, state=State.SCHEDULED, dial_at=NOW + 5, deadline_at=NOW + 9, details=details)
    assert await store.get_call(call.id, call.environment_id) == call
    assert await store.get_call(call.id, None) == call


async def test_what_a_maker_gives_is_kept_as_json(store: Store) -> None:
    call = await added(store, details=CallDetails(payload={"pair": (1, 2)}))
    now = await store.get_call(call.id, None)
    assert now is not None
    assert now.details.payload == {"pair": [1, 2]}


async def test_creation_is_the_first_event(store: Store) -> None:
    call = await added(store)
    (event,) = await store.events(call.id)
    assert (event.seq, event.type, event.at) == (1, EventType.CREATED, NOW)
    assert event.data["to_number"] == call.to_number


async def test_an_id_cannot_be_taken_twice_and_the_first_call_stays(store: Store) -> None:
    call = await added(store)
    with pytest.raises(ConflictError):
        await store.create_call(msgspec.structs.replace(call, to_number="+19995550000"))
    assert await store.get_call(call.id, None) == call
    assert await types(store, call) == [EventType.CREATED]


@pytest.mark.parametrize("state", [State.ENDING, State.ENDED])
async def test_no_call_is_created_over(store: Store, state: State) -> None:
    with pytest.raises(ValueError, match="cannot be created"):
        await added(store, state=state)


async def test_another_environments_call_is_not_there(store: Store) -> None:
    call = await added(store)
    assert await store.get_call(call.id, "env_2") is None
    assert await store.get_call("call_unknown", None) is None


async def test_events_are_read_in_pages(store: Store) -> None:
    call = await answered(store)
    await stop(store, call)
    await store.settle(settlement(call, NOW + 90))
    assert [event.seq for event in await store.events(call.id, after=1, limit=2)] == [2, 3]
    assert await store.events(call.id, after=4) == []
    assert await store.events("call_unknown") == []


# --- dialling and snapshots


async def test_a_scheduled_call_is_dialled_once(store: Store) -> None:
    call = await added(store, state=State.SCHEDULED, dial_at=NOW + 5)
    assert await store.dial(call.id, NOW + 6, NOW + 66)
    assert not await store.dial(call.id, NOW + 7, NOW + 77)
    now = await store.get_call(call.id, None)
    assert now is not None
    assert (now.state, now.deadline_at, now.updated_at) == (State.DIALING, NOW + 66, NOW + 6)


async def test_a_call_stopped_before_its_time_is_never_dialled(store: Store) -> None:
    call = await added(store, state=State.SCHEDULED, dial_at=NOW + 5)
    await stop(store, call)
    assert not await store.dial(call.id, NOW + 6, NOW + 66)
    assert not await store.dial("call_unknown", NOW, NOW)


async def test_no_invite_may_leave_after_a_stop(store: Store) -> None:
    call = await added(store)
    assert await store.save_snapshot(call.id, b"first", before_invite=True)
    await stop(store, call)
    assert not await store.save_snapshot(call.id, b"second", before_invite=True)
    assert await store.snapshots() == {call.id: b"first"}


async def test_an_invite_with_credentials_may_leave_after_a_180_but_none_after_the_answer(store: Store) -> None:
    call = await added(store, state=State.RINGING)
    assert await store.save_snapshot(call.id, b"challenged", before_invite=True)
    talking = await answered(store)
    assert not await store.save_snapshot(talking.id, b"too late", before_invite=True)


async def test_a_snapshot_changes_in_any_state_and_outlives_the_end_until_it_is_forgotten(store: Store) -> None:
    call, other = await answered(store), await added(store)
    for one in (call, other):
        assert await store.save_snapshot(one.id, b"other", before_invite=False)
    await store.settle(settlement(call, NOW + 90, UNCONFIRMED))
    assert await store.save_snapshot(call.id, b"\x00\xff late watch", before_invite=False)
    assert await store.snapshots() == {call.id: b"\x00\xff late watch", other.id: b"other"}
    await store.forget_snapshot(call.id)
    await store.forget_snapshot(call.id)
    assert await store.snapshots() == {other.id: b"other"}


@pytest.mark.parametrize("proof", [CONFIRMED, UNCONFIRMED])
async def test_a_snapshot_that_comes_after_it_was_forgotten_is_not_kept(store: Store, proof: Proof) -> None:
    call = await answered(store)
    assert await store.save_snapshot(call.id, b"talking", before_invite=False)
    await store.settle(settlement(call, NOW + 90, proof))
    if proof is UNCONFIRMED:
        await store.forget_snapshot(call.id)
    assert not await store.save_snapshot(call.id, b"late", before_invite=False)
    assert await store.snapshots() == {}


async def test_a_snapshot_of_an_unknown_call_is_refused(store: Store) -> None:
    assert not await store.save_snapshot("call_unknown", b"x", before_invite=False)
    assert not await store.save_snapshot("call_unknown", b"x", before_invite=True)


# --- wire facts


async def test_ringing_and_the_answer_move_the_call_and_set_its_times(store: Store) -> None:
    call = await added(store)
    await store.record_progress(ring(call, NOW + 5))
    now = await store.record_progress(answer(call, NOW + 10))
    assert now is not None
    assert (now.state, now.ringing_at, now.answered_at, now.deadline_at) == (
        State.ANSWERED,
        NOW + 5,
        NOW + 10,
        NOW + 1010,
    )
    assert now == await store.get_call(call.id, None)
    assert await types(store, call) == [EventType.CREATED, EventType.RINGING, EventType.ANSWERED]


async def test_a_second_180_changes_nothing_and_is_not_logged(store: Store) -> None:
    call = await added(store)
    first = await store.record_progress(ring(call, NOW + 5))
    assert await store.record_progress(ring(call, NOW + 6)) == first
    assert await types(store, call) == [EventType.CREATED, EventType.RINGING]


async def test_a_2xx_after_a_stop_is_a_fact_of_the_timeline_and_moves_nothing(store: Store) -> None:
    call = await added(store)
    before = (await stop(store, call)).call
    now = await store.record_progress(answer(call, NOW + 70))
    again = await store.record_progress(answer(call, NOW + 80))
    assert now == again == msgspec.structs.replace(before, answered_on_wire_at=NOW + 70, updated_at=NOW + 70)
    assert now is not None
    assert (now.billable, now.answered_at, now.outcome) == (True, None, Outcome.CANCELED)
    assert await types(store, call) == [EventType.CREATED, EventType.STOP_REQUESTED, EventType.ANSWERED_AFTER_STOP]


async def test_a_late_fact_without_a_late_event_is_dropped(store: Store) -> None:
    call = await added(store)
    before = (await stop(store, call)).call
    assert await store.record_progress(ring(call, NOW + 70)) == before
    assert (await types(store, call))[-1] is EventType.STOP_REQUESTED


async def test_a_plain_fact_sets_a_time_once(store: Store) -> None:
    call = await added(store)
    for at in (NOW + 1, NOW + 2):
        now = await store.record_progress(Progress(call.id, at, EventType.DIALED, fields={"dialed_at": at}))
        assert now is not None
        assert now.dialed_at == NOW + 1
    assert await types(store, call) == [EventType.CREATED, EventType.DIALED]


async def test_a_fact_that_sets_nothing_is_logged_each_time(store: Store) -> None:
    call = await answered(store)
    for digit in ("1", "1", "#"):
        await store.record_progress(Progress(call.id, NOW + 20, EventType.DTMF, data={"digit": digit}))
    digits = [event.data["digit"] for event in await store.events(call.id) if event.type is EventType.DTMF]
    assert digits == ["1", "1", "#"]


async def test_a_deadline_is_replaced(store: Store) -> None:
    call = await added(store, deadline_at=NOW + 60)
    now = await store.record_progress(Progress(call.id, NOW, EventType.PROVISIONAL, fields={"deadline_at": NOW + 99}))
    assert now is not None
    assert now.deadline_at == NOW + 99


@pytest.mark.parametrize("changes", [{"fields": {"ended_at": 1}}, {"late_fields": {"dial_at": 1}}, {"to": State.ENDED}])
async def test_a_wire_fact_cannot_write_the_end(store: Store, changes: dict[str, Any]) -> None:
    call = await added(store)
    with pytest.raises(ValueError, match="may not write"):
        await store.record_progress(Progress(call.id, NOW, EventType.PROVISIONAL, **changes))
    assert await store.get_call(call.id, None) == call


async def test_commands_on_an_unknown_call_say_so(store: Store) -> None:
    unknown = sample_call()
    assert await store.record_progress(ring(unknown, NOW)) is None
    assert await store.settle(settlement(unknown, NOW)) is None
    assert await store.append_proof(unknown.id, NOW, CONFIRMED) is None
    assert await store.request_stop(StopOrder(unknown.id, BY_KEY, NOW, or_sip_call_id=True)) is None


# --- many at once


async def test_an_error_in_one_command_leaves_its_neighbours_whole(store: Store) -> None:
    taken = await added(store)
    fresh = [sample_call(created_at=NOW) for _ in range(20)]
    batch = [*fresh[:10], taken, *fresh[10:]]
    found = await asyncio.gather(*(store.create_call(call) for call in batch), return_exceptions=True)
    assert [type(result) for result in found if result is not None] == [ConflictError]
    assert isinstance(found[10], ConflictError)
    for call in fresh:
        assert await store.get_call(call.id, None) == call


async def test_the_same_call_many_times_in_one_batch_has_a_gapless_log(store: Store) -> None:
    call = await answered(store)
    facts = [Progress(call.id, NOW + n, EventType.DTMF, data={"n": n}) for n in range(30)]
    await asyncio.gather(*(store.record_progress(fact) for fact in facts), stop(store, call))
    assert sorted(await types(store, call)) == sorted(
        [EventType.CREATED, EventType.ANSWERED, EventType.STOP_REQUESTED, *[EventType.DTMF] * 30]
    )


async def test_a_caller_who_gives_up_does_not_undo_the_write(store: Store) -> None:
    call = await added(store)
    task = asyncio.create_task(store.request_stop(StopOrder(call.id, BY_KEY, NOW + 50)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    stopped = await stop(store, call, NOW + 51)
    assert (stopped.first, stopped.call.ended_at) == (False, NOW + 50)
