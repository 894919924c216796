"""The end of calls. Nothing else in onhook ends a call.

Two doors, and no third: `Ending._stop` is the only caller of `Store.request_stops`, which alone writes
`ending`; `Ending.settle` is the only caller of `Store.settle`, which alone writes `ended`. Retries, races,
crashes and restarts all come back to these two.

A stop is first made durable and then carried out. There is one exception, on purpose: when the store
does not confirm the stop within `COMMIT_LIMIT_S`, the call is ended on the wire all the same (a full disk
must not keep a phone line open), the order is kept until the store takes it, and the caller is told that
the record failed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from onhook.calls.call import Call, Farewell
from onhook.calls.causes import Cause
from onhook.calls.proof import Method, Proof, Result
from onhook.calls.states import State
from onhook.clock import Clock
from onhook.control.live import LiveCalls
from onhook.lines.engine import Engine, LegEnded
from onhook.store.store import Settlement, StopOrder, Stopped, Store, StoreError

logger = logging.getLogger(__name__)

T = TypeVar("T")

COMMIT_LIMIT_S = 1.0
SLICE = 128
"""How many BYEs of a bulk stop leave before the event loop may read answers again.

Their answers must fit into a socket's default receive buffer (about 160 messages); each pause costs a turn of
the whole loop, audio of the calls still waiting included."""


class Ending:
    """Stops calls, and settles them."""

    def __init__(self, store: Store, engine: Engine, clock: Clock, live: LiveCalls) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._live = live
        self.on_end: list[Callable[[Call], None]] = []
        """Told of each end that is written, once. They are quick and raise nothing."""
        self.cut_farewell: Callable[[str], Farewell | None] = _nobody_talks
        """Has nobody begin, or go on with, the last words of a call; returns what became of those that were wished."""
        self.log_left: Callable[[str], Awaitable[None]] = _nothing_left
        """Logs what an earlier life has left unlogged of a call (by its id), before its end is. Raises `StoreError`."""
        self._waiters: dict[str, set[asyncio.Future[Call]]] = {}
        self._unwritten: dict[str, StopOrder] = {}
        """Stops carried out on the wire that the store has not confirmed, by call id."""

    async def request_stop(self, order: StopOrder, wait_ms: int = 0) -> Stopped | None:
        """Stop one call now, and wait up to `wait_ms` for its proof. None when there is no such call.

        A call that is over already is returned as it stands. Raises `StoreError` when the stop could not
        be made durable in time; the call has been ended on the wire nevertheless.
        """
        (stopped,) = await self._stop([order])
        if stopped is None or stopped.call.state is State.ENDED:
            return stopped
        settled = await self.settled_within(stopped.call.id, wait_ms)
        return Stopped(settled, stopped.first) if settled is not None else stopped

    async def end_many(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        """Stop many calls: silence at once, one transaction, then every BYE, in slices. Raises as `request_stop` does.

        Nothing is said on a call that is going to end whatever the store says; and the audio of many calls would
        take more of the time until the last BYE than all of the rest.
        """
        for order in orders:
            call = self._live.find(order)
            if call is not None:
                self._engine.mute(call.id)
        return await self._stop(orders) if orders else []

    async def settled_within(self, call_id: str, wait_ms: int) -> Call | None:
        """Wait up to `wait_ms` for the end of a call to be written; None when time runs out first, or there is none."""
        if wait_ms <= 0:
            return None
        waiter: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(call_id, set()).add(waiter)
        try:
            async with asyncio.timeout(wait_ms / 1000):
                # The end may have been written between the stop's commit and this line.
                current = await self._store.get_call(call_id, None)
                return current if current is not None and current.state is State.ENDED else await waiter
        except TimeoutError:
            return None
        finally:
            self._forget(call_id, waiter)

    async def settle(self, ended: LegEnded) -> Call | None:
        """Write the end of a leg with its proof. Repeats are harmless. Raises `StoreError`."""
        await self.log_left(ended.call_id)
        order, now = self._unwritten.get(ended.call_id), self._clock.now_ms()
        call = await self._store.settle(
            Settlement(
                call_id=ended.call_id,
                at=now,
                proof=ended.proof,
                cause=order.cause if order else ended.cause,
                ended_at=order.at if order else ended.at,
            )
        )
        self._unwritten.pop(ended.call_id, None)
        had_leg = self._live.remove(ended.call_id)
        if call is None or call.state is not State.ENDED:  # A registered call that still waits had a leg refused.
            return call
        for waiter in self._waiters.pop(ended.call_id, ()):
            if not waiter.done():
                waiter.set_result(call)
        if had_leg or call.updated_at == now:  # It is this settlement that ended it.
            for tell in self.on_end:
                tell(call)
        return call

    async def carry_out(self, calls: Sequence[Call]) -> None:
        """Do on the wire what the rows of `ending` calls promise, in slices.

        Calls without a leg of ours have nothing on the wire: they are settled after the others have been hung up, with
        that as their proof. Raises `StoreError` when one could not be; the sweep comes back to it.
        """
        unsent = [call for call in calls if call.id not in self._live]
        dialled = [call for call in calls if call.id in self._live]
        for count, call in enumerate(dialled, 1):
            self._engine.hangup(call.id, _cause_of(call))
            if count % SLICE == 0:
                await asyncio.sleep(0)
        for start in range(0, len(unsent), SLICE):
            await asyncio.gather(*map(self._settle_unsent, unsent[start : start + SLICE]))

    async def promise(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        """Make stops durable, no more: for the start of a process, which carries out what is durable.

        Raises `StoreError`; nothing has been ended then.
        """
        return await self._commit(orders)

    @property
    def unrecorded(self) -> int:
        """How many stops were carried out on the wire and are not durable yet."""
        return len(self._unwritten)

    async def write_missed_stops(self) -> None:
        """Offer the store again what it did not confirm. Raises `StoreError`."""
        missed = dict(self._unwritten)
        if missed:
            await self._commit(list(missed.values()))
        for call_id in missed:
            self._unwritten.pop(call_id, None)

    async def _stop(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        """Make the stops durable, then carry out each one that won."""
        orders = [self._with_last_words(order) for order in orders]
        try:
            found = await self._commit(orders)
        except StoreError as error:
            self._end_without_record(orders)
            raise StoreError("the stop could not be recorded; the call was ended on the wire") from error
        await self.carry_out([stopped.call for stopped in found if stopped is not None and stopped.first])
        return found

    async def _settle_unsent(self, call: Call) -> None:
        current = await self._store.get_call(call.id, None)
        if current is None or current.state is State.ENDED:  # Its leg was settled since the sweep found it.
            return
        now = self._clock.now_ms()
        nothing_left = Proof(Result.CONFIRMED, Method.NONE, confirmed_at=now)
        await self.settle(LegEnded(call.id, now, nothing_left, _cause_of(call)))

    def _with_last_words(self, order: StopOrder) -> StopOrder:
        """Cut short what is being said at the end of a call, and have its stop tell what became of that."""
        call = self._live.find(order)
        farewell = None if call is None else self.cut_farewell(call.id)
        if call is None or farewell is None:
            return order
        self._engine.mute(call.id)  # Not a word more is heard than is told of.
        return msgspec.structs.replace(order, farewell=farewell)

    async def _commit(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        """Make stops durable. Raises `StoreError` when the store refuses, or does not answer in `COMMIT_LIMIT_S`."""
        return await in_time(self._store.request_stops(orders))

    def _end_without_record(self, orders: Sequence[StopOrder]) -> None:
        """Hang up what the stops mean, by our own directory, and keep the orders for the store."""
        for order in orders:
            call = self._live.find(order)
            if call is None:
                continue
            if call.id not in self._unwritten:
                logger.error("stop of call %s not recorded, ended on the wire: %s", call.id, order.cause)
                self._unwritten[call.id] = order
            self._engine.hangup(call.id, order.cause)

    def _forget(self, call_id: str, waiter: asyncio.Future[Call]) -> None:
        waiters = self._waiters.get(call_id)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[call_id]


async def in_time(write: Coroutine[Any, Any, T]) -> T:
    """Wait `COMMIT_LIMIT_S` for a write; a slower one goes on by itself, as good as refused. Raises `StoreError`.

    It is the store's time that counts, not an event loop's lateness: a turn of a busy one may take longer than that.
    """
    commit = asyncio.create_task(write)
    await asyncio.sleep(0)  # Only now the store has it.
    await asyncio.wait((commit,), timeout=COMMIT_LIMIT_S)
    if not commit.done():
        await asyncio.sleep(0)  # A late loop looks at its clock first, then at the answer that lay there.
    if not commit.done():
        commit.add_done_callback(_taken_note_of)
        raise StoreError(f"the store took longer than {COMMIT_LIMIT_S} s")
    return commit.result()


def _nobody_talks(_call_id: str) -> None:
    """Stand in for `Ending.cut_farewell` where there are no agents."""


async def _nothing_left(_call_id: str) -> None:
    """Stand in for `Ending.log_left` where nothing is recorded."""


def _cause_of(call: Call) -> Cause:
    if call.cause is None:
        raise ValueError(f"call {call.id} is {call.state}, not ending")
    return call.cause


def _taken_note_of(commit: asyncio.Task[Any]) -> None:
    """Retrieve the result of a commit that came too late, so that its error is not reported as lost."""
    with contextlib.suppress(asyncio.CancelledError):
        commit.exception()
