"""What timers, dial blocks and the audit log do, as pure functions that every store applies (see `rules`)."""

from collections.abc import Iterable

import msgspec

from onhook.calls.call import Call, Direction, Event, EventType
from onhook.calls.selector import matches_new
from onhook.calls.states import LIVE, State
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store.audit import AuditEntry
from onhook.store.records import DialBlock
from onhook.store.rules import Change, Held, changed
from onhook.store.store import StopOrder

EVENT_OF_SETTING = {TimerKind.STOP_AT: EventType.STOP_SCHEDULED, TimerKind.FAREWELL: EventType.FAREWELL_STARTED}
"""What setting a timer is called in the event log, and in the audit log."""
EVENT_OF_CLEARING = {TimerKind.STOP_AT: EventType.STOP_UNSCHEDULED}
"""A farewell's deadline ends with its call; when it is taken back before, nothing has been decided."""


def may_set(call: Call, present: CallTimer | None, *, only_answered: bool, if_absent: bool) -> bool:
    """Say whether a call may be given a timer; `present` is the one of its kind that it has."""
    states = {State.ANSWERED} if only_answered else LIVE
    return call.state in states and not (if_absent and present is not None)


def timer_set(held: Held, timer: CallTimer) -> Change:
    """Return the change that tells of a timer that was set."""
    actor, reason = timer.cause.initiator, timer.cause.text
    return timer_moved(held, timer, timer.set_at, actor, reason, timer.request_id)


def may_shorten(call: Call, present: CallTimer | None, to: int) -> bool:
    """Say whether a call's timer may be let come earlier, at `to`."""
    return call.state in LIVE and present is not None and to < present.at


def timer_moved(
    held: Held, timer: CallTimer, at: int, actor: str, reason: str | None, request_id: str | None
) -> Change:
    """Return the change that tells of a timer and who gave it its moment."""
    data = {"at": timer.at, "actor": actor, "reason": reason, "request_id": request_id}
    return changed(held, at, EVENT_OF_SETTING[timer.kind], data)


def timer_cleared(
    held: Held, timer: CallTimer, at: int, actor: str, reason: str | None, request_id: str | None
) -> Change | None:
    """Return the change that tells of a timer that was taken back; None for a kind that nobody is told of."""
    event = EVENT_OF_CLEARING.get(timer.kind)
    if event is None:
        return None
    return changed(held, at, event, {"at": timer.at, "actor": actor, "reason": reason, "request_id": request_id})


def with_farewell(order: StopOrder, taken: Iterable[TimerKind]) -> StopOrder:
    """Return a stop that says what became of a farewell: one that was promised, and of which nothing is known, is none.

    `taken` are the timers that the stop takes along.
    """
    if order.farewell is None and TimerKind.FAREWELL in taken:
        return msgspec.structs.replace(order, farewell="skipped")
    return order


def blocking(blocks: Iterable[DialBlock], call: Call) -> DialBlock | None:
    """Return the first block that keeps a call's INVITE from leaving; `blocks` are those of its environment."""
    if call.direction is not Direction.OUTBOUND:
        return None
    return next((block for block in blocks if matches_new(block.selector, call)), None)


def audit_of_stop(call: Call, order: StopOrder) -> AuditEntry:
    """Return the audit entry of a stop that was the first; `call` is the call as it was before."""
    data = {"reason": order.cause.reason, "state": call.state, "bulk_id": order.bulk_id, "farewell": order.farewell}
    return AuditEntry(
        environment_id=call.environment_id,
        at=order.at,
        actor=order.cause.initiator,
        action="call.stop",
        target=call.id,
        reason=order.cause.text,
        request_id=order.request_id,
        data={name: value for name, value in data.items() if value is not None},
    )


def audit_of_timer(call: Call, event: Event) -> AuditEntry:
    """Return the audit entry of a timer that was set or taken back, from the event that tells of it."""
    return AuditEntry(
        environment_id=call.environment_id,
        at=event.at,
        actor=event.data["actor"],
        action=event.type.value,
        target=call.id,
        reason=event.data["reason"],
        request_id=event.data["request_id"],
        data={"at": event.data["at"]},
    )
