"""The outbox in SQLite. What writes runs inside a transaction of the one writer."""

from collections.abc import Iterable, Iterator, Mapping

import apsw
import msgspec

from onhook.calls.call import Event
from onhook.store import rules, sqlite_records
from onhook.store.outbox import Attempt, Backlog, Claim, Delivery, DeliveryState, Finished, WebhookEndpoint

SWEEP = 1000
"""Rows that one command skips, purges or replays; bounds how long it holds up other writers."""

COLUMNS = tuple(field.name for field in msgspec.structs.fields(Delivery))
_STORED = COLUMNS[:-1]
"""All but `number`, which the table gives."""
assert COLUMNS[-1] == "number"  # noqa: S101 - the statements below rely on it

# The names in these statements are ours; values are always bound. States are literals: SQLite uses a partial
# index only for a condition it can read.
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM deliveries"  # noqa: S608
_INSERT = f"INSERT INTO deliveries ({', '.join(_STORED)}) VALUES ({', '.join('?' * len(_STORED))})"  # noqa: S608
_FINISH = """
    UPDATE deliveries SET state = ?, next_at = ?, attempt = coalesce(?, attempt), error = ?
    WHERE id = ? AND state = 'inflight' RETURNING endpoint_id
"""
_PUT_BACK = """
    UPDATE deliveries SET state = 'due', next_at = ? WHERE state IN ('due', 'inflight') AND state = 'inflight'
"""
"""The first condition names the index of all that is unfinished."""
_WAITING = """
    WITH RECURSIVE waiting (endpoint_id) AS (
        SELECT min(endpoint_id) FROM deliveries WHERE state = 'due'
        UNION ALL
        SELECT (SELECT min(endpoint_id) FROM deliveries WHERE state = 'due' AND endpoint_id > waiting.endpoint_id)
        FROM waiting WHERE waiting.endpoint_id IS NOT NULL
    )
    SELECT endpoint_id, (
        SELECT min(next_at) FROM deliveries WHERE state = 'due' AND endpoint_id = waiting.endpoint_id
    ) AS first
    FROM waiting WHERE endpoint_id IS NOT NULL AND first <= ? ORDER BY first
"""
"""The endpoints that something is due for, found by leaps through the index rather than by reading all of it."""
_READY = f"""
    {_SELECT} AS mine WHERE state = 'due' AND endpoint_id = ?1 AND next_at <= ?2
    AND (attempt > 0 OR NOT EXISTS (
        SELECT 1 FROM deliveries AS earlier
        WHERE earlier.state IN ('due', 'inflight') AND earlier.endpoint_id = mine.endpoint_id
        AND earlier.call_id = mine.call_id AND earlier.number < mine.number
        AND (earlier.attempt = 0 OR mine.created_at + ?3 > ?2)
    ))
    ORDER BY next_at, number LIMIT ?4
"""  # noqa: S608
"""What an endpoint may be sent now: a first attempt waits for those before it, and for as long as the hold is."""
_PURGE = """
    DELETE FROM deliveries WHERE number IN (
        SELECT number FROM deliveries WHERE state NOT IN ('due', 'inflight') AND number < coalesce(
            (SELECT number FROM deliveries WHERE created_at >= ?1 ORDER BY number LIMIT 1), 1 << 62
        ) ORDER BY number LIMIT ?2
    )
"""
"""Looks through all that is old, for what still waits may be older than any number of rows to purge."""


def add(db: apsw.Connection, deliveries: Iterable[Delivery]) -> None:
    """Insert deliveries, in order."""
    for delivery in deliveries:
        db.execute(_INSERT, [getattr(delivery, name) for name in _STORED])


def add_for(db: apsw.Connection, environment_id: str, agent_id: str, event: Event) -> None:
    """Insert the deliveries of an event that is being logged."""
    endpoints = sqlite_records.endpoints_for(db, environment_id, agent_id)
    if endpoints:
        add(db, rules.queued(agent_id, event, endpoints))


def next_at(db: apsw.Connection) -> int | None:
    """Return the earliest moment at which something is due."""
    row = db.execute("SELECT min(next_at) FROM deliveries WHERE state = 'due'").fetchone()
    return None if row is None or row[0] is None else int(row[0])


def claim(
    db: apsw.Connection, now: int, limit: int, cap: int, free: Mapping[str, int], finished: Iterable[Finished]
) -> list[Claim]:
    """Record what is finished, then take what is due; see the port."""
    for one in finished:
        _finish(db, one)
    claims: list[Claim] = []
    skippable = SWEEP
    for endpoint_id in [str(row[0]) for row in db.execute(_WAITING, (now,))]:
        endpoint = sqlite_records.get(db, WebhookEndpoint, endpoint_id, None)
        if endpoint is None or not endpoint.enabled:
            skippable -= _skip(db, endpoint_id, skippable)
            continue
        room = min(limit - len(claims), free.get(endpoint_id, cap))
        if room > 0:
            claims += [Claim(delivery, endpoint) for delivery in _take(db, endpoint, now, room)]
    return claims


