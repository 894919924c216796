"""Timers of calls in SQLite. What writes runs inside a transaction of the one writer."""

from collections.abc import Sequence

import apsw
import msgspec

from onhook.calls.call import Call
from onhook.calls.states import LIVE
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store import control_rules, rules, sqlite_audit, sqlite_calls
from onhook.store.audit import Act
from onhook.store.rules import Change, Held
from onhook.store.sqlite_calls import Value
from onhook.store.timers import DueTimer, TimerCleared, TimerSet

_SELECT = "SELECT call_id, kind, at, cause, set_at, request_id FROM call_timers"
_OF_CALLS = _SELECT + " WHERE call_id IN (SELECT value FROM json_each(?)) ORDER BY at, kind"  # noqa: S608
_REPLACE = """
    INSERT OR REPLACE INTO call_timers (call_id, kind, at, cause, set_at, request_id) VALUES (?, ?, ?, ?, ?, ?)
"""
# States are literals: SQLite uses a partial index only for a condition it can read.
_OVERDUE = f"""
    SELECT (
        SELECT count(*) FROM calls
        WHERE state IN ({", ".join(f"'{state}'" for state in sorted(LIVE))}) AND deadline_at < ?1
    ) + (
        SELECT count(DISTINCT call_id) FROM call_timers INDEXED BY call_timers_by_moment WHERE at < ?1
        AND NOT EXISTS (SELECT 1 FROM calls WHERE id = call_id AND deadline_at < ?1)
    )
"""  # noqa: S608


def create_call(db: apsw.Connection, call: Call, timer: CallTimer | None, by: Act | None) -> None:
    """Insert a call, with its timer if it is to have one. Raises as `sqlite_calls.create`."""
    sqlite_calls.create(db, call, by)
    if timer is not None:
        put(db, call.id, None, timer, only_answered=False, if_absent=False)


def put(
    db: apsw.Connection,
    call_id: str,
    environment_id: str | None,
    timer: CallTimer,
    *,
    only_answered: bool,
    if_absent: bool,
) -> TimerSet | None:
    """Set a call's timer, unless its state or the flags forbid it; None when there is no such call."""
    held = _visible(db, call_id, environment_id)
    if held is None:
        return None
    present = _of_kind(db, call_id, timer.kind)
    if not control_rules.may_set(held.call, present, only_answered=only_answered, if_absent=if_absent):
        return TimerSet(held.call, present, set=False)
    change = control_rules.timer_set(held, timer)
    return _entered(db, change, timer)


def shorten(
    db: apsw.Connection,
    call_id: str,
    environment_id: str | None,
    kind: TimerKind,
    to: int,
    at: int,
    *,
    actor: str,
    reason: str | None,
    request_id: str | None,
) -> TimerSet | None:
    """Let a call's timer come earlier, if it does; None when there is no such call."""
    held = _visible(db, call_id, environment_id)
    if held is None:
        return None
    present = _of_kind(db, call_id, kind)
    if present is None or not control_rules.may_shorten(held.call, present, to):
        return TimerSet(held.call, present, set=False)
    timer = msgspec.structs.replace(present, at=to)
    return _entered(db, control_rules.timer_moved(held, timer, at, actor, reason, request_id), timer)


def clear(
    db: apsw.Connection,
    call_id: str,
    environment_id: str | None,
    kind: TimerKind,
    at: int,
    *,
    actor: str,
    reason: str | None,
    request_id: str | None,
) -> TimerCleared | None:
    """Take a call's timer back; None when there is no such call."""
    held = _visible(db, call_id, environment_id)
    if held is None:
        return None
    present = _of_kind(db, call_id, kind)
    if present is None:
        return TimerCleared(held.call, None)
    db.execute("DELETE FROM call_timers WHERE call_id = ? AND kind = ?", (call_id, kind))
    change = control_rules.timer_cleared(held, present, at, actor, reason, request_id)
    if change is None:
        return TimerCleared(held.call, present)
    _tell(db, change)
    return TimerCleared(change.held.call, present)


def of_call(db: apsw.Connection, call_id: str) -> list[CallTimer]:
    """Return a call's timers, the earliest first."""
    return [_timer(row) for row in db.execute(f"{_SELECT} WHERE call_id = ? ORDER BY at, kind", (call_id,))]


def of_calls(db: apsw.Connection, call_ids: Sequence[str]) -> dict[str, list[CallTimer]]:
    """Return the timers of many calls by the call's id; calls without any are left out."""
    ids = msgspec.json.encode(call_ids).decode()
    found: dict[str, list[CallTimer]] = {}
    for row in db.execute(_OF_CALLS, (ids,)):
        found.setdefault(str(row[0]), []).append(_timer(row))
    return found


def due(db: apsw.Connection, now: int, limit: int) -> tuple[DueTimer, ...]:
    """Return the timers whose moment has come with their calls, the longest waiting first."""
    rows = db.execute(f"{_SELECT} WHERE at <= ? ORDER BY at, call_id, kind LIMIT ?", (now, limit)).fetchall()
    found = [(sqlite_calls.load(db, str(row[0])), _timer(row)) for row in rows]
    return tuple(DueTimer(held.call, timer) for held, timer in found if held is not None and not held.call.is_over)


def count_overdue(db: apsw.Connection, before: int) -> int:
    """Count the live calls that a deadline or a timer should have stopped before a moment (ms)."""
    return int(db.execute(_OVERDUE, (before,)).get)


def _visible(db: apsw.Connection, call_id: str, environment_id: str | None) -> Held | None:
    held = sqlite_calls.load(db, call_id)
    return held if held is not None and rules.visible(held.call, environment_id) else None


def _of_kind(db: apsw.Connection, call_id: str, kind: TimerKind) -> CallTimer | None:
    return next((timer for timer in of_call(db, call_id) if timer.kind is kind), None)


def _entered(db: apsw.Connection, change: Change, timer: CallTimer) -> TimerSet:
    """Write a timer, in place of the one of its kind, and the change that tells of it."""
    call = change.held.call
    cause = msgspec.json.encode(timer.cause).decode()
    db.execute(_REPLACE, (call.id, timer.kind, timer.at, cause, timer.set_at, timer.request_id))
    _tell(db, change)
    return TimerSet(call, timer, set=True)


def _tell(db: apsw.Connection, change: Change) -> None:
    """Log what happened to a timer, for the call's followers and for the auditors."""
    sqlite_calls.save(db, change)
    if change.event is not None:
        sqlite_audit.add(db, control_rules.audit_of_timer(change.held.call, change.event))


def _timer(row: Sequence[Value]) -> CallTimer:
    _, kind, at, cause, set_at, request_id = row
    values = {"kind": kind, "at": at, "cause": msgspec.json.decode(str(cause)), "set_at": set_at}
    return msgspec.convert({**values, "request_id": request_id}, CallTimer)
