"""A far end calls: which call it becomes, who answers, how it is refused, and how each end of it reads."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from onhook.calls.call import Call, CallDetails, Dialect, Direction
from onhook.calls.causes import Cause, Outcome, Reason
from onhook.calls.proof import Method, Result
from onhook.calls.selector import CallSelector
from onhook.calls.states import State
from onhook.control import inbound as inbound_module
from onhook.control.place import RefusedError
from onhook.control.register import REGISTRATION_MS, RegisterOrder
from onhook.control.routing import ANSWER_LIMIT_MS
from onhook.store.records import DialBlock
from onhook.store.store import Agent, Arrival, Number, Progress, StoreError
from tests.unit.inbound_bench import CALLER, OURS, InboundBench, talkover_agent

pytestmark = pytest.mark.unit


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[InboundBench]:
    yield await InboundBench().open()


async def registered(bench: InboundBench, **changes: Any) -> Call:
    order = RegisterOrder("a", Dialect.ANUNZI, "agent1", details=CallDetails(metadata={"list": 7}), **changes)
    return await bench.registrar.register(order)


# --- taken


async def test_a_call_to_a_number_of_ours_is_recorded_rings_and_is_answered_by_its_agent(bench: InboundBench) -> None:
    begun = bench.clock.now_ms()
    call = await bench.call_in()
    assert (call.state, call.direction) == (State.ANSWERED, Direction.INBOUND)
    assert (call.environment_id, call.agent_id, call.trunk_id) == ("a", "agent1", "t1")
    assert (call.from_number, call.to_number) == (CALLER, OURS)
    assert call.sip_call_id == f"{call.id}@far.test"
    assert (call.created_at, call.dialed_at, call.ringing_at, call.answered_at) == (begun,) * 4
    assert call.deadline_at == begun + call.max_duration_ms
    assert await bench.event_types(call.id) == ["call.created", "call.dialed", "call.ringing", "call.answered"]
    leg = bench.engine.legs[call.id]
    assert leg.trunk is not None
    assert leg.trunk.id == "t1"


async def test_the_answer_is_recorded_when_the_caller_has_acknowledged_it(bench: InboundBench) -> None:
    bench.engine.acknowledges = False
    call = await bench.call_in()
    assert (call.state, call.answered_at) == (State.RINGING, None)
    assert call.deadline_at == call.created_at + ANSWER_LIMIT_MS
    bench.engine.acknowledge(call.id)
    assert (await bench.written(call.id)).state is State.ANSWERED


async def test_a_talkover_agent_has_a_call_with_talkovers_kind_of_id(bench: InboundBench) -> None:
    await talkover_agent(bench)
    call = await bench.call_in()
    assert str(uuid.UUID(call.id)) == call.id
    assert (call.dialect, call.state) == (Dialect.TALKOVER, State.ANSWERED)
    bench.engine.hang_up_far_end(call.id)
    assert (await bench.written(call.id)).state is State.ENDED


async def test_without_an_agent_for_its_calls_a_number_has_its_agent_of_direction_inbound(bench: InboundBench) -> None:
    await bench.store.put(Number("n1", "a", OURS, "t1", bench.clock.now_ms(), "agent1"))
    assert await bench.refused() == 480
    await bench.agent(direction=Direction.INBOUND)
    assert (await bench.call_in()).agent_id == "agent1"


async def test_the_agent_for_calls_in_answers_rather_than_the_one_for_calls_out(bench: InboundBench) -> None:
    now = bench.clock.now_ms()
    await bench.store.put(Agent("agent2", "a", Dialect.NATIVE, "Bo", "Bo", now, now, published=True))
    await bench.store.put(Number("n1", "a", OURS, "t1", now, "agent1", "agent2"))
    assert (await bench.call_in()).agent_id == "agent2"


async def test_a_caller_who_tells_no_number_is_anonymous(bench: InboundBench) -> None:
    assert (await bench.call_in(caller="")).from_number == "anonymous"


async def test_a_number_is_read_as_our_country_writes_it() -> None:
    bench = await InboundBench(default_region="US").open()
    assert (await bench.call_in("2025550100")).to_number == OURS


async def test_the_callers_own_headers_are_kept_and_are_variables_of_the_agent(bench: InboundBench) -> None:
    call = await bench.call_in(X_Account="77", Subject="hello")
    assert call.details.sip_headers == {"X-Account": "77"}
    assert call.details.dynamic_variables == {"x-account": "77"}


async def test_a_call_keeps_what_its_agent_says_of_storage_and_its_version(bench: InboundBench) -> None:
    await bench.agent(version=3, settings={"data_storage_setting": "basic_attributes_only"})
    details = (await bench.call_in()).details
    assert (details.agent_version, details.data_storage_setting) == (3, "basic_attributes_only")


# --- refused


async def test_what_nobody_may_take_is_refused_and_leaves_nothing(bench: InboundBench) -> None:
    assert await bench.refused("+12025550999") == 404
    assert await bench.refused("nobody") == 404
    await bench.agent(published=False)
    assert await bench.refused() == 480
    await bench.agent(published=True)
    bench.unfit["agent1"] = "it has no tongue"
    assert await bench.refused() == 480
    assert await bench.calls() == []
    assert len(bench.live) == 0


async def test_another_tenants_number_is_unknown_at_this_trunk(bench: InboundBench) -> None:
    now = bench.clock.now_ms()
    await bench.store.put(Agent("agent_b", "b", Dialect.NATIVE, "Bo", "Bo", now, now, published=True))
    await bench.store.put(Number("n2", "b", "+12025550200", "t2", now, None, "agent_b"))
    assert await bench.refused("+12025550200") == 404


async def test_while_the_store_is_away_calls_are_refused_for_now(bench: InboundBench) -> None:
    bench.store.fail_writes = True
    assert await bench.refused() == 503
    bench.store.fail_writes = False
    assert await bench.calls() == []
    assert len(bench.live) == 0
    assert (await bench.call_in()).state is State.ANSWERED


async def test_a_store_that_cannot_be_read_refuses_for_now(
    bench: InboundBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(environment_id: str, number: str) -> None:
        raise StoreError("away")

    monkeypatch.setattr(bench.store, "number_by_value", away)
    assert await bench.refused() == 503


async def test_a_call_whose_record_broke_off_is_settled_once_the_store_is_back(
    bench: InboundBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(progress: Progress) -> None:
        raise StoreError("away")

    monkeypatch.setattr(bench.store, "record_progress", away)
    assert await bench.refused() == 503
    call = await bench.only_call()
    assert (call.state, call.cause, call.outcome) == (State.ENDED, inbound_module.AWAY.cause, Outcome.FAILED)


async def test_a_stop_of_a_call_whose_record_broke_off_waits_for_its_leg(
    bench: InboundBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(progress: Progress) -> None:
        raise StoreError("away")

    bench.engine.settles = False
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "record_progress", away)
        assert await bench.refused() == 503
    (call,) = await bench.calls()
    stopped = await bench.ending.request_stop(bench.stop_order(call.id), wait_ms=0)
    assert stopped is not None
    assert (stopped.call.state, (await bench.written(call.id)).state) == (State.ENDING, State.ENDING)
    bench.engine.settle(call.id)
    over = await bench.written(call.id)
    assert (over.state, over.proof_so_far.method) == (State.ENDED, Method.REFUSED)
    assert len(bench.live) == 0


async def test_a_server_that_ends_its_calls_takes_no_more(bench: InboundBench) -> None:
    bench.inbound.close()
    assert await bench.refused() == 503
    assert await bench.calls() == []


async def test_a_call_that_is_being_recorded_when_the_server_ends_is_refused_and_over(bench: InboundBench) -> None:
    bench.store.write_delay = 0.01
    bench.engine.call_in(CALLER, OURS)
    await bench.begun()
    bench.inbound.close()
    call = await bench.only_call()
    assert (call.state, call.cause, call.outcome) == (
        State.ENDED,
        Cause("system", Reason.SHUTDOWN, sip_status=503),
        Outcome.CANCELED,
    )
    assert bench.engine.refusals == [(call.id, 503)]


async def test_a_dial_block_keeps_calls_from_being_taken_and_is_their_reason(bench: InboundBench) -> None:
    block = DialBlock("b1", "a", CallSelector(number_prefixes=("+1202",)), bench.clock.now_ms(), "operator")
    await bench.store.put(block)
    assert await bench.refused() == 503
    call = await bench.only_call()
    assert (call.state, call.outcome, call.billable) == (State.ENDED, Outcome.CANCELED, False)
    assert call.cause == Cause("system", Reason.DIAL_BLOCKED, sip_status=503)
    assert call.proof_so_far.method is Method.REFUSED
    await bench.store.delete(DialBlock, "b1", "a")
    bench.engine.call_in(CALLER, OURS)
    await bench.inbound.decided()
    assert State.ANSWERED in {one.state for one in await bench.calls()}


# --- ended


async def test_a_caller_who_gives_up_while_it_rings_has_not_been_answered(
    bench: InboundBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.engine, "answer", lambda call_id, trunk=None: None)
    call = await bench.call_in()
    bench.engine.cancel_far_end(call.id)
    over = await bench.written(call.id)
    assert (over.state, over.outcome, over.duration_ms) == (State.ENDED, Outcome.NO_ANSWER, 0)
    assert over.cause == Cause("caller", Reason.CALLER_CANCELED, sip_status=487, q850=16)
    assert over.proof_so_far.method is Method.FAR_END_CANCEL


async def test_a_caller_who_gives_up_while_the_call_is_being_recorded_ends_a_call_that_is_there(
    bench: InboundBench,
) -> None:
    bench.store.write_delay = 0.01
    call_id = bench.engine.call_in(CALLER, OURS)
    await bench.begun()
    bench.engine.cancel_far_end(call_id)
    call = await bench.only_call()
    assert (call.state, call.cause and call.cause.reason) == (State.ENDED, Reason.CALLER_CANCELED)
    assert await bench.event_types(call.id) == ["call.created", "call.dialed", "call.ended"]
    assert len(bench.live) == 0


async def test_a_caller_who_gives_up_before_anybody_has_decided_leaves_no_call(bench: InboundBench) -> None:
    call_id = bench.engine.call_in(CALLER, OURS)
    bench.engine.cancel_far_end(call_id)
    await bench.inbound.decided()
    assert await bench.calls() == []
    assert len(bench.live) == 0


async def test_the_far_end_of_such_a_call_is_its_caller(bench: InboundBench) -> None:
    call = await bench.call_in()
    bench.clock.advance(5)
    bench.engine.hang_up_far_end(call.id)
    over = await bench.written(call.id)
    assert (over.outcome, over.duration_ms) == (Outcome.COMPLETED, 5000)
    assert over.cause == Cause("caller", Reason.HANGUP, q850=16)


@pytest.mark.parametrize("acknowledged", [False, True], ids=["unacknowledged", "talking"])
async def test_a_stop_ends_a_call_that_was_answered(bench: InboundBench, acknowledged: bool) -> None:
    bench.engine.acknowledges = acknowledged
    call = await bench.call_in()
    stopped = await bench.ending.request_stop(bench.stop_order(call.id), wait_ms=1000)
    assert stopped is not None
    assert stopped.call.proof_so_far.result is Result.CONFIRMED
    assert stopped.call.outcome is (Outcome.COMPLETED if acknowledged else Outcome.CANCELED)
    assert bench.engine.hangups == [(call.id, bench.stop_order(call.id).cause)]


async def test_a_call_whose_answer_is_never_acknowledged_does_not_ring_for_ever(bench: InboundBench) -> None:
    bench.engine.acknowledges = False
    call = await bench.call_in()
    bench.clock.advance(ANSWER_LIMIT_MS / 1000)
    await bench.reconciler.sweep()
    over = await bench.written(call.id)
    assert over.cause == Cause("timer", Reason.RING_TIMEOUT)


# --- registered


async def test_a_registered_call_waits_for_its_leg_and_then_is_a_call_as_any(bench: InboundBench) -> None:
    waiting = await registered(bench, from_number=CALLER)
    assert (waiting.state, waiting.deadline_at) == (State.SCHEDULED, waiting.created_at + REGISTRATION_MS)
    bench.clock.advance(60)
    call = await bench.call_in(waiting.id, caller="+12025550155")
    assert (call.id, call.state) == (waiting.id, State.ANSWERED)
    assert (call.from_number, call.to_number, call.trunk_id) == (CALLER, "", "t1")
    assert call.dialed_at == waiting.created_at + 60_000
    assert call.details.metadata == {"list": 7}
    assert await bench.event_types(call.id) == ["call.created", "call.dialed", "call.ringing", "call.answered"]
    bench.engine.hang_up_far_end(call.id)
    assert (await bench.written(call.id)).cause == Cause("caller", Reason.HANGUP, q850=16)


async def test_a_registered_call_may_be_named_in_a_header(bench: InboundBench) -> None:
    waiting = await registered(bench)
    call = await bench.call_in(OURS, X_Onhook_Call_Id=waiting.id)
    assert (call.id, call.state, call.to_number) == (waiting.id, State.ANSWERED, OURS)


async def test_a_registered_call_has_one_leg(bench: InboundBench) -> None:
    waiting = await registered(bench)
    first = bench.engine.call_in(CALLER, waiting.id)
    second = bench.engine.call_in(CALLER, waiting.id)
    call = await bench.only_call()
    assert call.state is State.ANSWERED
    assert {first, second} & bench.engine.legs.keys() == set()
    assert bench.engine.refusals == [(second, 503)]
    assert await bench.refused(waiting.id) == 404


async def test_a_registered_call_that_nobody_comes_for_expires(bench: InboundBench) -> None:
    waiting = await registered(bench)
    bench.clock.advance(REGISTRATION_MS / 1000)
    await bench.reconciler.sweep()
    over = await bench.written(waiting.id)
    assert (over.state, over.outcome) == (State.ENDED, Outcome.FAILED)
    assert over.cause == Cause("timer", Reason.REGISTRATION_EXPIRED)
    assert over.proof_so_far.method is Method.NONE
    assert await bench.refused(waiting.id) == 404


async def test_a_registered_call_is_stopped_before_its_leg_has_come(bench: InboundBench) -> None:
    waiting = await registered(bench)
    stopped = await bench.ending.request_stop(bench.stop_order(waiting.id), wait_ms=1000)
    assert stopped is not None
    assert (stopped.call.outcome, stopped.call.proof_so_far.method) == (Outcome.CANCELED, Method.NONE)


async def test_a_stop_that_crosses_the_leg_refuses_it_and_says_so(bench: InboundBench) -> None:
    waiting = await registered(bench)
    bench.engine.call_in(CALLER, waiting.id)
    await bench.begun()
    stopped = await bench.ending.request_stop(bench.stop_order(waiting.id), wait_ms=1000)
    await bench.inbound.decided()
    assert stopped is not None
    over = await bench.written(waiting.id)
    assert (over.state, over.cause) == (State.ENDED, bench.stop_order(waiting.id).cause)
    assert over.proof_so_far.method in (Method.REFUSED, Method.BYE)
    assert bench.engine.legs == {}
    assert len(bench.live) == 0


async def test_a_caller_who_gives_up_as_its_registered_call_arrives_ends_it(bench: InboundBench) -> None:
    waiting = await registered(bench)
    bench.store.write_delay = 0.01
    bench.engine.call_in(CALLER, waiting.id)
    await bench.begun()
    bench.engine.cancel_far_end(waiting.id)
    over = await bench.only_call()
    assert (over.state, over.cause and over.cause.reason) == (State.ENDED, Reason.CALLER_CANCELED)


async def test_a_registered_call_waits_on_while_the_store_is_away(bench: InboundBench) -> None:
    waiting = await registered(bench)
    bench.store.fail_writes = True
    assert await bench.refused(waiting.id) == 503
    bench.store.fail_writes = False
    assert await bench.store.get_call(waiting.id, None) == waiting
    assert len(bench.live) == 0
    assert (await bench.call_in(waiting.id)).state is State.ANSWERED


async def test_a_caller_who_gave_up_while_the_store_was_away_may_call_again(
    bench: InboundBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await registered(bench)

    async def away(arrival: Arrival) -> None:
        bench.engine.cancel_far_end(arrival.call_id)
        raise StoreError("away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "arrive", away)
        bench.engine.call_in(CALLER, waiting.id)
        await bench.inbound.decided()
    assert (await bench.call_in(waiting.id)).state is State.ANSWERED
    bench.engine.hang_up_far_end(waiting.id)
    assert (await bench.written(waiting.id)).state is State.ENDED
    assert len(bench.live) == 0


async def test_another_tenants_registered_call_and_one_unknown_are_not_there(bench: InboundBench) -> None:
    waiting = await registered(bench)
    await bench.store.put(Agent("agent1", "b", Dialect.NATIVE, "Bo", "Bo", 1, 1, published=True))
    theirs = await bench.registrar.register(RegisterOrder("b", Dialect.ANUNZI, "agent1"))
    assert await bench.refused(theirs.id) == 404
    assert await bench.refused(f"call_{'0' * 27}") == 404
    assert waiting.id != theirs.id


async def test_an_agent_that_is_taken_back_leaves_its_registered_call_waiting(bench: InboundBench) -> None:
    waiting = await registered(bench)
    await bench.agent(published=False)
    assert await bench.refused(waiting.id) == 480
    await bench.agent(published=True)
    assert (await bench.call_in(waiting.id)).state is State.ANSWERED


@pytest.mark.parametrize(
    ("agent_id", "changes", "code"),
    [
        ("nobody", {}, "agent_unknown"),
        ("agent1", {"published": False}, "agent_inactive"),
        ("agent1", {"name": "Mute"}, "agent_invalid"),
    ],
)
async def test_only_an_agent_that_could_speak_is_registered(
    bench: InboundBench, agent_id: str, changes: dict[str, object], code: str
) -> None:
    await bench.agent(**changes)
    bench.unfit |= {agent_id: "it has no tongue"} if code == "agent_invalid" else {}
    with pytest.raises(RefusedError) as refused:
        await bench.registrar.register(RegisterOrder("a", Dialect.ANUNZI, agent_id))
    assert refused.value.code == code
    assert await bench.calls() == []


async def test_one_wish_registers_one_call(bench: InboundBench) -> None:
    order = RegisterOrder("a", Dialect.ANUNZI, "agent1", call_id=f"call_{'a' * 27}", to_number=OURS)
    first = await bench.registrar.register(order)
    assert await bench.registrar.register(order) == first
    assert first.trunk_id == "t1"