def _take(db: apsw.Connection, endpoint: WebhookEndpoint, now: int, room: int) -> Iterator[Delivery]:
    for row in db.execute(_READY, (endpoint.id, now, endpoint.hold_s * 1000, room)).fetchall():
        delivery = _delivery(row)
        db.execute("UPDATE deliveries SET state = 'inflight' WHERE number = ?", (delivery.number,))
        yield msgspec.structs.replace(delivery, state=DeliveryState.INFLIGHT)


def _skip(db: apsw.Connection, endpoint_id: str, limit: int) -> int:
    db.execute(
        "UPDATE deliveries SET state = 'skipped', error = 'the endpoint is disabled or deleted' WHERE number IN"
        " (SELECT number FROM deliveries WHERE state = 'due' AND endpoint_id = ? LIMIT ?)",
        (endpoint_id, limit),
    )
    return db.changes()


def _finish(db: apsw.Connection, finished: Finished) -> None:
    made = finished.attempt.attempt if finished.attempt is not None else None
    row = db.execute(_FINISH, (finished.state, finished.next_at, made, finished.error, finished.delivery_id)).fetchone()
    if row is None:
        return
    if finished.attempt is not None:
        record(db, finished.attempt)
    if finished.endpoint_status is not None:
        endpoint = sqlite_records.get(db, WebhookEndpoint, str(row[0]), None)
        changed = rules.restated(endpoint, finished) if endpoint is not None else None
        if changed is not None:
            sqlite_records.put(db, changed)


def record(db: apsw.Connection, attempt: Attempt) -> None:
    """Keep an attempt."""
    body = msgspec.json.encode(attempt).decode()
    db.execute(
        "INSERT INTO attempts (id, endpoint_id, environment_id, created_at, body) VALUES (?, ?, ?, ?, ?)",
        (attempt.id, attempt.endpoint_id, attempt.environment_id, attempt.created_at, body),
    )


def put_back(db: apsw.Connection, now: int) -> int:
    """Make every claimed delivery due again."""
    db.execute(_PUT_BACK, (now,))
    return db.changes()


def redeliver(db: apsw.Connection, attempt_id: str, environment_id: str, now: int) -> Delivery | None:
    """Queue a new delivery of what an attempt was about."""
    attempt = get_attempt(db, attempt_id, environment_id)
    if attempt is None:
        return None
    row = db.execute(f"{_SELECT} WHERE id = ?", (attempt.delivery_id,)).fetchone()
    endpoint = sqlite_records.get(db, WebhookEndpoint, attempt.endpoint_id, environment_id)
    if row is None or endpoint is None or not endpoint.enabled:
        return None
    delivery = rules.redelivered(_delivery(row), now)
    add(db, [delivery])
    return delivery


def attempts(db: apsw.Connection, endpoint_id: str, environment_id: str, limit: int, offset: int) -> list[Attempt]:
    """Return an endpoint's attempts, newest first."""
    rows = db.execute(
        "SELECT body FROM attempts WHERE endpoint_id = ? AND environment_id = ? ORDER BY number DESC LIMIT ? OFFSET ?",
        (endpoint_id, environment_id, limit, offset),
    )
    return [msgspec.json.decode(body, type=Attempt) for (body,) in rows]


def count_attempts(db: apsw.Connection, endpoint_id: str, environment_id: str) -> int:
    """Count an endpoint's attempts."""
    sql = "SELECT count(*) FROM attempts WHERE endpoint_id = ? AND environment_id = ?"
    return int(db.execute(sql, (endpoint_id, environment_id)).get)


def get_attempt(db: apsw.Connection, attempt_id: str, environment_id: str) -> Attempt | None:
    """Return one attempt of an environment."""
    sql = "SELECT body FROM attempts WHERE id = ? AND environment_id = ?"
    row = db.execute(sql, (attempt_id, environment_id)).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Attempt)


def purge(db: apsw.Connection, before: int) -> int:
    """Delete some of what is old in both tables, the oldest first."""
    db.execute(
        "DELETE FROM attempts WHERE number IN (SELECT number FROM"
        " (SELECT number, created_at FROM attempts ORDER BY number LIMIT ?) WHERE created_at < ?)",
        (SWEEP, before),
    )
    purged = db.changes()
    db.execute(_PURGE, (before, SWEEP))
    return purged + db.changes()


def backlog(db: apsw.Connection) -> Backlog:
    """Return how much waits."""
    counts: dict[str, int] = {"due": 0, "inflight": 0}
    moments: list[int] = []
    for state, count, oldest in db.execute(
        "SELECT state, count(*), min(created_at) FROM deliveries WHERE state IN ('due', 'inflight') GROUP BY state"
    ):
        counts[state] = count
        moments.append(oldest)
    return Backlog(counts["due"], counts["inflight"], min(moments, default=None))


def _delivery(row: tuple[object, ...]) -> Delivery:
    return msgspec.convert(dict(zip(COLUMNS, row, strict=True)), Delivery)
