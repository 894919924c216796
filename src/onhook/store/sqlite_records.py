"""Configuration objects in SQLite: one table for all kinds, the object itself as JSON."""

from typing import get_args

import apsw
import msgspec

from onhook.store import audit_rules, sqlite_audit
from onhook.store.audit import Act
from onhook.store.outbox import WebhookEndpoint
from onhook.store.records import BulkStop, DialBlock
from onhook.store.store import Agent, ApiKey, ConflictError, Environment, Number, R, Record, TrunkRecord

KINDS: dict[type[Record], str] = {
    Environment: "environment",
    ApiKey: "api_key",
    TrunkRecord: "trunk",
    Number: "number",
    Agent: "agent",
    WebhookEndpoint: "webhook_endpoint",
    DialBlock: "dial_block",
    BulkStop: "bulk_stop",
}
"""The name of each kind in the table; written into databases, so never changed."""
assert set(KINDS) == set(get_args(Record))  # noqa: S101 - a kind without a name is a slip of ours


def put(db: apsw.Connection, record: Record, by: Act | None = None) -> None:
    """Insert or replace by id. Raises `ConflictError` for a taken number."""
    if by is not None:
        sqlite_audit.add(db, audit_rules.of_put(record, by, is_new=not _exists(db, record)))
    owner = record.id if isinstance(record, Environment) else record.environment_id
    body = msgspec.json.encode(record).decode()
    try:
        db.execute(
            "INSERT INTO records (kind, id, environment_id, created_at, body) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET environment_id = excluded.environment_id,"
            " created_at = excluded.created_at, body = excluded.body",
            (KINDS[type(record)], record.id, owner, record.created_at, body),
        )
    except apsw.ConstraintError as error:
        raise ConflictError(f"{KINDS[type(record)]} {record.id} holds a value that is taken: {error}") from error


def _exists(db: apsw.Connection, record: Record) -> bool:
    key = (KINDS[type(record)], record.id)
    return db.execute("SELECT 1 FROM records WHERE kind = ? AND id = ?", key).fetchone() is not None


def get(db: apsw.Connection, kind: type[R], record_id: str, environment_id: str | None) -> R | None:
    """Return one record within reach, or None."""
    row = db.execute(
        "SELECT body FROM records WHERE kind = ?1 AND id = ?2 AND (?3 IS NULL OR environment_id = ?3)",
        (KINDS[kind], record_id, environment_id),
    ).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=kind)


def find(db: apsw.Connection, kind: type[R], environment_id: str | None) -> list[R]:
    """Return all records of a kind within reach, newest first, ties by id."""
    rows = db.execute(
        "SELECT body FROM records WHERE kind = ?1 AND (?2 IS NULL OR environment_id = ?2) ORDER BY created_at DESC, id",
        (KINDS[kind], environment_id),
    )
    return [msgspec.json.decode(body, type=kind) for (body,) in rows]


def delete(
    db: apsw.Connection, kind: type[R], record_id: str, environment_id: str | None, by: Act | None = None
) -> bool:
    """Delete one record within reach; False when it is not there."""
    record = get(db, kind, record_id, environment_id)
    if record is None:
        return False
    if by is not None:
        sqlite_audit.add(db, audit_rules.of_deletion(record, by))
    db.execute("DELETE FROM records WHERE kind = ? AND id = ?", (KINDS[kind], record_id))
    return True


def key_by_hash(db: apsw.Connection, token_sha256: str) -> ApiKey | None:
    """Return the key of a token that is not revoked, or None."""
    row = db.execute(
        "SELECT body FROM records WHERE kind = 'api_key' AND body ->> 'token_sha256' = ?"
        " AND body ->> 'revoked_at' IS NULL",
        (token_sha256,),
    ).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=ApiKey)


def number_by_value(db: apsw.Connection, environment_id: str, number: str) -> Number | None:
    """Return the record of an E.164 number, or None."""
    row = db.execute(
        "SELECT body FROM records WHERE kind = 'number' AND environment_id = ? AND body ->> 'number' = ?",
        (environment_id, number),
    ).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Number)


def endpoints_for(db: apsw.Connection, environment_id: str, agent_id: str) -> list[WebhookEndpoint]:
    """Return the endpoints that an agent's events may concern, newest first: its own, and those of no agent."""
    rows = db.execute(
        "SELECT body FROM records INDEXED BY webhook_by_agent WHERE kind = 'webhook_endpoint' AND environment_id = ?1"
        " AND coalesce(body ->> 'agent_id', '') IN ('', ?2) ORDER BY created_at DESC, id",
        (environment_id, agent_id),
    )
    return [msgspec.json.decode(body, type=WebhookEndpoint) for (body,) in rows]


def unfinished_bulk_stops(db: apsw.Connection) -> list[BulkStop]:
    """Return the bulk stops, no dry runs, that nobody has finished, oldest first."""
    rows = db.execute(
        "SELECT body FROM records INDEXED BY bulk_stops_unfinished"
        " WHERE kind = 'bulk_stop' AND body ->> 'first' IS NULL AND body ->> 'dry_run' = 0 ORDER BY created_at, id"
    )
    return [msgspec.json.decode(body, type=BulkStop) for (body,) in rows]


def beat(db: apsw.Connection) -> None:
    """Write something small, to see whether the disk takes it."""
    db.execute("UPDATE heartbeat SET count = count + 1")
