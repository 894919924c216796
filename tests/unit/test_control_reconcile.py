"""The sweep, the deadlines, and what a new life does with the calls of the old one."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from onhook.calls.call import Call, Dialect
from onhook.calls.causes import Cause, Outcome, Reason
from onhook.calls.proof import Method, Result
from onhook.calls.states import State
from onhook.control.place import MAX_DELAY_S, PlaceOrder
from onhook.store.store import Agent, Due, StoreError
from tests.unit.control_bench import API, Bench

pytestmark = pytest.mark.unit


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    yield await Bench().open()


@pytest.mark.parametrize("is_deleted", [True, False])
async def test_a_scheduled_call_whose_agent_is_no_good_any_more_ends_undialled(bench: Bench, is_deleted: bool) -> None:
    call = await bench.place(delay_s=60)
    if is_deleted:
        await bench.store.delete(Agent, "agent1", "a")
    else:
        bench.unfit["agent1"] = "url: the bot is not allowed any more"
    bench.clock.advance(60)
    await bench.reconciler.sweep()
    await bench.dialer.started()
    ended = await bench.written(call.id)
    why = "the agent is not there any more" if is_deleted else "url: the bot is not allowed any more"
    assert (ended.state, ended.cause) == (State.ENDED, Cause("system", Reason.AGENT_LOST, text=why))
    assert (ended.outcome, ended.dialed_at) == (Outcome.FAILED, None)
    assert ended.proof is not None
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.NONE)
    assert bench.engine.legs == {}
    assert bench.engine.hangups == []


async def test_an_agent_that_is_no_good_any_more_keeps_no_other_scheduled_call_waiting(bench: Bench) -> None:
    agent = await bench.store.get(Agent, "agent1", "a")
    assert agent is not None
    await bench.store.put(msgspec.structs.replace(agent, id="agent2"))
    broken = await bench.place(delay_s=60)
    order = PlaceOrder("a", Dialect.NATIVE, "+12025550199", "agent2", "+12025550100", delay_s=60)
    good = await bench.placer.place(order)
    bench.unfit["agent1"] = "kind: OPENAI_API_KEY is not set"
    bench.clock.advance(60)
    await bench.reconciler.sweep()
    await bench.dialer.started()
    assert (await bench.written(broken.id)).state is State.ENDED
    assert list(bench.engine.legs) == [good.id]


async def test_a_scheduled_call_is_dialled_when_its_delay_is_over(bench: Bench) -> None:
    call = await bench.place(delay_s=MAX_DELAY_S)
    await bench.reconciler.sweep()
    assert call.id not in bench.engine.legs
    bench.clock.advance(MAX_DELAY_S)
    await bench.reconciler.sweep()
    await bench.dialer.started()
    assert call.id in bench.engine.legs
    dialled = await bench.written(call.id)
    assert dialled.state is State.DIALING
    assert dialled.deadline_at == bench.clock.now_ms() + call.ring_timeout_ms


async def test_a_call_that_rings_too_long_is_not_answered(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.ring(call.id)
    await bench.recorder.drained()
    bench.clock.advance(call.ring_timeout_ms / 1000)
    await bench.reconciler.sweep()
    ended = await bench.written(call.id)
    assert ended.cause is not None
    assert (ended.outcome, ended.cause.reason, ended.cause.initiator) == (
        Outcome.NO_ANSWER,
        Reason.RING_TIMEOUT,
        "timer",
    )


async def test_a_call_that_is_answered_while_a_sweep_is_on_its_way_talks_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await bench.place()
    bench.engine.ring(call.id)
    await bench.recorder.drained()
    bench.clock.advance(call.ring_timeout_ms / 1000)
    found = await bench.store.due(bench.clock.now_ms())
    assert [one.id for one in found.overdue] == [call.id]

    async def due(_now: int, _limit: int) -> Due:
        return found

    bench.engine.answer(call.id)
    await bench.recorder.drained()
    monkeypatch.setattr(bench.store, "due", due)
    await bench.reconciler.sweep()
    assert (await bench.written(call.id)).state is State.ANSWERED


async def test_a_call_that_talks_too_long_is_ended_by_its_stored_deadline(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.answer(call.id)
    await bench.recorder.drained()
    bench.clock.advance(call.max_duration_ms / 1000 - 1)
    await bench.reconciler.sweep()
    assert not (await bench.written(call.id)).is_over
    bench.clock.advance(1)
    await bench.reconciler.sweep()
    ended = await bench.written(call.id)
    assert ended.cause is not None
    assert (ended.outcome, ended.cause.reason) == (Outcome.COMPLETED, Reason.MAX_DURATION)
    assert ended.duration_ms == call.max_duration_ms


async def test_a_lost_bell_costs_one_sweep(bench: Bench) -> None:
    call = await bench.place()
    await bench.store.request_stops([bench.stop_order(call.id)])
    assert not bench.engine.hangups
    await bench.reconciler.sweep()
    assert bench.engine.hangups == [(call.id, API)]
    assert (await bench.written(call.id)).state is State.ENDED


async def test_a_sweep_leaves_a_call_that_waits_for_its_proof_alone(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.settles = False
    await bench.ending.request_stop(bench.stop_order(call.id))
    await bench.reconciler.sweep()
    assert (await bench.written(call.id)).state is State.ENDING


async def test_a_sweep_that_comes_behind_the_end_of_a_call_leaves_its_late_answer_watch_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await bench.place()
    await bench.store.save_snapshot(call.id, b"leg", before_invite=False)
    bench.engine.settles = False
    await bench.ending.request_stop(bench.stop_order(call.id))
    found = await bench.store.due(bench.clock.now_ms())
    assert [one.id for one in found.ending] == [call.id]
    bench.engine.settle(call.id, confirmed=False)
    ended = await bench.written(call.id)
    told: list[Call] = []
    bench.ending.on_end.append(told.append)

    async def due(_now: int, _limit: int) -> Due:
        return found

    monkeypatch.setattr(bench.store, "due", due)
    await bench.reconciler.sweep()
    assert await bench.store.snapshots() == {call.id: b"leg"}
    assert (await bench.written(call.id), told) == (ended, [])


async def test_a_deleted_call_is_erased_by_a_sweep_once_its_wire_is_settled(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.settles = False
    await bench.ending.request_stop(bench.stop_order(call.id))
    assert await bench.store.delete_call(call.id, call.environment_id, bench.clock.now_ms())
    await bench.reconciler.sweep()
    assert await bench.store.get_call(call.id, None) is not None
    bench.engine.settle(call.id)
    await bench.written(call.id)
    await bench.store.forget_snapshot(call.id)
    await bench.reconciler.sweep()
    assert await bench.store.get_call(call.id, None) is None


async def test_the_next_life_ends_what_the_last_one_left(bench: Bench) -> None:
    on_the_wire = await bench.place()
    never_sent = await bench.place()
    waiting = await bench.place(delay_s=60)
    stopped = await bench.place()
    await bench.store.save_snapshot(on_the_wire.id, b"{}", before_invite=True)
    await bench.store.save_snapshot(stopped.id, b"{}", before_invite=True)
    await bench.store.request_stops([bench.stop_order(stopped.id)])

    after = Bench(bench.store)
    assert await after.reconciler.settle_earlier_life() == 3
    for call, method in ((on_the_wire, Method.BYE), (never_sent, Method.NONE), (stopped, Method.BYE)):
        ended = await after.written(call.id)
        assert ended.cause is not None
        assert ended.state is State.ENDED
        assert ended.proof_so_far.method is method
        assert ended.cause.reason is (Reason.API_STOP if call is stopped else Reason.RESTART)
        assert (await after.event_types(call.id)).count("call.ended") == 1
    assert (await after.written(waiting.id)).state is State.SCHEDULED
    assert await after.store.snapshots() == {}
    assert len(after.live) == 0


async def test_a_store_that_is_away_holds_events_back_and_loses_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onhook.control.progress.RETRY_S", 0.005)
    call = await bench.place()
    bench.store.fail_writes = True
    bench.engine.ring(call.id)
    bench.engine.answer(call.id)
    bench.engine.hang_up_far_end(call.id)
    with pytest.raises(StoreError):
        await bench.store.check()
    bench.store.fail_writes = False
    ended = await bench.written(call.id)
    assert ended.state is State.ENDED
    assert ended.answered_at is not None
    assert (await bench.event_types(call.id))[-3:] == ["call.ringing", "call.answered", "call.ended"]


async def test_with_a_full_disk_every_call_that_is_due_still_ends_on_the_wire(bench: Bench) -> None:
    calls = [await bench.place() for _ in range(3)]
    scheduled = await bench.place(delay_s=1)
    for call in calls:
        bench.engine.answer(call.id)
    await bench.recorder.drained()
    bench.engine.settles = False
    bench.store.fail_writes = True
    for call in calls[:2]:
        with pytest.raises(StoreError):
            await bench.ending.request_stop(bench.stop_order(call.id))
    bench.engine.hangups.clear()
    bench.clock.advance(calls[0].max_duration_ms / 1000)
    with pytest.raises(StoreError):
        await bench.reconciler.sweep()
    assert {call_id for call_id, _ in bench.engine.hangups} == {call.id for call in calls}
    bench.store.fail_writes = False
    await bench.reconciler.sweep()
    await bench.dialer.started()
    stopped = [await bench.written(call.id) for call in calls]
    assert [call.cause and call.cause.reason for call in stopped] == [Reason.API_STOP] * 2 + [Reason.MAX_DURATION]
    assert scheduled.id in bench.engine.legs


async def test_a_snapshot_that_cannot_be_read_keeps_no_other_call_from_being_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, readable, gone = await bench.place(), await bench.place(), await bench.place()
    for call in (broken, readable, gone):
        await bench.store.save_snapshot(call.id, call.id.encode(), before_invite=True)
    bench.engine.reject(gone.id, 486)
    await bench.written(gone.id)
    await bench.store.save_snapshot(gone.id, gone.id.encode(), before_invite=False)
    after = Bench(bench.store)
    resume = after.engine.resume

    def read(call_id: str, snapshot: bytes, cause: Cause) -> None:
        if call_id != readable.id:
            raise ValueError("of another version")
        resume(call_id, snapshot, cause)

    monkeypatch.setattr(after.engine, "resume", read)
    assert await after.reconciler.settle_earlier_life() == 2
    ended = await after.written(readable.id)
    assert (ended.state, ended.proof_so_far.method) == (State.ENDED, Method.BYE)
    lost = await after.written(broken.id)
    assert (lost.state, lost.proof_so_far.result) == (State.ENDED, Result.UNCONFIRMED)
    assert (await after.written(gone.id)).outcome is Outcome.BUSY
    assert await after.store.snapshots() == {}
    assert len(after.live) == 0


async def test_what_is_on_the_wire_is_ended_by_the_next_life_even_when_the_disk_is_full(bench: Bench) -> None:
    call = await bench.place()
    await bench.store.save_snapshot(call.id, b"{}", before_invite=True)
    bench.store.fail_writes = True
    after = Bench(bench.store)
    after.engine.settles = False
    with pytest.raises(StoreError):
        await after.reconciler.settle_earlier_life()
    assert [call_id for call_id, _ in after.engine.hangups] == [call.id]


async def test_a_node_that_is_ending_its_calls_dials_none_that_becomes_due(bench: Bench) -> None:
    call = await bench.place(delay_s=1)
    bench.dialer.close()
    bench.clock.advance(1)
    await bench.reconciler.sweep()
    assert (await bench.written(call.id)).state is State.SCHEDULED
    assert bench.engine.legs == {}
