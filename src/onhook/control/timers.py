"""Stops at a later moment: set, taken back, and fired.

A timer is a row, and the sweep of any process fires what is due (`control.reconcile`). The process that set one has an
alarm for it besides, so that it fires to the millisecond. Whoever comes first wins, as with any stop.
"""

import asyncio
import logging
from collections.abc import Iterable
from weakref import WeakValueDictionary

import msgspec

from onhook.calls.call import Call
from onhook.calls.causes import REGISTRY, Cause, Reason
from onhook.calls.timer import CallTimer, TimerKind
from onhook.clock import Clock, Timer
from onhook.control.end import Ending
from onhook.store.store import StopOrder, Store, StoreError
from onhook.store.timers import DueTimer, TimerCleared, TimerSet

logger = logging.getLogger(__name__)


class StopTimers:
    """Sets the timers of calls, takes them back and fires them; of one call, one thing at a time."""

    def __init__(self, store: Store, clock: Clock, ending: Ending) -> None:
        self._store = store
        self._clock = clock
        self._ending = ending
        self._alarms: dict[tuple[str, TimerKind], Timer] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Of the calls whose timers are being changed or fired: what was taken back does not fire a moment later."""
        self._tasks: set[asyncio.Task[None]] = set()
        ending.on_end.append(self._forget)

    async def schedule(self, call_id: str, environment_id: str, timer: CallTimer) -> TimerSet | None:
        """Set a call's timer, instead of the one of its kind; None when there is no such call.

        A timer whose moment has passed ends the call before this returns. A call that is over gets none. Raises
        `StoreError`.
        """
        async with self._lock(call_id):
            found = await self._store.set_timer(call_id, environment_id, timer)
            if found is not None and found.set:
                if timer.at > self._clock.now_ms():
                    self.watch(call_id, timer)
                else:
                    await self._ending.request_stop(stop_of(call_id, timer, self._clock.now_ms()))
            return found

    async def unschedule(
        self, call_id: str, environment_id: str, actor: str, text: str | None, request_id: str | None
    ) -> TimerCleared | None:
        """Take back the stop that is scheduled for a call; None when there is no such call. Raises `StoreError`."""
        async with self._lock(call_id):
            cleared = await self._store.clear_timer(
                call_id,
                environment_id,
                TimerKind.STOP_AT,
                self._clock.now_ms(),
                actor=actor,
                reason=text,
                request_id=request_id,
            )
            if cleared is not None:
                self._drop(call_id, TimerKind.STOP_AT)
            return cleared

    def watch(self, call_id: str, timer: CallTimer) -> None:
        """Have an alarm for a timer that is set."""
        self._drop(call_id, timer.kind)
        delay_s = max(0, timer.at - self._clock.now_ms()) / 1000
        self._alarms[call_id, timer.kind] = self._clock.call_later(delay_s, lambda: self._ring(call_id, timer.kind))

    async def fire(self, due: Iterable[DueTimer]) -> None:
        """Stop the calls whose timers have come. Raises `StoreError` after the last of them."""
        fired = await asyncio.gather(*(self._fire(call.id, timer.kind) for call, timer in due), return_exceptions=True)
        for error in fired:
            if error is not None:
                raise error

    async def rung(self) -> None:
        """Wait until every alarm that has gone off is seen to."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _ring(self, call_id: str, kind: TimerKind) -> None:
        del self._alarms[call_id, kind]
        task = asyncio.get_running_loop().create_task(self._answer_alarm(call_id, kind))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_alarm(self, call_id: str, kind: TimerKind) -> None:
        try:
            await self._fire(call_id, kind)
        except StoreError:
            logger.exception("the timer of call %s is left to the sweep, or its stop to be recorded later", call_id)

    async def _fire(self, call_id: str, kind: TimerKind) -> None:
        """Stop a call if its timer still stands and is due; the wall clock decides, and may have been set back."""
        async with self._lock(call_id):
            timer = next((one for one in await self._store.timers(call_id) if one.kind is kind), None)
            now = self._clock.now_ms()
            if timer is not None and timer.at > now:
                self.watch(call_id, timer)
            elif timer is not None:
                await self._ending.request_stop(stop_of(call_id, timer, now))

    def _lock(self, call_id: str) -> asyncio.Lock:
        return self._locks.setdefault(call_id, asyncio.Lock())

    def _drop(self, call_id: str, kind: TimerKind) -> None:
        alarm = self._alarms.pop((call_id, kind), None)
        if alarm is not None:
            alarm.cancel()

    def _forget(self, call: Call) -> None:
        for kind in TimerKind:
            self._drop(call.id, kind)


def stop_at(at: int, actor: str, text: str | None, now: int, request_id: str | None) -> CallTimer:
    """Return the timer of a stop that `actor`, an initiator, schedules for the moment `at` (ms)."""
    reason = Reason.SCHEDULED_STOP
    cause = Cause(actor, reason, q850=REGISTRY[reason].q850, text=text)
    return CallTimer(TimerKind.STOP_AT, at, cause, now, request_id)


def stop_of(call_id: str, timer: CallTimer, now: int) -> StopOrder:
    """Return the stop that a timer stands for.

    A scheduled stop is the clock's doing; who scheduled it is in the call's log. A farewell whose deadline comes is cut
    off, as far as nobody here knows better.
    """
    if timer.kind is TimerKind.STOP_AT:
        cause = msgspec.structs.replace(timer.cause, initiator="timer")
        return StopOrder(call_id, cause, now, request_id=timer.request_id)
    return StopOrder(call_id, timer.cause, now, request_id=timer.request_id, farewell="truncated")
