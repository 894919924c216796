"""The memory of requests in SQLite. These functions run inside a transaction of the one writer."""

import apsw
import msgspec

from onhook.store import rules
from onhook.store.idempotency import Begun, OnceRequest

SWEEP = 100
"""Expired requests that one new request clears away."""

COLUMNS = tuple(field.name for field in msgspec.structs.fields(OnceRequest))

# The names in these statements are ours; values are always bound.
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM idempotency WHERE scope = ? AND key = ?"  # noqa: S608
_REPLACE = f"INSERT OR REPLACE INTO idempotency ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608


def begin(db: apsw.Connection, request: OnceRequest, *, stale_before: int, afresh: bool) -> Begun:
    """Enter a request, or return the one that stands."""
    db.execute(
        "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency WHERE expires_at <= ? LIMIT ?)",
        (request.begun_at, SWEEP),
    )
    row = db.execute(_SELECT, (request.scope, request.key)).fetchone()
    held = None if row is None or afresh else OnceRequest(*row)
    begun = rules.begun(held, request, stale_before)
    if begun.mine:
        db.execute(_REPLACE, msgspec.structs.astuple(begun.request))
    return begun


def finish(db: apsw.Connection, scope: str, key: str, status: int, answer: str) -> None:
    """Enter the answer of a request."""
    db.execute(
        "UPDATE idempotency SET status = ?, answer = ? WHERE scope = ? AND key = ?", (status, answer, scope, key)
    )


def forget(db: apsw.Connection, scope: str, key: str) -> None:
    """Free a key."""
    db.execute("DELETE FROM idempotency WHERE scope = ? AND key = ?", (scope, key))
