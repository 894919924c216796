"""Bulk stops: the block before the choice, the record before the stops, once per order, whatever fails in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
import pytest_asyncio

from onhook.calls.call import Call
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Result
from onhook.calls.selector import CallSelector, SelectorError
from onhook.calls.states import State
from onhook.control import bulk as bulk_module
from onhook.control import end as end_module
from onhook.control.bulk import BulkOrder, BulkStopper, LedgerLine
from onhook.control.dial_block import DialBlocks
from onhook.control.place import DialingBlockedError
from onhook.store.audit import Act
from onhook.store.records import BulkStop, DialBlock
from onhook.store.store import Record, StopOrder, Stopped, StoreError
from onhook.testing.store import MemoryStore
from tests.unit.control_bench import API, Bench

pytestmark = pytest.mark.unit

ORDER = BulkOrder("bulk_1", "a", CallSelector(all=True), Cause("api_key:k1", Reason.API_STOP, text="enough"), "block_1")
BLOCKING = msgspec.structs.replace(ORDER, block_dials=True)


class NotedStore(MemoryStore):
    """Notes the order of what a bulk stop asks of it; `refuse` names the steps that it refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.refuse: set[str] = set()

    async def put(self, record: Record, by: Act | None = None) -> None:
        if isinstance(record, BulkStop | DialBlock):
            self._step(type(record).__name__ + (" finished" if getattr(record, "first", None) is not None else ""))
        await super().put(record, by)

    async def select_calls(self, environment_id: str | None, selector: CallSelector, now: int) -> list[Call]:
        self._step("select")
        return await super().select_calls(environment_id, selector, now)

    async def request_stops(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        self._step("stop")
        return await super().request_stops(orders)

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.refuse:
            raise StoreError(f"no {name} today")


class BulkBench(Bench):
    """A whole call control with bulk stops."""

    store: NotedStore

    def __init__(self, store: NotedStore) -> None:
        super().__init__(store)
        self.blocks = DialBlocks(self.store, self.clock)
        self.bulk = BulkStopper(self.store, self.ending, self.blocks, self.clock)

    async def talking(self, count: int) -> list[str]:
        """Return the ids of calls that are answered, in the order of their creation."""
        calls = []
        for _ in range(count):
            calls.append(await self.place())
            self.clock.advance(0.001)
        for call in calls:
            self.engine.answer(call.id)
        await self.recorder.drained()
        return [call.id for call in calls]

    def next_life(self) -> "BulkBench":
        """Return what the next process finds: the same store, which is well again, and no leg."""
        self.store.refuse.clear()
        return BulkBench(self.store)

    async def lines(self, bulk: BulkStop, wait_ms: int = 1000) -> list[LedgerLine]:
        await self.recorder.drained()
        return [line async for line in self.bulk.follow(bulk, wait_ms)]


def call_of(line: LedgerLine) -> Call:
    assert line.call is not None
    return line.call


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[BulkBench]:
    built = BulkBench(NotedStore())
    await built.open()
    yield built


async def test_every_call_is_stopped_in_one_transaction_and_accounted_for(bench: BulkBench) -> None:
    talking = await bench.talking(3)
    ringing = (await bench.place()).id
    bench.clock.advance(0.001)
    bench.engine.ring(ringing)
    later = (await bench.place(delay_s=60)).id
    bulk = await bench.bulk.stop(ORDER)
    lines = {line.call_id: line for line in await bench.lines(bulk)}

    assert bench.store.steps == ["select", "BulkStop", "stop", "BulkStop finished"]
    assert list(bulk.call_ids) == [*talking, ringing, later]
    assert bulk.first == (True,) * 5
    assert [lines[one].before for one in bulk.call_ids] == [State.ANSWERED] * 3 + [State.RINGING, State.SCHEDULED]
    methods = [call_of(lines[one]).proof_so_far.method for one in bulk.call_ids]
    assert methods == [Method.BYE] * 3 + [Method.CANCEL, Method.NONE]
    for line in lines.values():
        assert line.first
        assert call_of(line).cause == ORDER.cause
        stop = call_of(line).stop
        assert stop is not None
        assert (stop.bulk_id, stop.result) == ("bulk_1", Result.CONFIRMED)


async def test_the_block_comes_first_and_scheduled_calls_are_left_to_it(bench: BulkBench) -> None:
    (talking,) = await bench.talking(1)
    later = (await bench.place(delay_s=60)).id
    bulk = await bench.bulk.stop(BLOCKING)

    assert bench.store.steps[:3] == ["DialBlock", "select", "BulkStop"]
    assert (bulk.call_ids, bulk.held, bulk.dial_block_id) == ((talking,), 1, "block_1")
    (block,) = await bench.blocks.standing("a")
    assert (block.id, block.bulk_id, block.created_by, block.reason) == ("block_1", "bulk_1", "api_key:k1", "enough")
    bench.clock.advance(61)
    await bench.reconciler.sweep()
    assert (await bench.written(later)).state is State.SCHEDULED
    with pytest.raises(DialingBlockedError):
        await bench.place()


async def test_scheduled_calls_that_the_selector_names_are_stopped_behind_a_block(bench: BulkBench) -> None:
    later = (await bench.place(delay_s=60)).id
    selector = CallSelector(agent_ids=("agent1",), states=(State.SCHEDULED,))
    bulk = await bench.bulk.stop(msgspec.structs.replace(BLOCKING, selector=selector))

    assert (bulk.call_ids, bulk.held) == ((later,), 0)
    assert (await bench.written(later)).state is State.ENDED
    (block,) = await bench.blocks.standing("a")
    assert block.selector == CallSelector(agent_ids=("agent1",))


async def test_a_dry_run_stops_nothing_and_blocks_nothing(bench: BulkBench) -> None:
    (talking,) = await bench.talking(1)
    await bench.place(delay_s=60)
    bulk = await bench.bulk.stop(msgspec.structs.replace(BLOCKING, dry_run=True))

    assert (bulk.call_ids, bulk.held, bulk.first, bulk.dial_block_id) == ((talking,), 1, None, None)
    assert bench.engine.hangups == []
    assert await bench.blocks.standing("a") == []
    assert [(line.first, line.before) for line in await bench.lines(bulk)] == [(None, State.ANSWERED)]


@pytest.mark.parametrize("selector", [CallSelector(), CallSelector(all=True, agent_ids=("x",))])
async def test_a_careless_selector_is_refused_before_anything_is_done(bench: BulkBench, selector: CallSelector) -> None:
    await bench.talking(1)
    with pytest.raises(SelectorError):
        await bench.bulk.stop(msgspec.structs.replace(ORDER, selector=selector))
    assert bench.store.steps == []


async def test_a_block_needs_a_selector_that_says_something_of_new_calls(bench: BulkBench) -> None:
    states = CallSelector(states=(State.RINGING,))
    with pytest.raises(SelectorError):
        await bench.bulk.stop(msgspec.structs.replace(BLOCKING, selector=states))
    with pytest.raises(SelectorError):
        await bench.blocks.put(bulk_module._block_of(msgspec.structs.replace(BLOCKING, selector=states), "block_1"))
    assert bench.store.steps == []


async def test_an_order_that_comes_twice_is_carried_out_once(bench: BulkBench) -> None:
    await bench.talking(2)
    first, second = await asyncio.gather(bench.bulk.stop(ORDER), bench.bulk.stop(ORDER))
    new = await bench.talking(1)
    third = await bench.bulk.stop(ORDER)

    assert first == second == third
    assert bench.store.steps.count("stop") == 1
    assert not (await bench.written(new[0])).is_over


async def test_of_two_orders_at_once_each_call_has_one_that_was_first(bench: BulkBench) -> None:
    await bench.talking(5)
    bulks = await asyncio.gather(
        *(bench.bulk.stop(msgspec.structs.replace(ORDER, id=f"bulk_{number}")) for number in range(3))
    )
    firsts = [bulk.first for bulk in bulks if bulk.first is not None]

    assert len(firsts) == 3
    assert [sum(column) for column in zip(*firsts, strict=True)] == [1] * 5
    assert len(bench.engine.hangups) == 5


async def test_whoever_waits_may_go_away_the_order_goes_on(bench: BulkBench) -> None:
    talking = await bench.talking(2)
    bench.store.write_delay = 0.01
    waiting = asyncio.create_task(bench.bulk.stop(ORDER))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    bulk = await bench.bulk.stop(ORDER)

    assert bulk.first == (True, True)
    assert [call_id for call_id, _ in bench.engine.hangups] == talking
    assert bench.store.steps.count("select") == 1


@pytest.mark.parametrize("step", ["DialBlock", "BulkStop", "stop", "BulkStop finished"])
async def test_what_cannot_be_recorded_is_ended_on_the_wire_and_the_caller_is_told(bench: BulkBench, step: str) -> None:
    talking = await bench.talking(2)
    bench.store.refuse.add(step)
    with pytest.raises(StoreError):
        await bench.bulk.stop(BLOCKING)

    assert [call_id for call_id, _ in bench.engine.hangups] == talking
    for call_id in talking:
        ended = await bench.written(call_id)
        assert (ended.state, ended.cause) == (State.ENDED, ORDER.cause)


async def test_a_store_that_is_too_slow_holds_no_call_on_the_line(
    bench: BulkBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    talking = await bench.talking(2)
    monkeypatch.setattr(end_module, "COMMIT_LIMIT_S", 0.01)
    bench.store.write_delay = 0.2
    with pytest.raises(StoreError):
        await bench.bulk.stop(BLOCKING)

    assert [call_id for call_id, _ in bench.engine.hangups] == talking
    bench.store.write_delay = 0.0
    for call_id in talking:
        assert (await bench.written(call_id)).cause == ORDER.cause


async def test_a_ledger_waits_for_proofs_and_tells_the_rest_as_it_stands(bench: BulkBench) -> None:
    prompt, silent = await bench.talking(2)
    told_of_ends = list(bench.ending.on_end)
    bench.engine.settles = False
    bulk = await bench.bulk.stop(ORDER)
    follower = bench.bulk.follow(bulk, wait_ms=60)
    first_line = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    bench.engine.settle(prompt)
    line = await first_line
    rest = [one async for one in follower]

    assert (line.call_id, line.is_open, line.first) == (prompt, False, True)
    assert [(one.call_id, one.is_open, one.first) for one in rest] == [(silent, True, True)]
    assert bench.ending.on_end == told_of_ends


async def test_a_call_that_ended_by_itself_was_not_stopped_first_by_the_order(bench: BulkBench) -> None:
    gone, stopped_before, stopped_by_it = await bench.talking(3)
    chosen = await bench.store.select_calls("a", ORDER.selector, bench.clock.now_ms())
    bench.engine.hang_up_far_end(gone)
    await bench.recorder.drained()
    await bench.ending.request_stop(bench.stop_order(stopped_before))
    await bench.store.put(left_behind(chosen))
    bulk = await bench.bulk.stop(ORDER)
    lines = {line.call_id: line for line in await bench.lines(bulk)}

    assert bulk.first == (False, False, True)
    assert call_of(lines[gone]).cause == Cause("callee", Reason.HANGUP, q850=16)
    assert call_of(lines[stopped_before]).cause == API
    assert lines[stopped_by_it].first


def left_behind(calls: Sequence[Call]) -> BulkStop:
    """Return the record of a bulk stop whose process died before the stops."""
    return BulkStop(
        ORDER.id,
        "a",
        ORDER.selector,
        ORDER.cause,
        0,
        call_ids=tuple(call.id for call in calls),
        states=tuple(call.state for call in calls),
    )


async def test_the_next_life_makes_durable_what_the_last_one_did_not_come_to(bench: BulkBench) -> None:
    talking = await bench.talking(2)
    later = (await bench.place(delay_s=60)).id
    await bench.store.put(left_behind([await bench.written(one) for one in (*talking, later)]))
    following = bench.next_life()
    await following.bulk.promise_what_was_left()

    for call_id in (*talking, later):
        call = await following.written(call_id)
        assert (call.state, call.cause) == (State.ENDING, ORDER.cause)
    bulk = await following.store.get(BulkStop, ORDER.id, "a")
    assert bulk is not None
    assert bulk.first == (True,) * 3
    await following.reconciler.settle_earlier_life()
    assert (await following.written(later)).state is State.ENDED
    assert [call.cause for call in [await following.written(one) for one in talking]] == [ORDER.cause] * 2
    assert await following.store.unfinished_bulk_stops() == []


async def test_a_stop_that_was_durable_before_the_crash_stays_the_first(bench: BulkBench) -> None:
    await bench.talking(2)
    bench.store.refuse.add("BulkStop finished")
    with pytest.raises(StoreError):
        await bench.bulk.stop(ORDER)
    following = bench.next_life()
    await following.bulk.promise_what_was_left()
    bulk = await following.bulk.stop(ORDER)

    assert bulk.first == (True, True)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_block_that_the_store_refused_stands_before_its_order_is_finished(
    bench: BulkBench, restarted: bool
) -> None:
    await bench.talking(1)
    bench.store.refuse = {"DialBlock"}
    with pytest.raises(StoreError):
        await bench.bulk.stop(BLOCKING)
    again = bench.next_life()
    if restarted:
        await again.bulk.promise_what_was_left()
    bulk = await again.bulk.stop(BLOCKING)
    assert (bulk.dial_block_id, bulk.first) == ("block_1", (True,))
    (block,) = await again.blocks.standing("a")
    assert (block.id, block.bulk_id, block.selector) == ("block_1", "bulk_1", BLOCKING.selector)
    with pytest.raises(DialingBlockedError):
        await again.place()


async def test_a_store_that_is_away_keeps_no_process_from_starting(bench: BulkBench) -> None:
    await bench.store.put(left_behind([await bench.written(one) for one in await bench.talking(1)]))
    following = bench.next_life()
    following.store.refuse.add("stop")
    await following.bulk.promise_what_was_left()
    assert len(await following.store.unfinished_bulk_stops()) == 1


async def test_many_calls_are_stopped_slice_by_slice(bench: BulkBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_module, "TOGETHER", 2)
    talking = await bench.talking(5)
    bulk = await bench.bulk.stop(ORDER)

    assert bench.store.steps.count("stop") == 3
    assert bulk.first == (True,) * 5
    assert [call_id for call_id, _ in bench.engine.hangups] == talking


async def test_a_deleted_call_keeps_its_place_in_the_ledger(bench: BulkBench) -> None:
    kept, deleted = await bench.talking(2)
    bulk = await bench.bulk.stop(ORDER)
    await bench.lines(bulk)
    assert await bench.store.delete_call(deleted, "a", bench.clock.now_ms())

    lines = await bench.bulk.ledger(bulk)
    assert [(line.call_id, line.call is None, line.first) for line in lines] == [
        (kept, False, True),
        (deleted, True, True),
    ]


async def test_a_bulk_stop_is_in_the_audit_log_with_each_of_its_stops(bench: BulkBench) -> None:
    await bench.talking(2)
    await bench.bulk.stop(BLOCKING)
    entries = await bench.store.audit_entries("a")

    assert [entry.action for entry in entries] == ["dial_block.create", "bulk_stop.create", "call.stop", "call.stop"]
    assert {(entry.actor, entry.reason) for entry in entries} == {("api_key:k1", "enough")}
    assert [entry.data.get("bulk_id") for entry in entries[2:]] == ["bulk_1"] * 2
