"""Stopping many calls by one order, and the ledger of what became of each.

The order of the steps is what makes it whole. First the dial block, if one is asked for: from then on nothing that it
means begins. Then the calls are chosen, so that what was dialled before is among them. Then the order is written down
with the calls that it means, so that a later life of this process goes on with it. Then all stops are made durable in
one transaction and carried out (`Ending.end_many`). At last it is noted for which calls this stop was the first.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec

from onhook.calls.call import Call, Direction
from onhook.calls.causes import Cause
from onhook.calls.selector import CallSelector, check, check_new
from onhook.calls.states import LIVE, State
from onhook.clock import Clock
from onhook.control.dial_block import BlockOrder, DialBlocks
from onhook.control.end import Ending, in_time
from onhook.store.audit import Act
from onhook.store.records import BulkStop, DialBlock
from onhook.store.store import StopOrder, Stopped, Store, StoreError

logger = logging.getLogger(__name__)

TOGETHER = 1000
"""Stops in one transaction: more of them would take longer than a stop may wait for its commit."""


class BulkOrder(msgspec.Struct, frozen=True):
    """Stop the live calls that `selector` means. `id` makes the order one even when it is given twice.

    With `block_dials` calls that are not dialled yet are held back by a dial block, of `block_id`, and are not stopped:
    scheduled ones stay scheduled until its release, unless the selector's states name them. A `dry_run` only looks.
    """

    id: str
    environment_id: str
    selector: CallSelector
    cause: Cause
    block_id: str
    request_id: str | None = None
    dry_run: bool = False
    block_dials: bool = False


class LedgerLine(msgspec.Struct, frozen=True):
    """What became of one call of a bulk stop.

    `before` is its state when it was chosen. `first` is True when this order was its first stop, and None while no stop
    of it is durable. `call` is the call as it stands, None when it has been deleted since.
    """

    call_id: str
    before: State
    first: bool | None
    call: Call | None

    @property
    def is_open(self) -> bool:
        """True while the wire has not settled the call."""
        return self.call is not None and self.call.state is not State.ENDED


class BulkStopper:
    """Carries out bulk stops, each once."""

    def __init__(self, store: Store, ending: Ending, blocks: DialBlocks, clock: Clock) -> None:
        self._store = store
        self._ending = ending
        self._blocks = blocks
        self._clock = clock
        self._running: dict[str, asyncio.Task[BulkStop]] = {}

    async def stop(self, order: BulkOrder) -> BulkStop:
        """Stop what the order means; when this returns all BYEs are with the network.

        An order of an id that there is already is not carried out again. Whoever waits may be cancelled, the order goes
        on. Raises `SelectorError` when nothing was done, and `StoreError` when something could not be recorded; the
        calls have been ended on the wire nevertheless.
        """
        (check_new if order.block_dials else check)(order.selector)
        task = self._running.get(order.id)
        if task is None:
            task = asyncio.create_task(self._carry_out(order))
            self._running[order.id] = task
            task.add_done_callback(lambda _task: self._running.pop(order.id))
        return await asyncio.shield(task)

    async def promise_what_was_left(self) -> None:
        """Make the stops, and the block, durable that an earlier life of this process did not come to.

        To be called before the legs of that life are ended: they end for these stops then, not for the restart. What
        the store refuses is left to the next start.
        """
        try:
            for bulk in await self._store.unfinished_bulk_stops():
                logger.warning("bulk stop %s of an earlier life is carried out", bulk.id)
                stopped = [one for orders in self._orders(bulk) for one in await self._ending.promise(orders)]
                await in_time(self._block_again(bulk))
                await self._account(bulk, stopped)
        except StoreError:
            logger.exception("bulk stops of an earlier life are not finished; the next start tries again")

    async def ledger(self, bulk: BulkStop) -> list[LedgerLine]:
        """Return how each call of a bulk stop stands now, in the order of their choice. Raises `StoreError`."""
        calls = {call.id: call for call in await self._store.get_calls(bulk.call_ids)}
        return [
            _line(bulk, place, None if call is None or call.deleted_at is not None else call)
            for place, call in enumerate(map(calls.get, bulk.call_ids))
        ]

    async def follow(self, bulk: BulkStop, wait_ms: int) -> AsyncIterator[LedgerLine]:
        """Yield each call's line once its end is settled; after `wait_ms` (ms) the others', as they stand then.

        The lines of a dry run come at once. Raises `StoreError`.
        """
        places = {call_id: place for place, call_id in enumerate(bulk.call_ids)}
        limit = asyncio.get_running_loop().time() + wait_ms / 1000
        with self._ends() as ends:  # Before the ledger is read: what ends after that is told.
            for line in await self.ledger(bulk):
                if bulk.dry_run or not line.is_open:
                    del places[line.call_id]
                    yield line
            while places and (call := await _next(ends, limit)) is not None:
                place = places.pop(call.id, None)
                if place is not None:
                    yield _line(bulk, place, call)
        for line in await self.ledger(bulk) if places else ():
            if line.call_id in places:
                yield line

    async def _carry_out(self, order: BulkOrder) -> BulkStop:
        """Take all steps; a store that refuses one keeps no other from being taken."""
        bulk = await self._store.get(BulkStop, order.id, order.environment_id)
        refusals: list[StoreError] = []
        if bulk is None:
            bulk = await self._begin(order, refusals)
        elif bulk.first is None:
            with _kept(refusals):
                await in_time(self._block_again(bulk))
        if bulk.first is None and not bulk.dry_run:
            stopped: list[Stopped | None] = []
            for orders in self._orders(bulk):
                with _kept(refusals):
                    stopped += await self._ending.end_many(orders)
            if not refusals:
                bulk = await self._account(bulk, stopped)
        if refusals:
            raise StoreError("the bulk stop is not fully recorded; its calls were ended on the wire") from refusals[0]
        return bulk

    async def _begin(self, order: BulkOrder, refusals: list[StoreError]) -> BulkStop:
        """Block, choose, and write the order down."""
        requested_at, blocks = self._clock.now_ms(), order.block_dials and not order.dry_run
        if blocks:
            with _kept(refusals):
                await in_time(self._blocks.put(_block_of(order, order.block_id)))
        meant = await self._store.select_calls(order.environment_id, order.selector, self._clock.now_ms())
        chosen = [call for call in meant if not _left_to_block(call, order)]
        bulk = BulkStop(
            id=order.id,
            environment_id=order.environment_id,
            selector=order.selector,
            cause=order.cause,
            requested_at=requested_at,
            request_id=order.request_id,
            dry_run=order.dry_run,
            dial_block_id=order.block_id if blocks else None,
            call_ids=tuple(call.id for call in chosen),
            states=tuple(call.state for call in chosen),
            held=len(meant) - len(chosen),
        )
        with _kept(refusals):
            await in_time(self._store.put(bulk, None if bulk.dry_run else _act_of(bulk)))
        return bulk

    async def _block_again(self, bulk: BulkStop) -> None:
        """Put the block of an order that is not finished, if the store did not take it. Raises `StoreError`."""
        block_id = bulk.dial_block_id
        if block_id is not None and await self._store.get(DialBlock, block_id, bulk.environment_id) is None:
            await self._blocks.put(_block_of(bulk, block_id))

    async def _account(self, bulk: BulkStop, stopped: Sequence[Stopped | None]) -> BulkStop:
        """Note for which calls this stop was the first; it was that too if an earlier try has made it durable."""
        first = tuple(one is not None and _is_first(bulk, one.call) for one in stopped)
        bulk = msgspec.structs.replace(bulk, first=first)
        await self._store.put(bulk)
        return bulk

    def _orders(self, bulk: BulkStop) -> Iterator[list[StopOrder]]:
        """Yield the stops that a bulk stop stands for, those of one transaction at a time."""
        for start in range(0, len(bulk.call_ids), TOGETHER):
            now = self._clock.now_ms()
            yield [_stop_order(bulk, call_id, now) for call_id in bulk.call_ids[start : start + TOGETHER]]

    @contextlib.contextmanager
    def _ends(self) -> Iterator[asyncio.Queue[Call]]:
        """Yield a queue of the calls whose end is written while the context is open."""
        ends: asyncio.Queue[Call] = asyncio.Queue()
        self._ending.on_end.append(ends.put_nowait)
        try:
            yield ends
        finally:
            self._ending.on_end.remove(ends.put_nowait)


@contextlib.contextmanager
def _kept(refusals: list[StoreError]) -> Iterator[None]:
    """Keep what the store says against a step, and go on."""
    try:
        yield
    except StoreError as error:
        refusals.append(error)


async def _next(ends: asyncio.Queue[Call], limit: float) -> Call | None:
    """Return the next call that ends, or None when time is up."""
    try:
        async with asyncio.timeout_at(limit):
            return await ends.get()
    except TimeoutError:
        return None


def _stop_order(bulk: BulkStop, call_id: str, at: int) -> StopOrder:
    return StopOrder(
        call_id=call_id,
        cause=bulk.cause,
        at=at,
        environment_id=bulk.environment_id,
        request_id=bulk.request_id,
        bulk_id=bulk.id,
    )


def _block_of(order: BulkOrder | BulkStop, block_id: str) -> BlockOrder:
    return BlockOrder(
        id=block_id,
        environment_id=order.environment_id,
        selector=order.selector,
        actor=order.cause.initiator,
        reason=order.cause.text,
        request_id=order.request_id,
        bulk_id=order.id,
    )


def _left_to_block(call: Call, order: BulkOrder) -> bool:
    """Say whether a call waits behind the order's dial block instead of being stopped."""
    waits = call.state is State.SCHEDULED and call.direction is Direction.OUTBOUND
    return order.block_dials and waits and State.SCHEDULED not in order.selector.states


def _line(bulk: BulkStop, place: int, call: Call | None) -> LedgerLine:
    first = bulk.first[place] if bulk.first is not None else None
    if first is None and call is not None and call.state not in LIVE and not bulk.dry_run:
        first = _is_first(bulk, call)
    return LedgerLine(bulk.call_ids[place], bulk.states[place], first, call)


def _is_first(bulk: BulkStop, call: Call) -> bool:
    return call.stop is not None and call.stop.bulk_id == bulk.id


def _act_of(bulk: BulkStop) -> Act:
    return Act(bulk.cause.initiator, bulk.requested_at, bulk.cause.text, bulk.request_id)
