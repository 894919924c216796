"""Calls in SQLite: each command reads a row, applies its rule, and stores the change.

These functions run inside a transaction of the one writer, so nothing comes between the read and the write.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw
import msgspec

from onhook.calls.call import Call, CallDetails, Dialect, Direction, Event, Stop
from onhook.calls.causes import Cause, Outcome
from onhook.calls.proof import Proof, Result
from onhook.calls.states import State
from onhook.calls.timer import TimerKind
from onhook.store import audit_rules, control_rules, rules, sqlite_audit, sqlite_blocks, sqlite_outbox, sqlite_records
from onhook.store.audit import Act
from onhook.store.outbox import Claim
from onhook.store.rules import Change, Held
from onhook.store.store import (
    Agent,
    Arrival,
    ConflictError,
    DetailsChange,
    DialBlockedError,
    Settlement,
    StopOrder,
    Stopped,
)

Value = int | float | str | bytes | None
"""What a column holds."""

COLUMNS = tuple(field.name for field in msgspec.structs.fields(Call))
JSON_COLUMNS = frozenset({"cause", "stop", "proof", "details"})
MUTABLE = (
    "state",
    "updated_at",
    "deadline_at",
    "dialed_at",
    "first_provisional_at",
    "ringing_at",
    "answered_at",
    "answered_on_wire_at",
    "ended_at",
    "outcome",
    "cause",
    "stop",
    "proof",
)
"""What the life of a call changes; all else is fixed at creation, or has columns of its own below."""

ARRIVAL = (*MUTABLE, "sip_call_id", "trunk_id", "from_number", "to_number")
DETAILS = ("updated_at", "details")
DELETION = ("updated_at", "deleted_at")
ERASED_AT_ONCE = 100
"""Calls that one command erases; bounds how long it holds up other writers."""

_DECODERS: tuple[tuple[int, Callable[[str], Any]], ...] = tuple(
    (COLUMNS.index(name), decode)
    for name, decode in {
        "dialect": {one.value: one for one in Dialect}.__getitem__,
        "direction": {one.value: one for one in Direction}.__getitem__,
        "state": {one.value: one for one in State}.__getitem__,
        "outcome": {one.value: one for one in Outcome}.__getitem__,
        "cause": msgspec.json.Decoder(Cause).decode,
        "stop": msgspec.json.Decoder(Stop).decode,
        "proof": msgspec.json.Decoder(Proof).decode,
        "details": msgspec.json.Decoder(CallDetails).decode,
    }.items()
)
"""How to read each column that is not what it says: its place in `COLUMNS`, and what makes the value of the text."""

# The names in these statements are ours; values are always bound.
SELECT = f"SELECT {', '.join(COLUMNS)}, last_seq FROM calls"  # noqa: S608
_LOAD = f"{SELECT} WHERE id = ?"
_LOAD_BY_SIP_CALL_ID = f"{SELECT} WHERE sip_call_id = ? ORDER BY created_at DESC, id DESC"
_INSERT = f"INSERT INTO calls ({', '.join(COLUMNS)}, last_seq) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"  # noqa: S608
_ERASABLE = """
    SELECT id FROM calls WHERE deleted_at IS NOT NULL AND state = 'ended'
    AND NOT EXISTS (SELECT 1 FROM snapshots WHERE call_id = calls.id)
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE call_id = calls.id AND state IN ('due', 'inflight'))
    AND id <> (SELECT call_id FROM call_events ORDER BY id DESC LIMIT 1)
    ORDER BY deleted_at LIMIT ?
"""
"""The newest event of the log stays: SQLite would give its place to the next one, whose readers are past it."""
_INSERT_EVENT = "INSERT INTO call_events (call_id, seq, at, type, data) VALUES (?, ?, ?, ?, ?)"


def held_of(row: Sequence[Value]) -> Held:
    """Turn a row of `SELECT` into the call it holds. Bulk stops and sweeps do it thousands of times on end."""
    values: list[Any] = list(row)
    seq = values.pop()
    for place, decode in _DECODERS:
        if values[place] is not None:
            values[place] = decode(values[place])
    return Held(Call(*values), seq)


def load(db: apsw.Connection, call_id: str) -> Held | None:
    """Return a call by its id."""
    row = db.execute(_LOAD, (call_id,)).fetchone()
    return None if row is None else held_of(row)


def get(db: apsw.Connection, call_id: str, environment_id: str | None) -> Call | None:
    """Return a call of an environment by its id."""
    held = load(db, call_id)
    return held.call if held is not None and rules.visible(held.call, environment_id) else None


def events(db: apsw.Connection, call_id: str, after: int, limit: int) -> list[Event]:
    """Return a call's events with `seq` greater than `after`, in order."""
    rows = db.execute(
        "SELECT seq, at, type, data FROM call_events WHERE call_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        (call_id, after, limit),
    )
    return [
        msgspec.convert(
            {"call_id": call_id, "seq": seq, "at": at, "type": kind, "data": msgspec.json.decode(data)}, Event
        )
        for seq, at, kind, data in rows
    ]


