"""The sweep, and the settlement of what an earlier life of this process left behind."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from onhook.agents.definition import DefinitionError
from onhook.calls.call import Call
from onhook.calls.causes import MAX_CAUSE_TEXT, Cause, Reason
from onhook.calls.proof import Method, Proof, Result
from onhook.calls.states import State
from onhook.calls.timer import TimerKind
from onhook.clock import Clock
from onhook.control.dial import Dialer
from onhook.control.end import Ending
from onhook.control.live import LiveCalls
from onhook.control.timers import StopTimers, stop_of
from onhook.lines.engine import Engine, LegEnded
from onhook.store.queries import CallFilter, Page
from onhook.store.store import Due, StopOrder, Store, StoreError
from onhook.store.timers import DueTimer

logger = logging.getLogger(__name__)

SWEEP_S = 0.5
SWEPT_AT_ONCE = 500
"""How much of each kind a sweep asks the store for at a time."""
OVERDUE = {State.ANSWERED: Reason.MAX_DURATION, State.SCHEDULED: Reason.REGISTRATION_EXPIRED}
"""What it means that a call's deadline has passed, but for one that rings or is about to."""
RESTARTED = Cause("system", Reason.RESTART)


class Reconciler:
    """Carries out what the rows say is due: dials, deadlines, stops whose bell was lost."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        live: LiveCalls,
        ending: Ending,
        dialer: Dialer,
        timers: StopTimers,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._live = live
        self._ending = ending
        self._dialer = dialer
        self._timers = timers
        self.on_left: Callable[[str], None] = _nobody_asks
        """Told of each call (by its id) that an earlier life has left with a leg, before its end is written."""

    async def run(self) -> None:
        """Sweep every `SWEEP_S` seconds until cancelled; a store that is away is tried again."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except StoreError:
                logger.exception("sweep not finished; the next one tries again")

    async def sweep(self) -> None:
        """Do once all that is due now, what matters on the wire first. Raises `StoreError` after the last step.

        A step that the store refuses keeps no other from being done: with a full disk calls still end.
        """
        now = self._clock.now_ms()
        due = await self._store.due(now, SWEPT_AT_ONCE)
        steps: list[Callable[[], Awaitable[object]]] = [
            self._ending.write_missed_stops,  # Before others: their causes came first.
            lambda: self._fire_timers(due, now),
            lambda: self._end_overdue(due, now),
            lambda: self._ending.carry_out(due.ending),
            lambda: self._dial(due.to_dial),
            self._store.erase_deleted_calls,
        ]
        refused = [error for step in steps if (error := await _refusal_of(step())) is not None]
        if refused:
            raise refused[0]

    async def settle_earlier_life(self) -> int:
        """End every leg that an earlier life of this process left; return how many calls that were.

        Run before the first new call. A call without a snapshot never had an INVITE on the wire. Calls that
        are ended but whose late answer is still watched for come back to the watch. Raises `StoreError`.
        """
        snapshots = await self._store.snapshots()
        left = await self._unsettled_calls()
        sent = [call for call in left if call.id in snapshots]
        unsent = [call for call in left if call.id not in snapshots]
        for call in sent:
            self._live.add(call)
        refused = await _refusal_of(self._stop_all(sent))
        causes = {call.id: call.cause for call in left}
        unreadable = [
            call_id
            for call_id, snapshot in snapshots.items()
            if not self._resume(call_id, snapshot, causes.get(call_id) or RESTARTED)
        ]
        for call in sent:  # Their goodbyes have left; their ends are not written before the event loop turns.
            self.on_left(call.id)
        if refused is not None:
            raise refused
        for call_id in unreadable:
            await self._write_off(call_id, causes.get(call_id) or RESTARTED)
        await self._stop_all(unsent)
        await self._ending.carry_out([call for call in unsent if call.state is State.ENDING])
        return len(left)

    async def _fire_timers(self, due: Due, now: int) -> None:
        """Stop the calls whose timers have come, however many those are after a time away. Raises `StoreError`.

        A call whose deadline came before its timer ends for that.
        """
        while True:
            overdue = [one.call for one in due.timers if _is_overdue_since(one)]
            refused = await _refusal_of(self._timers.fire(one for one in due.timers if not _is_overdue_since(one)))
            await self._end_those_still_overdue(overdue, now)
            if refused is not None:
                raise refused
            if len(due.timers) < SWEPT_AT_ONCE:
                return
            due = await self._store.due(self._clock.now_ms(), SWEPT_AT_ONCE)

    async def _end_overdue(self, due: Due, now: int) -> None:
        """Stop the calls whose deadline has passed, however many those are. Raises `StoreError`."""
        while True:
            await self._end_those_still_overdue(due.overdue, now)
            if len(due.overdue) < SWEPT_AT_ONCE:
                return
            due = await self._store.due(self._clock.now_ms(), SWEPT_AT_ONCE)

    async def _end_those_still_overdue(self, calls: Sequence[Call], now: int) -> None:
        """Stop calls for their deadline; one that was answered since the sweep found it has another by now."""
        held = await self._store.get_calls([call.id for call in calls])
        still = [call for call in held if call.deadline_at is not None and call.deadline_at <= now]
        await self._ending.end_many([_deadline(call, now) for call in still])

    async def _dial(self, calls: Sequence[Call]) -> None:
        for call in calls:
            try:
                await self._dialer.start_scheduled(call)
            except DefinitionError as error:
                logger.warning("call %s is not dialled: %s", call.id, error)
                cause = Cause("system", Reason.AGENT_LOST, text=str(error)[:MAX_CAUSE_TEXT])
                await self._ending.request_stop(StopOrder(call.id, cause, self._clock.now_ms()))

    async def _stop_all(self, calls: Sequence[Call]) -> None:
        """Make the stop of each call durable that has none, in one transaction; one with a farewell ends for that."""
        now = self._clock.now_ms()
        live = [call.id for call in calls if not call.is_over]
        farewells = {
            call_id: timer
            for call_id, timers in (await self._store.timers_of(live)).items()
            for timer in timers
            if timer.kind is TimerKind.FAREWELL
        }
        await self._ending.end_many(
            [
                stop_of(call_id, farewells[call_id], now)
                if call_id in farewells
                else StopOrder(call_id, RESTARTED, now)
                for call_id in live
            ]
        )

    def _resume(self, call_id: str, snapshot: bytes, cause: Cause) -> bool:
        """Have the engine end a leg; False for one that it cannot read, which must not keep the others waiting."""
        try:
            self._engine.resume(call_id, snapshot, cause)
        except ValueError:
            logger.exception("call %s: its snapshot cannot be read; nobody knows what it left on the wire", call_id)
            return False
        return True

    async def _write_off(self, call_id: str, cause: Cause) -> None:
        """Settle a call that nobody can end any more, as unconfirmed. Raises `StoreError`."""
        nothing_known = Proof(Result.UNCONFIRMED, Method.NONE)
        await self._ending.settle(LegEnded(call_id, self._clock.now_ms(), nothing_known, cause))
        await self._store.forget_snapshot(call_id)

    async def _unsettled_calls(self) -> list[Call]:
        """Return every call that may have something on the wire."""
        where = CallFilter(states=(State.DIALING, State.RINGING, State.ANSWERED, State.ENDING))
        left: list[Call] = []
        page = Page(limit=500)
        while found := await self._store.list_calls(where, page):
            left += found
            page = Page(limit=500, after=(found[-1].created_at, found[-1].id))
        return left


def _nobody_asks(_call_id: str) -> None:
    """Stand in for `Reconciler.on_left` where nothing is recorded."""


async def _refusal_of(step: Awaitable[object]) -> StoreError | None:
    """Do one step; return what the store says against it."""
    try:
        await step
    except StoreError as error:
        return error
    return None


def _is_overdue_since(due: DueTimer) -> bool:
    """Say whether a call's deadline had passed when its timer came."""
    return due.call.deadline_at is not None and due.call.deadline_at < due.timer.at


def _deadline(call: Call, now: int) -> StopOrder:
    """The stop that a stored deadline stands for."""
    return StopOrder(call.id, Cause("timer", OVERDUE.get(call.state, Reason.RING_TIMEOUT)), now)
