"""The port to durable state: how calls end, in every store."""

import asyncio

import msgspec
import pytest
from tests.contract.store_cases import (
    BUSY,
    BY_CALLEE,
    BY_KEY,
    CONFIRMED,
    NOW,
    UNCONFIRMED,
    added,
    answered,
    as_json,
    last_event,
    settlement,
    stop,
    types,
)

from onhook.calls.call import EventType, Stop
from onhook.calls.causes import Cause, Outcome, Reason
from onhook.calls.proof import Method, Proof, Result
from onhook.calls.states import State
from onhook.store.store import StopOrder, Stopped, Store

pytestmark = pytest.mark.contract

# --- stops


@pytest.mark.parametrize("state", [State.SCHEDULED, State.DIALING, State.RINGING])
async def test_a_stop_before_the_answer_cancels_the_call(store: Store, state: State) -> None:
    call = await added(store, state=state)
    stopped = await stop(store, call)
    assert stopped.first
    assert stopped.call == msgspec.structs.replace(
        call,
        state=State.ENDING,
        updated_at=NOW + 50,
        ended_at=NOW + 50,
        outcome=Outcome.CANCELED,
        cause=BY_KEY,
        stop=Stop(NOW + 50, BY_KEY, Result.PENDING),
    )
    assert stopped.call == await store.get_call(call.id, None)
    event = await last_event(store, call)
    assert (event.type, event.at) == (EventType.STOP_REQUESTED, NOW + 50)
    assert event.data == {"cause": as_json(BY_KEY), "state": state.value}


async def test_a_stop_keeps_the_request_the_bulk_stop_and_the_farewell_that_it_came_with(store: Store) -> None:
    call = await answered(store)
    order = StopOrder(call.id, BY_KEY, NOW + 50, request_id="req_1", bulk_id="bulk_1", farewell="played")
    stopped = await store.request_stop(order)
    assert stopped is not None
    assert stopped.call.stop == Stop(NOW + 50, BY_KEY, Result.PENDING, "req_1", "bulk_1", "played")
    event = await last_event(store, call)
    circumstances = {"request_id": "req_1", "bulk_id": "bulk_1", "farewell": "played"}
    assert event.data == {"cause": as_json(BY_KEY), "state": "answered", **circumstances}
    ended = await store.settle(settlement(call, NOW + 90))
    assert ended is not None
    assert ended.stop == Stop(NOW + 50, BY_KEY, Result.CONFIRMED, "req_1", "bulk_1", "played")
    assert await store.get_call(call.id, None) == ended


async def test_a_stop_after_the_answer_completes_the_call(store: Store) -> None:
    call = await answered(store)
    stopped = await stop(store, call)
    assert (stopped.call.outcome, stopped.call.duration_ms) == (Outcome.COMPLETED, 40)


async def test_a_second_stop_returns_the_call_as_the_first_left_it(store: Store) -> None:
    call = await added(store)
    first = await stop(store, call)
    second = await store.request_stop(StopOrder(call.id, Cause("operator", Reason.OPERATOR_STOP), NOW + 51))
    assert second == Stopped(first.call, first=False)
    assert await types(store, call) == [EventType.CREATED, EventType.STOP_REQUESTED]


async def test_of_fifty_stops_at_once_one_is_first(store: Store) -> None:
    call = await answered(store)
    orders = [StopOrder(call.id, Cause(f"api_key:{n}", Reason.API_STOP), NOW + n) for n in range(50)]
    found = await asyncio.gather(*(store.request_stop(order) for order in orders))
    (winner,) = [stopped.call for stopped in found if stopped is not None and stopped.first]
    assert all(stopped is not None and stopped.call == winner for stopped in found)
    assert (await types(store, call)).count(EventType.STOP_REQUESTED) == 1


async def test_many_stops_in_one_order_answer_in_order_even_for_the_same_call(store: Store) -> None:
    one, two = await answered(store), await added(store)
    orders = [StopOrder(call_id, BY_KEY, NOW + 50) for call_id in (two.id, "call_unknown", one.id, two.id)]
    found = await store.request_stops(orders)
    assert [stopped and (stopped.call.id, stopped.first) for stopped in found] == [
        (two.id, True),
        None,
        (one.id, True),
        (two.id, False),
    ]
    assert await store.request_stops([]) == []


async def test_a_stop_finds_a_call_by_its_sip_call_id_only_when_asked_to(store: Store) -> None:
    call = await added(store)
    assert await store.request_stop(StopOrder(call.sip_call_id, BY_KEY, NOW)) is None
    stopped = await store.request_stop(StopOrder(call.sip_call_id, BY_KEY, NOW, or_sip_call_id=True))
    assert stopped is not None
    assert (stopped.call.id, stopped.first) == (call.id, True)


async def test_a_stop_reaches_no_other_environment_and_no_other_agent(store: Store) -> None:
    call = await added(store)
    for environment_id, agent_id in (("env_2", None), (None, "agent_2"), ("", "")):
        for name in (call.id, call.sip_call_id):
            order = StopOrder(name, BY_KEY, NOW, environment_id, agent_id, or_sip_call_id=True)
            assert await store.request_stop(order) is None
    order = StopOrder(call.id, BY_KEY, NOW, environment_id=call.environment_id, agent_id=call.agent_id)
    stopped = await store.request_stop(order)
    assert stopped is not None
    assert stopped.first


