"""A registered call, and the leg that it waits for, in every store."""

import msgspec
import pytest
from tests.contract.store_cases import NOW, added, answer, last_event, stop, types

from onhook.calls.call import Call, Direction, EventType
from onhook.calls.states import State
from onhook.store.store import Arrival, Store

pytestmark = pytest.mark.contract


async def registered(store: Store, **changes: object) -> Call:
    fields = {"state": State.SCHEDULED, "direction": Direction.INBOUND, "trunk_id": "", "deadline_at": NOW + 300_000}
    return await added(store, **{**fields, **changes})


def arrival(call_id: str, at: int = NOW + 20) -> Arrival:
    return Arrival(
        call_id=call_id,
        at=at,
        deadline_at=at + 60_000,
        sip_call_id="far-end@peer",
        trunk_id="trunk_9",
        from_number="+12025550177",
        to_number="+12025550188",
        data={"peer": "192.0.2.9:5060"},
    )


async def test_a_registered_call_rings_once_its_leg_has_come(store: Store) -> None:
    call = await registered(store, from_number="", to_number="")
    ringing = await store.arrive(arrival(call.id))
    assert ringing == await store.get_call(call.id, None)
    assert ringing == msgspec.structs.replace(
        call,
        state=State.RINGING,
        updated_at=NOW + 20,
        dialed_at=NOW + 20,
        deadline_at=NOW + 60_020,
        sip_call_id="far-end@peer",
        trunk_id="trunk_9",
        from_number="+12025550177",
        to_number="+12025550188",
    )
    told = await last_event(store, call)
    assert (told.type, told.at, told.data) == (EventType.DIALED, NOW + 20, {"peer": "192.0.2.9:5060"})


async def test_what_was_registered_stays(store: Store) -> None:
    call = await registered(store, trunk_id="trunk_1")
    ringing = await store.arrive(arrival(call.id))
    assert ringing is not None
    assert (ringing.trunk_id, ringing.from_number, ringing.to_number) == (
        "trunk_1",
        call.from_number,
        call.to_number,
    )


async def test_only_one_leg_arrives(store: Store) -> None:
    call = await registered(store)
    assert await store.arrive(arrival(call.id)) is not None
    assert await store.arrive(arrival(call.id, NOW + 30)) is None
    assert await types(store, call) == [EventType.CREATED, EventType.DIALED]


async def test_nobody_arrives_at_a_call_that_waits_for_its_time_is_over_or_is_not_there(store: Store) -> None:
    delayed = await added(store, state=State.SCHEDULED, dial_at=NOW + 5000)
    stopped = await registered(store)
    await stop(store, stopped)
    dialing = await added(store)
    for call_id in (delayed.id, stopped.id, dialing.id, "call_unknown"):
        assert await store.arrive(arrival(call_id)) is None


async def test_a_registered_call_is_not_dialled_and_comes_due_at_its_deadline(store: Store) -> None:
    call = await registered(store)
    assert (await store.due(NOW + 299_999)).overdue == ()
    due = await store.due(NOW + 300_000)
    assert ([one.id for one in due.overdue], due.to_dial) == ([call.id], ())


async def test_a_snapshot_of_an_arrived_leg_is_kept_and_its_answer_counts(store: Store) -> None:
    call = await registered(store)
    await store.arrive(arrival(call.id))
    assert await store.save_snapshot(call.id, b"leg", before_invite=True)
    talking = await store.record_progress(answer(call, NOW + 40))
    assert talking is not None
    assert talking.state is State.ANSWERED
