"""The graceful stop: the agent says its farewell, and then the call ends.

It is a promise with a deadline, made durable before the agent is told. Until the farewell is over, or its deadline, the
call stays answered, and a stop that is not graceful ends it at once. Where nobody can say a farewell a graceful stop
is an ordinary one.
"""

import logging
from typing import Protocol

import msgspec

from onhook.calls.call import Call
from onhook.calls.causes import Cause
from onhook.calls.states import State
from onhook.calls.timer import CallTimer, TimerKind
from onhook.clock import Clock
from onhook.control.end import Ending, in_time
from onhook.control.timers import StopTimers
from onhook.store.store import StopOrder, Store, StoreError

logger = logging.getLogger(__name__)


class GracefulOrder(msgspec.Struct, frozen=True):
    """End a call of an environment after its agent has said `text`, or a farewell of its own, in `deadline_ms`."""

    call_id: str
    environment_id: str
    cause: Cause
    at: int
    deadline_ms: int
    text: str | None = None
    request_id: str | None = None


class Talkers(Protocol):
    """The agents on calls, as `onhook.voice.conversations.Conversations` has them."""

    def talks(self, call_id: str) -> bool:
        """Say whether there is an agent on a call that could be asked for a farewell, or is saying one."""
        ...

    def wind_down(
        self, call_id: str, cause: Cause, deadline_ms: int, text: str | None = None, request_id: str | None = None
    ) -> bool:
        """Have a call's agent say `text`, or a farewell of its own, then end the call for `cause`.

        False when there is no agent, or a farewell is under way already, which goes on as it is.
        """
        ...


class GracefulStops:
    """Ends calls politely, and in time."""

    def __init__(self, store: Store, clock: Clock, ending: Ending, timers: StopTimers, talkers: Talkers) -> None:
        self._store = store
        self._clock = clock
        self._ending = ending
        self._timers = timers
        self._talkers = talkers

    async def request(self, order: GracefulOrder, wait_ms: int = 0) -> Call | None:
        """Have a farewell said and the call ended; wait up to `wait_ms` for its proof. None: no such call.

        The call is returned as it stands: answered while the farewell is said, until the deadline in its timer. A
        second graceful stop changes nothing, but may make the first one's deadline an earlier one. Raises `StoreError`
        as `Ending.request_stop` does.
        """
        call = await self._store.get_call(order.call_id, order.environment_id)
        if call is None:
            return None
        if not await self._winding_down(call, order):
            return await self._stop_now(order, wait_ms)
        settled = await self._ending.settled_within(call.id, wait_ms)
        return settled or await self._store.get_call(order.call_id, order.environment_id)

    async def _winding_down(self, call: Call, order: GracefulOrder) -> bool:
        """Promise the end and tell the agent; False where nobody can say a farewell, or nothing can be promised."""
        if call.state is not State.ANSWERED or not self._talkers.talks(call.id):
            return False
        timer = CallTimer(TimerKind.FAREWELL, order.at + order.deadline_ms, order.cause, order.at, order.request_id)
        try:
            found = await in_time(
                self._store.set_timer(call.id, order.environment_id, timer, only_answered=True, if_absent=True)
            )
            if found is not None and not found.set and found.timer_now is not None:
                return await self._hasten(call, order, timer.at)
        except StoreError:
            logger.exception("call %s is ended without a farewell", call.id)
            return False
        if found is None or not found.set:
            return False
        self._timers.watch(call.id, timer)
        cause, request_id = order.cause, order.request_id
        told = self._talkers.wind_down(call.id, cause, order.deadline_ms, order.text, request_id)
        return told or self._talkers.talks(call.id)  # The agent may be saying its farewell already.

    async def _hasten(self, call: Call, order: GracefulOrder, deadline: int) -> bool:
        """Let the farewell that is under way end by `deadline`; False when there is none any more."""
        found = await in_time(
            self._store.shorten_timer(
                call.id,
                order.environment_id,
                TimerKind.FAREWELL,
                deadline,
                order.at,
                actor=order.cause.initiator,
                reason=order.cause.text,
                request_id=order.request_id,
            )
        )
        if found is None or found.timer_now is None:
            return False
        if found.set:
            self._timers.watch(call.id, found.timer_now)
        return True

    async def _stop_now(self, order: GracefulOrder, wait_ms: int) -> Call | None:
        """End the call without a farewell, whatever its state; whoever was first is the one whose stop it is."""
        stopped = await self._ending.request_stop(
            StopOrder(
                order.call_id,
                order.cause,
                self._clock.now_ms(),
                environment_id=order.environment_id,
                request_id=order.request_id,
                farewell="skipped",
            ),
            wait_ms,
        )
        return None if stopped is None else stopped.call
