"""The sweep, and the settlement of what an earlier life of this process left behind."""

import asyncio
import logging

from onhook.calls.call import Call
from onhook.calls.causes import Cause, Reason
from onhook.calls.states import State
from onhook.clock import Clock
from onhook.control.dial import Dialer
from onhook.control.end import Ending
from onhook.control.live import LiveCalls
from onhook.lines.engine import Engine
from onhook.store.store import CallFilter, Page, StopOrder, Store, StoreError

logger = logging.getLogger(__name__)

SWEEP_S = 0.5


class Reconciler:
    """Carries out what the rows say is due: dials, deadlines, stops whose bell was lost."""

    def __init__(
        self, store: Store, engine: Engine, clock: Clock, live: LiveCalls, ending: Ending, dialer: Dialer
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._live = live
        self._ending = ending
        self._dialer = dialer

    async def run(self) -> None:
        """Sweep every `SWEEP_S` seconds until cancelled; a store that is away is tried again."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except StoreError:
                logger.exception("sweep not finished; the next one tries again")

    async def sweep(self) -> None:
        """Do once all that is due now. Raises `StoreError`."""
        await self._ending.write_missed_stops()
        now = self._clock.now_ms()
        due = await self._store.due(now)
        for call in due.to_dial:
            await self._dialer.start_scheduled(call)
        for call in due.ending:
            await self._ending.carry_out(call)
        for call in due.overdue:
            await self._ending.request_stop(_deadline(call, now))
        await self._store.erase_deleted_calls()

    async def settle_earlier_life(self) -> int:
        """End every leg that an earlier life of this process left; return how many calls that were.

        Run before the first new call. A call without a snapshot never had an INVITE on the wire. Calls that
        are ended but whose late answer is still watched for come back to the watch. Raises `StoreError`.
        """
        snapshots = await self._store.snapshots()
        left = await self._unsettled_calls()
        for call in left:
            cause = Cause("system", Reason.RESTART) if call.cause is None else call.cause
            if call.id in snapshots:
                self._live.add(call)
            if call.state is not State.ENDING:
                await self._ending.request_stop(StopOrder(call.id, cause, self._clock.now_ms()))
            if call.id in snapshots:
                self._engine.resume(call.id, snapshots.pop(call.id), cause)
            elif call.state is State.ENDING:
                await self._ending.carry_out(call)
        for call_id, snapshot in snapshots.items():
            self._engine.resume(call_id, snapshot, Cause("system", Reason.RESTART))
        return len(left)

    async def _unsettled_calls(self) -> list[Call]:
        """Return every call that may have something on the wire."""
        where = CallFilter(states=(State.DIALING, State.RINGING, State.ANSWERED, State.ENDING))
        left: list[Call] = []
        page = Page(limit=500)
        while found := await self._store.list_calls(where, page):
            left += found
            page = Page(limit=500, after=(found[-1].created_at, found[-1].id))
        return left


def _deadline(call: Call, now: int) -> StopOrder:
    """The stop that a stored deadline stands for."""
    reason = Reason.MAX_DURATION if call.state is State.ANSWERED else Reason.RING_TIMEOUT
    return StopOrder(call.id, Cause("timer", reason), now)
