"""The event log of all calls in SQLite, read in commit order. There is one writer, so ids have no gap to miss."""

from collections.abc import Sequence

import apsw
import msgspec

from onhook.calls.call import Event
from onhook.store import rules
from onhook.store.outbox import Delivery, Feed, LoggedEvent, Replay, WebhookEndpoint
from onhook.store.sqlite_calls import Value

STRETCH = 5000
"""How many events of the log one read looks through."""

_SELECT = """
    SELECT e.id, e.call_id, e.seq, e.at, e.type, e.data FROM call_events AS e CROSS JOIN calls AS c ON c.id = e.call_id
"""
"""CROSS JOIN fixes the order: the log is walked, and each event's call looked up."""
_VISIBLE = "c.environment_id = ?1 AND c.deleted_at IS NULL"


def after(db: apsw.Connection, environment_id: str, position: int, call_id: str | None, limit: int) -> Feed:
    """Return a stretch of an environment's events, or of one call's."""
    if call_id is not None:
        condition = f"WHERE e.call_id = ?3 AND e.id > ?2 AND {_VISIBLE} ORDER BY e.seq LIMIT ?4"
        rows = db.execute(f"{_SELECT} {condition}", (environment_id, position, call_id, limit)).fetchall()
        return _feed(rows, position)
    last = min(position + STRETCH, end(db))
    condition = f"WHERE e.id > ?2 AND e.id <= ?3 AND {_VISIBLE} ORDER BY e.id LIMIT ?4"
    rows = db.execute(f"{_SELECT} {condition}", (environment_id, position, last, limit)).fetchall()
    return _feed(rows, position if len(rows) == limit else max(position, last))


def end(db: apsw.Connection) -> int:
    """Return the place of the newest event, 0 when there is none."""
    return int(db.execute("SELECT coalesce(max(id), 0) FROM call_events").get)


def span(db: apsw.Connection, replay: Replay) -> tuple[int, int]:
    """Return the first and the last place in the log that a replay may want; (1, 0) when there is none."""
    if replay.call_id is not None:
        row = db.execute("SELECT min(id), max(id) FROM call_events WHERE call_id = ?", (replay.call_id,)).fetchone()
    else:
        values = (replay.since, _until(replay))
        row = db.execute("SELECT min(id), max(id) FROM call_events WHERE at >= ? AND at < ?", values).fetchone()
    return (1, 0) if row is None or row[0] is None else (row[0], row[1])


def replayed(
    db: apsw.Connection, replay: Replay, endpoint: WebhookEndpoint, first: int, last: int
) -> tuple[list[Delivery], int]:
    """Return the deliveries that a replay wants of a stretch of the log, and where the next stretch begins."""
    until = min(last, first + STRETCH - 1)
    sql = (
        f"{_SELECT} WHERE e.id BETWEEN ?1 AND ?2 AND e.at >= ?3 AND e.at < ?4 AND c.environment_id = ?5"
        " AND c.deleted_at IS NULL"
        " AND (?6 IS NULL OR e.call_id = ?6) AND (?7 IS NULL OR c.agent_id = ?7) ORDER BY e.id"
    )
    values = (first, until, replay.since, _until(replay), replay.environment_id, replay.call_id, endpoint.agent_id)
    events = [logged.event for logged in map(_logged, db.execute(sql, values))]
    names = replay.events
    return [one for event in events for one in rules.wanted(endpoint, event, replay.at, names)], until + 1


def _until(replay: Replay) -> int:
    return replay.at + 1 if replay.until is None else replay.until


def _feed(rows: Sequence[Sequence[Value]], position: int) -> Feed:
    events = tuple(map(_logged, rows))
    return Feed(events, max(position, events[-1].id) if events else position)


def _logged(row: Sequence[Value]) -> LoggedEvent:
    number, call_id, seq, at, kind, data = row
    event = {"call_id": call_id, "seq": seq, "at": at, "type": kind, "data": msgspec.json.decode(str(data))}
    return LoggedEvent(int(str(number)), msgspec.convert(event, Event))
