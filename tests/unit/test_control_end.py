"""Ending calls: one door in, one door out, first writer wins, and the wire before the record."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
import pytest_asyncio
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.calls.call import Call
from onhook.calls.causes import Cause, Outcome, Reason
from onhook.calls.proof import Method, Proof, ProofStep, Result
from onhook.calls.states import State
from onhook.control.end import in_time
from onhook.control.live import LiveCalls
from onhook.lines.engine import AudioCount, LegEnded
from onhook.store.store import Settlement, StopOrder, Stopped, StoreError
from onhook.testing.calls import sample_call
from tests.unit.control_bench import API, Bench

pytestmark = pytest.mark.unit


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    yield await Bench().open()


async def test_a_stop_in_ringing_cancels_and_settles_with_its_proof(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.ring(call.id)
    await bench.recorder.drained()
    bench.clock.advance(1)
    stopped = await bench.ending.request_stop(bench.stop_order(call.id), wait_ms=1000)
    assert stopped is not None
    assert stopped.first
    assert stopped.call.state is State.ENDED
    assert stopped.call.outcome is Outcome.CANCELED
    assert stopped.call.cause == API
    assert stopped.call.ended_at == bench.clock.now_ms()
    assert stopped.call.proof_so_far.method is Method.CANCEL
    assert stopped.call.stop is not None
    assert stopped.call.stop.result is Result.CONFIRMED
    assert (await bench.event_types(call.id))[-2:] == ["call.stop_requested", "call.ended"]


async def test_an_unanswered_bye_leaves_the_stop_pending_and_the_call_over(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.answer(call.id)
    bench.engine.settles = False
    await bench.recorder.drained()
    stopped = await bench.ending.request_stop(bench.stop_order(call.id), wait_ms=20)
    assert stopped is not None
    assert stopped.call.state is State.ENDING
    assert stopped.call.proof_so_far.result is Result.PENDING
    bench.engine.settle(call.id, confirmed=False)
    ended = await bench.written(call.id)
    assert (ended.state, ended.outcome, ended.cause) == (State.ENDED, Outcome.COMPLETED, API)
    assert ended.stop is not None
    assert ended.stop.result is Result.UNCONFIRMED


async def test_the_second_stop_gets_the_first_ones_record(bench: Bench) -> None:
    call = await bench.place()
    first = await bench.ending.request_stop(bench.stop_order(call.id), wait_ms=1000)
    other = msgspec.structs.replace(bench.stop_order(call.id), cause=Cause("operator", Reason.OPERATOR_STOP))
    second = await bench.ending.request_stop(other, wait_ms=1000)
    assert first is not None
    assert second is not None
    assert not second.first
    assert second.call == first.call


async def test_a_stop_that_waits_learns_of_an_end_written_while_it_looked_away(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.settles = False
    waiting = asyncio.create_task(bench.ending.request_stop(bench.stop_order(call.id), wait_ms=5000))
    await bench.told_to_hang_up()
    bench.engine.settle(call.id)
    stopped = await waiting
    assert stopped is not None
    assert stopped.call.state is State.ENDED


async def test_another_tenants_call_is_unknown_and_goes_on(bench: Bench) -> None:
    call = await bench.place()
    assert await bench.ending.request_stop(bench.stop_order(call.id, "b")) is None
    assert not bench.engine.hangups
    assert not (await bench.written(call.id)).is_over


async def test_a_scheduled_call_ends_with_nothing_sent(bench: Bench) -> None:
    call = await bench.place(delay_s=60)
    stopped = await bench.ending.request_stop(bench.stop_order(call.id), wait_ms=1000)
    assert stopped is not None
    ended = await bench.written(call.id)
    assert ended.state is State.ENDED
    assert ended.proof_so_far.method is Method.NONE
    assert ended.proof_so_far.result is Result.CONFIRMED
    bench.clock.advance(61)
    await bench.reconciler.sweep()
    assert not bench.engine.legs


async def test_a_full_disk_ends_the_call_on_the_wire_and_says_so(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.answer(call.id)
    await bench.recorder.drained()
    bench.store.fail_writes = True
    stopped_at = bench.clock.now_ms()
    with pytest.raises(StoreError):
        await bench.ending.request_stop(bench.stop_order(call.id))
    assert bench.engine.hangups == [(call.id, API)]
    bench.store.fail_writes = False
    bench.clock.advance(5)
    ended = await bench.written(call.id)
    assert (ended.state, ended.cause, ended.ended_at) == (State.ENDED, API, stopped_at)


async def test_a_full_disk_does_not_let_a_stranger_end_the_call(bench: Bench) -> None:
    call = await bench.place()
    bench.store.fail_writes = True
    with pytest.raises(StoreError):
        await bench.ending.request_stop(bench.stop_order(call.id, "b"))
    wrong_agent = msgspec.structs.replace(bench.stop_order(call.id), agent_id="agent2")
    with pytest.raises(StoreError):
        await bench.ending.request_stop(wrong_agent)
    assert not bench.engine.hangups
    assert call.id in bench.live


async def test_a_stop_slower_than_the_limit_ends_the_call_and_is_written_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onhook.control.end.COMMIT_LIMIT_S", 0.02)
    call = await bench.place()
    bench.engine.answer(call.id)
    bench.engine.settles = False
    await bench.recorder.drained()
    bench.store.write_delay = 0.1
    with pytest.raises(StoreError):
        await bench.ending.request_stop(bench.stop_order(call.id))
    assert bench.engine.hangups == [(call.id, API)]
    bench.store.write_delay = 0
    await bench.reconciler.sweep()
    bench.engine.settle(call.id)
    assert (await bench.written(call.id)).cause == API
    assert (await bench.event_types(call.id)).count("call.stop_requested") == 1


def test_a_write_that_is_on_disk_is_no_failure_though_the_event_loop_hears_of_it_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onhook.control.end.COMMIT_LIMIT_S", 0.02)

    async def write() -> str:
        loop, written = asyncio.get_running_loop(), asyncio.Event()

        def hold_up_the_loop() -> None:
            loop.call_soon_threadsafe(written.set)
            time.sleep(0.05)

        loop.call_soon(hold_up_the_loop)
        await written.wait()
        return "on disk"

    assert uvloop.run(in_time(write())) == "on disk"


def test_a_store_has_its_time_though_the_event_loop_was_late_to_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onhook.control.end.COMMIT_LIMIT_S", 0.02)

    async def stop_on_a_busy_loop() -> str:
        stopping = asyncio.create_task(in_time(asyncio.sleep(0.001, "on disk")))
        asyncio.get_running_loop().call_soon(time.sleep, 0.05)
        return await stopping

    assert uvloop.run(stop_on_a_busy_loop()) == "on disk"


async def test_many_stops_take_one_transaction_and_reach_every_leg(bench: Bench) -> None:
    calls = [await bench.place() for _ in range(70)]
    orders = [bench.stop_order(call.id) for call in calls] + [bench.stop_order("call_unknown")]
    results = await bench.ending.end_many(orders)
    assert [result is not None and result.first for result in results] == [True] * 70 + [False]
    assert len(bench.engine.hangups) == 70
    for call in calls:
        assert (await bench.written(call.id)).state is State.ENDED


async def test_a_bulk_stop_silences_its_calls_before_it_writes_and_nobody_elses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, going_on = await bench.place(), await bench.place()
    silent_at_the_write: list[bool] = []
    write = bench.store.request_stops

    async def writing(orders: Sequence[StopOrder]) -> list[Stopped | None]:
        silent_at_the_write.append(bench.engine.legs[stopped.id].muted)
        return await write(orders)

    monkeypatch.setattr(bench.store, "request_stops", writing)
    await bench.ending.end_many([bench.stop_order(stopped.id), bench.stop_order(going_on.id, "b")])
    assert silent_at_the_write == [True]
    assert not bench.engine.legs[going_on.id].muted


async def test_fifty_stops_at_once_have_one_winner_and_one_end(bench: Bench) -> None:
    call = await bench.place()
    orders = [
        StopOrder(call.id, Cause(f"api_key:k{number}", Reason.API_STOP), bench.clock.now_ms()) for number in range(50)
    ]
    results = await asyncio.gather(*(bench.ending.request_stop(order, 1000) for order in orders))
    assert sum(result is not None and result.first for result in results) == 1
    assert (await bench.event_types(call.id)).count("call.ended") == 1
    assert {result.call.cause for result in results if result is not None} == {Cause("api_key:k0", Reason.API_STOP)}


async def test_the_far_ends_bye_wins_when_it_came_first(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.answer(call.id)
    bench.engine.hang_up_far_end(call.id)
    await bench.recorder.drained()
    stopped = await bench.ending.request_stop(bench.stop_order(call.id), wait_ms=1000)
    assert stopped is not None
    assert not stopped.first
    assert stopped.call.cause is not None
    assert stopped.call.cause.reason is Reason.HANGUP
    assert stopped.call.stop is None


async def test_a_late_2xx_after_an_unconfirmed_end_appends_and_moves_nothing(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.settles = False
    await bench.ending.request_stop(bench.stop_order(call.id))
    bench.engine.settle(call.id, confirmed=False)
    ended = await bench.written(call.id)
    bench.clock.advance(40)
    now = bench.clock.now_ms()
    late = Proof(Result.CONFIRMED, Method.BYE, (ProofStep("BYE", 2, True, now, status=200),), confirmed_at=now)
    bench.engine.update_proof(call.id, late)
    after = await bench.written(call.id)
    assert (after.state, after.outcome, after.cause, after.ended_at) == (
        ended.state,
        ended.outcome,
        ended.cause,
        ended.ended_at,
    )
    assert after.answered_on_wire_at == now
    assert after.billable
    assert after.proof == late
    assert (await bench.event_types(call.id)).count("call.ended") == 1


async def test_a_watch_that_the_last_life_left_betters_the_proof_and_ends_nothing_again(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.settles = False
    await bench.ending.request_stop(bench.stop_order(call.id))
    bench.engine.settle(call.id, confirmed=False)
    ended = await bench.written(call.id)
    now = bench.clock.now_ms()
    better = Proof(Result.CONFIRMED, Method.BYE, (ProofStep("BYE", 2, True, now, status=200),), confirmed_at=now)
    for proof in (ended.proof_so_far, better, better):
        bench.on_event(LegEnded(call.id, now, proof, API))
    after = await bench.written(call.id)
    assert (after.proof, after.ended_at) == (better, ended.ended_at)
    assert [kind for kind in await bench.event_types(call.id) if kind in ("call.ended", "proof.updated")] == [
        "call.ended",
        "proof.updated",
    ]


async def test_a_store_that_comes_and_goes_logs_the_audio_of_a_call_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onhook.control.progress.RETRY_S", 0.001)
    call = await bench.place()
    bench.engine.answer(call.id)
    settle, refusals = bench.store.settle, iter([True, True, False])

    async def come_and_go(settlement: Settlement) -> Call | None:
        return await (refuse(settlement) if next(refusals) else settle(settlement))

    monkeypatch.setattr(bench.store, "settle", come_and_go)
    now = bench.clock.now_ms()
    proof = Proof(Result.CONFIRMED, Method.FAR_END_BYE, confirmed_at=now)
    bench.on_event(LegEnded(call.id, now, proof, Cause("callee", Reason.HANGUP), AudioCount(50, 50, now, now)))
    await bench.written(call.id)
    assert (await bench.event_types(call.id))[-2:] == ["call.audio", "call.ended"]
    assert (await bench.event_types(call.id)).count("call.audio") == 1


async def test_carrying_out_a_call_that_is_not_ending_is_refused(bench: Bench) -> None:
    call = await bench.place()
    with pytest.raises(ValueError, match="not ending"):
        await bench.ending.carry_out([call])


async def refuse(_settlement: Settlement) -> None:
    raise StoreError("the disk is full by now")


async def test_a_bulk_stop_hangs_up_before_it_writes_the_end_of_calls_that_were_never_dialled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await bench.place(delay_s=60)
    talking = await bench.place()
    bench.engine.answer(talking.id)
    await bench.recorder.drained()
    bench.engine.settles = False
    monkeypatch.setattr(bench.store, "settle", refuse)
    with pytest.raises(StoreError):
        await bench.ending.end_many([bench.stop_order(waiting.id), bench.stop_order(talking.id)])
    assert bench.engine.hangups == [(talking.id, API)]


@given(st.lists(st.sampled_from(["ring", "answer", "stop", "bye", "busy", "sweep"]), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_order_of_wire_facts_and_stops_gives_one_end_and_one_cause(steps: list[str]) -> None:
    asyncio.run(_any_order(steps))


async def _any_order(steps: list[str]) -> None:
    bench = await Bench().open()
    call = await bench.place()
    frozen: tuple[object, ...] | None = None
    for step in [*steps, "stop"]:
        held = call.id in bench.engine.legs
        bench.clock.advance(0.01)
        match step:
            case "ring" if held:
                bench.engine.ring(call.id)
            case "answer" if held:
                bench.engine.answer(call.id)
            case "bye" if held:
                bench.engine.hang_up_far_end(call.id)
            case "busy" if held:
                bench.engine.reject(call.id, 486)
            case "stop":
                await bench.ending.request_stop(bench.stop_order(call.id), wait_ms=1000)
            case "sweep":
                await bench.reconciler.sweep()
        now = await bench.written(call.id)
        if now.is_over:
            facts = (now.outcome, now.cause, now.ended_at)
            assert frozen in (None, facts)
            frozen = facts
    events = await bench.event_types(call.id)
    assert events.count("call.ended") == 1
    assert [event.seq for event in await bench.store.events(call.id)] == list(range(1, len(events) + 1))
    assert call.id not in bench.live


async def test_the_first_ring_after_a_stop_is_a_fact_of_the_timeline(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.settles = False
    await bench.ending.request_stop(bench.stop_order(call.id))
    bench.engine.ring(call.id)
    after = await bench.written(call.id)
    assert after.state is State.ENDING
    assert after.first_provisional_at is not None
    assert (await bench.event_types(call.id))[-1] == "call.provisional"


def test_of_calls_with_one_sip_call_id_a_stop_means_the_newest_within_its_reach() -> None:
    live = LiveCalls()
    foreign, older, newer = (
        sample_call(environment_id=environment, sip_call_id="chosen@far.test", created_at=created_at)
        for environment, created_at in (("b", 3), ("a", 1), ("a", 2))
    )
    for call in (foreign, older, newer):
        live.add(call)
    order = StopOrder("chosen@far.test", API, 4, environment_id="a", or_sip_call_id=True)
    assert live.find(order) == newer
    assert live.find(msgspec.structs.replace(order, or_sip_call_id=False)) is None
    assert live.find(msgspec.structs.replace(order, environment_id="c")) is None