def told(db: apsw.Connection, claims: Sequence[Claim]) -> list[Claim]:
    """Add to each claimed delivery the call, the event and the agent that it tells of."""
    return [_told(db, claim) for claim in claims]


def _told(db: apsw.Connection, claim: Claim) -> Claim:
    held = load(db, claim.delivery.call_id)
    found = events(db, claim.delivery.call_id, claim.delivery.seq - 1, 1)
    if held is None or not found:
        return claim
    agent = sqlite_records.get(db, Agent, held.call.agent_id, None)
    return claim._replace(call=held.call, event=found[0], agent=agent)


def create(db: apsw.Connection, call: Call, by: Act | None = None) -> None:
    """Insert a call with its first event. Raises `ConflictError` for a taken id, `DialBlockedError`."""
    change = rules.created(call, by)
    try:
        db.execute(_INSERT, (*_values(call, COLUMNS), change.held.seq))
    except apsw.ConstraintError as error:
        raise ConflictError(f"the call {call.id} exists already") from error
    block = sqlite_blocks.blocking(db, call) if call.state is State.DIALING else None
    if block is not None:
        raise DialBlockedError(block.id)
    if by is not None:
        sqlite_audit.add(db, audit_rules.of_call(call, "create", by))
    _log(db, change)


def apply(db: apsw.Connection, call_id: str, rule: Callable[[Held], Change | None]) -> Call | None:
    """Apply a rule to a call; return the call as it stands then, None when unknown."""
    held = load(db, call_id)
    if held is None:
        return None
    change = rule(held)
    return held.call if change is None else save(db, change)


def dial(db: apsw.Connection, call_id: str, at: int, deadline_at: int) -> bool:
    """Move a scheduled call to `dialing`; False when the state no longer allows it, or a dial block does not."""
    held = load(db, call_id)
    change = rules.dialed(held, at, deadline_at) if held is not None else None
    if change is None or sqlite_blocks.blocking(db, change.held.call) is not None:
        return False
    save(db, change)
    return True


def arrive(db: apsw.Connection, arrival: Arrival) -> Call | None:
    """Move a registered call to `ringing`; None when there is no such call, or it waits for nobody."""
    held = load(db, arrival.call_id)
    change = rules.arrived(held, arrival) if held is not None else None
    return save(db, change, ARRIVAL) if change is not None else None


def stop(db: apsw.Connection, order: StopOrder) -> Stopped | None:
    """Stop a call within the order's reach; None when there is none."""
    held = next((held for held in _candidates(db, order) if rules.within_reach(held.call, order)), None)
    if held is None:
        return None
    order = control_rules.with_farewell(order, _forget_timers(db, held.call.id))  # Only live calls have any.
    change = rules.stopped(held, order)
    if change is None:
        return Stopped(held.call, first=False)
    sqlite_audit.add(db, control_rules.audit_of_stop(held.call, order))
    return Stopped(save(db, change), first=True)


def update_details(db: apsw.Connection, change: DetailsChange) -> Call | None:
    """Change a call's details; return the call, None when the environment has none."""
    held = load(db, change.call_id)
    if held is None or not rules.visible(held.call, change.environment_id):
        return None
    return save(db, rules.described(held, change), DETAILS)


def delete(db: apsw.Connection, call_id: str, environment_id: str, at: int, by: Act | None = None) -> bool:
    """Hide a call that is over; False when there is none, or it is live."""
    held = load(db, call_id)
    if held is None or not rules.visible(held.call, environment_id):
        return False
    change = rules.deleted(held, at)
    if change is None:
        return False
    if by is not None:
        sqlite_audit.add(db, audit_rules.of_call(held.call, "delete", by))
    save(db, change, DELETION)
    return True


def erasable(db: apsw.Connection) -> list[str]:
    """Return the ids of deleted calls that nothing needs any more."""
    return [str(row[0]) for row in db.execute(_ERASABLE, (ERASED_AT_ONCE,))]


