"""The audit log in SQLite. What writes runs inside a transaction of the one writer."""

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from onhook.store.audit import AuditEntry, AuditSeal
from onhook.store.store import ConflictError

COLUMNS = ("environment_id", "at", "actor", "action", "target", "reason", "request_id", "data", "seq")
_STORED = COLUMNS[:-1]
"""All but `seq`, which the table gives."""

# The names in these statements are ours; values are always bound.
_INSERT = f"INSERT INTO audit ({', '.join(_STORED)}) VALUES ({', '.join('?' * len(_STORED))})"  # noqa: S608
_AFTER = f"SELECT {', '.join(COLUMNS)} FROM audit WHERE environment_id = ? AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
_SEALS = """
    SELECT environment_id, number, seq, hash FROM audit_seals WHERE environment_id = ? AND number > ?
    ORDER BY number LIMIT ?
"""
_LAST_SEAL = """
    SELECT environment_id, number, seq, hash FROM audit_seals WHERE environment_id = ? ORDER BY number DESC LIMIT 1
"""


def add(db: apsw.Connection, entry: AuditEntry) -> None:
    """Insert an entry."""
    values = [getattr(entry, name) for name in _STORED[:-1]]
    db.execute(_INSERT, (*values, msgspec.json.encode(entry.data).decode()))


def entries(db: apsw.Connection, environment_id: str, after: int, limit: int) -> list[AuditEntry]:
    """Return an environment's entries with `seq` greater than `after`, in order."""
    rows = db.execute(_AFTER, (environment_id, after, limit))
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return [msgspec.convert(entry | {"data": _data(entry["data"])}, AuditEntry) for entry in found]


def unsealed(db: apsw.Connection, environment_id: str, limit: int) -> list[AuditEntry]:
    """Return the entries after the one sealed last, in order."""
    last = last_seal(db, environment_id)
    return entries(db, environment_id, last.seq if last is not None else 0, limit)


def seal(db: apsw.Connection, seals: Iterable[AuditSeal]) -> None:
    """Insert seals. Raises `ConflictError` when a number or an entry is sealed already."""
    try:
        db.executemany(
            "INSERT INTO audit_seals (environment_id, number, seq, hash) VALUES (?, ?, ?, ?)",
            map(msgspec.structs.astuple, seals),
        )
    except apsw.ConstraintError as error:
        raise ConflictError(f"sealed already: {error}") from error


def seals(db: apsw.Connection, environment_id: str, after: int, limit: int) -> list[AuditSeal]:
    """Return an environment's seals with `number` greater than `after`, in order."""
    return [AuditSeal(*row) for row in db.execute(_SEALS, (environment_id, after, limit))]


def last_seal(db: apsw.Connection, environment_id: str) -> AuditSeal | None:
    """Return an environment's newest seal."""
    row = db.execute(_LAST_SEAL, (environment_id,)).fetchone()
    return None if row is None else AuditSeal(*row)


def _data(text: str) -> dict[str, Any]:
    """Return what an entry's `data` holds. Whatever somebody has made of it, the log must stay readable."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"unreadable": text}
