"""A node that is full, or late, takes no new call in any way, loses none, and takes calls again when there is room."""

import asyncio

import pytest

from onhook.calls.call import Dialect
from onhook.calls.states import State
from onhook.control.place import NoCapacityError, PlaceOrder
from onhook.store.queries import CallFilter
from onhook.store.store import StoreError
from tests.unit.control_bench import Bench
from tests.unit.inbound_bench import InboundBench

pytestmark = pytest.mark.unit


async def test_a_full_node_places_no_call_and_writes_none() -> None:
    bench = await Bench(max_calls=2).open()
    await bench.place()
    await bench.place()
    with pytest.raises(NoCapacityError, match="no more than 2 calls at once"):
        await bench.place()
    assert await bench.store.count_calls(CallFilter()) == 2
    assert len(bench.engine.legs) == 2
    assert bench.capacity.refused == {"full": 1}


async def test_calls_that_come_together_get_no_seat_twice() -> None:
    bench = await Bench(max_calls=3).open()
    bench.store.write_delay = 0.01
    found = await asyncio.gather(*(bench.place() for _ in range(8)), return_exceptions=True)
    assert [type(one) for one in found if isinstance(one, Exception)] == [NoCapacityError] * 5
    assert len(bench.live) == 3


async def test_a_call_that_is_ending_holds_its_seat_until_its_end_is_written() -> None:
    bench = await Bench(max_calls=1).open()
    call = await bench.place()
    bench.engine.answer(call.id)
    bench.engine.settles = False
    await bench.recorder.drained()
    await bench.ending.request_stop(bench.stop_order(call.id))
    with pytest.raises(NoCapacityError):
        await bench.place()
    bench.engine.settle(call.id)
    await bench.recorder.drained()
    assert (await bench.place()).state is State.DIALING


async def test_a_call_that_could_not_be_written_leaves_its_seat() -> None:
    bench = await Bench(max_calls=1).open()
    bench.store.fail_writes = True
    with pytest.raises(StoreError):
        await bench.place()
    bench.store.fail_writes = False
    await bench.place()
    assert len(bench.live) == 1


async def test_a_call_for_later_is_taken_by_a_full_node_and_dialled_once_there_is_room() -> None:
    bench = await Bench(max_calls=1).open()
    first = await bench.place()
    later = await bench.place(delay_s=1)
    bench.clock.advance(2)
    await bench.reconciler.sweep()
    assert (await bench.written(later.id)).state is State.SCHEDULED
    await bench.ending.request_stop(bench.stop_order(first.id))
    await bench.recorder.drained()
    await bench.reconciler.sweep()
    assert (await bench.written(later.id)).state is State.DIALING
    assert bench.capacity.refused == {}


async def test_a_check_says_what_placing_would_say() -> None:
    bench = await Bench(max_calls=1).open()
    order = PlaceOrder("a", Dialect.NATIVE, "+12025550199", agent_id="agent1")
    await bench.placer.check(order)
    await bench.place()
    with pytest.raises(NoCapacityError):
        await bench.placer.check(order)


async def test_a_late_node_takes_no_more_calls_and_no_limit_is_needed_for_that() -> None:
    bench = await Bench().open()
    await bench.place()
    bench.late = True
    with pytest.raises(NoCapacityError, match="overloaded"):
        await bench.place()
    bench.late = False
    await bench.place()
    assert bench.capacity.refused == {"late": 1}


async def test_a_caller_is_answered_503_by_a_full_node_and_no_call_is_made_of_it() -> None:
    bench = await InboundBench(max_calls=1).open()
    await bench.call_in()
    assert await bench.refused() == 503
    assert len(await bench.calls()) == 1
    assert bench.capacity.refused == {"full": 1}


async def test_callers_that_come_together_get_no_seat_twice() -> None:
    bench = await InboundBench(max_calls=1).open()
    for _ in range(3):
        bench.engine.call_in("+12025550177", "+12025550100")
    await bench.inbound.decided()
    assert [status for _, status in bench.engine.refusals] == [503, 503]
    assert len(bench.live) == 1