def erase(db: apsw.Connection, call_ids: Sequence[str]) -> int:
    """Erase calls and their events; return how many."""
    for call_id in call_ids:
        db.execute("DELETE FROM call_events WHERE call_id = ?", (call_id,))
        db.execute("DELETE FROM calls WHERE id = ?", (call_id,))
    return len(call_ids)


def save_snapshot(db: apsw.Connection, call_id: str, snapshot: bytes, *, before_invite: bool) -> bool:
    """Store an engine's snapshot; False when the call is unknown, or may not be dialled (any more, or for now).

    A write that waited while its call was settled, which goes ahead of it, brings no snapshot back.
    """
    row = db.execute("SELECT state, environment_id FROM calls WHERE id = ?", (call_id,)).fetchone()
    if row is None or (before_invite and not _may_be_invited(db, call_id, *row)):
        return False
    if row[0] == State.ENDED:
        db.execute("UPDATE snapshots SET snapshot = ? WHERE call_id = ?", (snapshot, call_id))
        return db.changes() > 0
    db.execute(
        "INSERT INTO snapshots (call_id, snapshot) VALUES (?, ?)"
        " ON CONFLICT (call_id) DO UPDATE SET snapshot = excluded.snapshot",
        (call_id, snapshot),
    )
    return True


def _may_be_invited(db: apsw.Connection, call_id: str, state: str, environment_id: str) -> bool:
    """Say whether an INVITE may leave; the whole call is read only where there are blocks to compare it with."""
    if not rules.may_be_invited(State(state)):
        return False
    blocks = sqlite_blocks.of_environment(db, environment_id)
    held = load(db, call_id) if blocks else None
    return held is None or control_rules.blocking(blocks, held.call) is None


def snapshots(db: apsw.Connection) -> dict[str, bytes]:
    """Return every snapshot by call id."""
    return dict(db.execute("SELECT call_id, snapshot FROM snapshots"))


def settle(db: apsw.Connection, settlement: Settlement) -> Call | None:
    """End a call, and its timers; once its proof is confirmed nobody needs its snapshot."""
    if settlement.proof.result is Result.CONFIRMED:
        forget_snapshot(db, settlement.call_id)
    call = apply(db, settlement.call_id, lambda held: rules.settled(held, settlement))
    if call is not None and call.is_over:
        _forget_timers(db, call.id)
    return call


def forget_snapshot(db: apsw.Connection, call_id: str) -> None:
    """Delete a call's snapshot."""
    db.execute("DELETE FROM snapshots WHERE call_id = ?", (call_id,))


def _forget_timers(db: apsw.Connection, call_id: str) -> list[TimerKind]:
    rows = db.execute("DELETE FROM call_timers WHERE call_id = ? RETURNING kind", (call_id,)).fetchall()
    return [TimerKind(str(kind)) for (kind,) in rows]


def _candidates(db: apsw.Connection, order: StopOrder) -> Iterable[Held]:
    held = load(db, order.call_id)
    if held is not None:
        yield held
    if order.or_sip_call_id:
        # Read whole before any is used: the caller writes to this table.
        for row in db.execute(_LOAD_BY_SIP_CALL_ID, (order.call_id,)).fetchall():
            yield held_of(row)


def save(db: apsw.Connection, change: Change, columns: tuple[str, ...] = MUTABLE) -> Call:
    """Write a change: the call's columns, and its event."""
    call = change.held.call
    db.execute(_update(columns), (*_values(call, columns), change.held.seq, call.id))
    _log(db, change)
    return call


def _log(db: apsw.Connection, change: Change) -> None:
    """Write a change's event, and with it the deliveries to whoever wants it."""
    event = change.event
    if event is not None:
        data = msgspec.json.encode(event.data).decode()
        db.execute(_INSERT_EVENT, (event.call_id, event.seq, event.at, event.type, data))
        call = change.held.call
        sqlite_outbox.add_for(db, call.environment_id, call.agent_id, event)


@functools.cache
def _update(columns: tuple[str, ...]) -> str:
    return f"UPDATE calls SET {', '.join(f'{name} = ?' for name in columns)}, last_seq = ? WHERE id = ?"  # noqa: S608


def _values(call: Call, columns: Iterable[str]) -> list[Value]:
    return [_value(name, getattr(call, name)) for name in columns]


def _value(name: str, value: Value) -> Value:
    if name in JSON_COLUMNS and value is not None:
        return msgspec.json.encode(value).decode()
    return value