async def test_a_sip_call_id_that_two_environments_share_means_ones_own_call(store: Store) -> None:
    await added(store, sip_call_id="shared@far.end")
    own = await added(store, sip_call_id="shared@far.end", environment_id="env_2")
    order = StopOrder("shared@far.end", BY_KEY, NOW, environment_id="env_2", or_sip_call_id=True)
    stopped = await store.request_stop(order)
    assert stopped is not None
    assert stopped.call.id == own.id


# --- settlement and proof


async def test_a_natural_end_takes_cause_and_time_from_the_wire(store: Store) -> None:
    call = await answered(store)
    ended = await store.settle(settlement(call, NOW + 90))
    assert ended is not None
    assert (ended.state, ended.cause, ended.outcome) == (State.ENDED, BY_CALLEE, Outcome.COMPLETED)
    assert (ended.ended_at, ended.duration_ms, ended.proof, ended.stop) == (NOW + 89, 79, CONFIRMED, None)
    assert ended == await store.get_call(call.id, None)


async def test_a_rejection_ends_a_call_that_nobody_answered(store: Store) -> None:
    call = await added(store)
    ended = await store.settle(settlement(call, NOW + 90, Proof(Result.CONFIRMED, Method.REJECTED), BUSY))
    assert ended is not None
    assert (ended.outcome, ended.cause, ended.duration_ms) == (Outcome.BUSY, BUSY, 0)


@pytest.mark.parametrize("proof", [CONFIRMED, UNCONFIRMED])
async def test_what_a_stop_wrote_stays_when_the_wire_settles(store: Store, proof: Proof) -> None:
    call = await added(store)
    stopped = (await stop(store, call)).call
    ended = await store.settle(settlement(call, NOW + 90, proof, BUSY))
    assert ended == msgspec.structs.replace(
        stopped,
        state=State.ENDED,
        updated_at=NOW + 90,
        proof=proof,
        stop=Stop(NOW + 50, BY_KEY, proof.result),
    )


async def test_the_end_is_told_once_with_all_there_is_to_know(store: Store) -> None:
    call = await answered(store)
    await stop(store, call)
    first = await store.settle(settlement(call, NOW + 90))
    assert await store.settle(settlement(call, NOW + 99, UNCONFIRMED)) == first
    assert (await types(store, call)).count(EventType.ENDED) == 1
    event = await last_event(store, call)
    assert (event.type, event.at) == (EventType.ENDED, NOW + 90)
    assert event.data == {
        "outcome": "completed",
        "cause": as_json(BY_KEY),
        "ended_at": NOW + 50,
        "duration_ms": 40,
        "proof": as_json(CONFIRMED),
    }


async def test_a_stop_after_the_end_finds_it_over(store: Store) -> None:
    call = await answered(store)
    ended = await store.settle(settlement(call, NOW + 90))
    stopped = await stop(store, call, NOW + 99)
    assert ended is not None
    assert stopped == Stopped(ended, first=False)


async def test_a_call_that_was_never_dialled_has_no_wire_to_settle(store: Store) -> None:
    call = await added(store, state=State.SCHEDULED, dial_at=NOW + 5)
    assert await store.settle(settlement(call, NOW + 90)) == call
    assert await types(store, call) == [EventType.CREATED]


async def test_later_evidence_replaces_the_proof_and_moves_nothing_else(store: Store) -> None:
    call = await added(store)
    await stop(store, call)
    ended = await store.settle(settlement(call, NOW + 90, UNCONFIRMED))
    assert ended is not None
    proven = await store.append_proof(call.id, NOW + 120, CONFIRMED)
    assert proven == msgspec.structs.replace(
        ended, updated_at=NOW + 120, proof=CONFIRMED, stop=Stop(NOW + 50, BY_KEY, Result.CONFIRMED)
    )
    event = await last_event(store, call)
    assert (event.type, event.at) == (EventType.PROOF_UPDATED, NOW + 120)
    assert event.data == {"proof": as_json(CONFIRMED)}
    assert (await types(store, call)).count(EventType.ENDED) == 1


async def test_a_live_call_has_no_end_to_prove(store: Store) -> None:
    call = await answered(store)
    assert await store.append_proof(call.id, NOW + 120, CONFIRMED) == call


# --- snapshots at the end


async def test_a_confirmed_end_takes_the_snapshot_along(store: Store) -> None:
    call = await added(store)
    await store.save_snapshot(call.id, b"leg", before_invite=False)
    await store.settle(settlement(call, NOW + 60))
    assert await store.snapshots() == {}


async def test_an_unconfirmed_end_leaves_the_snapshot_for_the_late_answer(store: Store) -> None:
    call = await added(store)
    await store.save_snapshot(call.id, b"leg", before_invite=False)
    await store.settle(settlement(call, NOW + 60, UNCONFIRMED))
    assert await store.snapshots() == {call.id: b"leg"}
