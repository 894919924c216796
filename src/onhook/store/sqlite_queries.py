"""Lists, counts and sweeps over calls in SQLite."""

import itertools
from collections.abc import Iterable, Sequence

import apsw
import msgspec

from onhook.calls.call import Call
from onhook.calls.selector import CallSelector, matches
from onhook.calls.states import LIVE, OVER, State
from onhook.store import control_rules, sqlite_blocks, sqlite_calls, sqlite_timers
from onhook.store.figures import Standing
from onhook.store.queries import MAX_PAGE, CallFilter, Page
from onhook.store.sqlite_calls import SELECT, Value, held_of
from onhook.store.store import Due

START = "coalesce(answered_at, created_at)"
BOUNDS = {
    "created_from": "created_at >= ?",
    "created_to": "created_at < ?",
    "started_from": f"{START} >= ?",
    "started_to": f"{START} <= ?",
}
UNSETTLED = frozenset(State) - {State.ENDED}
_WAITING_TO_DIAL = f"""
    {SELECT} WHERE state = 'scheduled' AND dial_at <= ? AND environment_id NOT IN (SELECT value FROM json_each(?))
    ORDER BY dial_at, id
"""  # noqa: S608 - names of ours, values bound


def list_calls(db: apsw.Connection, where: CallFilter, page: Page) -> list[Call]:
    """Return one page of calls. Raises ValueError for a limit outside 0 to `MAX_PAGE`."""
    if not 0 <= page.limit <= MAX_PAGE:
        raise ValueError(f"a page holds at most {MAX_PAGE} calls")
    by_agent = (
        where.environment_id is not None
        and len(where.agent_ids) == 1
        and not where.ids
        and not page.by_start
        and not _live(where)
    )
    conditions, bindings = _conditions(where, by_agent=by_agent)
    conditions.append("deleted_at IS NULL")
    order, beyond = ("ASC", ">") if page.ascending else ("DESC", "<")
    place = START if page.by_start else "created_at"
    if page.after is not None:
        # The first condition says nothing new: SQLite seeks by it where it cannot by a pair with an expression.
        conditions += [f"{place} {beyond}= ?", f"({place}, id) {beyond} (?, ?)"]
        bindings += [page.after[0], *page.after]
    index = " INDEXED BY calls_by_agent" if by_agent else ""
    sql = f"{SELECT}{index}{_where(conditions)} ORDER BY {place} {order}, id {order} LIMIT ? OFFSET ?"
    return _calls(db.execute(sql, (*bindings, page.limit, page.offset)))


def count_calls(db: apsw.Connection, where: CallFilter) -> int:
    """Count calls: all, less the few that are deleted, for an index alone tells how many there are in all."""
    conditions, bindings = _conditions(where, by_agent=not _live(where))

    def count(table: str, conditions: list[str]) -> int:
        sql = f"SELECT count(*) FROM {table}{_where(conditions)}"  # noqa: S608 - names of ours, values bound
        return int(db.execute(sql, bindings).get)

    deleted = count("calls INDEXED BY calls_deleted", [*conditions, "deleted_at IS NOT NULL"])
    return count("calls", conditions) - deleted


def live_call_counts(db: apsw.Connection) -> dict[State, int]:
    """Count the calls that are not `ended`; every such state has an entry."""
    counts = {state: 0 for state in State if state in UNSETTLED}
    for state, count in db.execute("SELECT state, count(*) FROM calls WHERE state <> 'ended' GROUP BY state"):
        counts[State(state)] = count
    return counts


def standings(db: apsw.Connection) -> list[Standing]:
    """Return every call that may have something on the wire, in no order."""
    sql = """SELECT id, state, iif(state = 'ending', ended_at, updated_at)
        FROM calls WHERE state <> 'ended' AND state <> 'scheduled'"""
    return [Standing(call_id, State(state), since) for call_id, state, since in db.execute(sql)]


def due(db: apsw.Connection, now: int, limit: int) -> Due:
    """Return what waits for a clock at `now`, the longest waiting first."""

    def oldest(moment: str, condition: str, *bindings: int) -> tuple[Call, ...]:
        return tuple(
            _calls(db.execute(f"{SELECT} WHERE {condition} ORDER BY {moment}, id LIMIT ?", (*bindings, limit)))
        )

    return Due(
        to_dial=_to_dial(db, now, limit),
        overdue=oldest("deadline_at", f"state IN ({_literals(LIVE)}) AND deadline_at <= ?", now),
        ending=oldest("ended_at", f"state = '{State.ENDING}'"),
        timers=sqlite_timers.due(db, now, limit),
    )


def select_calls(db: apsw.Connection, environment_id: str | None, selector: CallSelector, now: int) -> list[Call]:
    """Return the live calls that a selector means, oldest first."""
    conditions, bindings = _conditions(CallFilter(environment_id=environment_id, over=False), by_agent=False)
    rows = db.execute(f"{SELECT}{_where(conditions)} ORDER BY created_at, id", bindings)
    return [call for call in _calls(rows) if matches(selector, call, now)]


def calls_by_id(db: apsw.Connection, ids: Sequence[str]) -> list[Call]:
    """Return calls in the order of their ids; leaves out those that are gone."""
    found = [sqlite_calls.load(db, call_id) for call_id in ids]
    return [held.call for held in found if held is not None]


def _to_dial(db: apsw.Connection, now: int, limit: int) -> tuple[Call, ...]:
    """Return the calls to dial now. Those that a block holds back are passed over, and so take nobody's place.

    Where a block means all calls of an environment, none of those is even read.
    """
    blocks = sqlite_blocks.by_environment(db)
    closed = [name for name, standing in blocks.items() if any(block.selector.all for block in standing)]
    rows = db.execute(_WAITING_TO_DIAL, (now, msgspec.json.encode(closed).decode()))
    calls = (held_of(row).call for row in rows)
    free = (call for call in calls if control_rules.blocking(blocks.get(call.environment_id, ()), call) is None)
    return tuple(itertools.islice(free, limit))


def _calls(rows: Iterable[Sequence[Value]]) -> list[Call]:
    return [held_of(row).call for row in rows]


def _live(where: CallFilter) -> bool:
    """Say whether a filter finds none but unsettled calls, which are always few."""
    return where.over is False or bool(where.states and UNSETTLED.issuperset(where.states))


def _conditions(where: CallFilter, *, by_agent: bool) -> tuple[list[str], list[Value]]:
    """Turn a filter into conditions and their bindings.

    States are written as literals: SQLite uses a partial index only for a condition it can read. Unless `by_agent`,
    the sign before the column keeps it from the index of agents, which has no other order than by creation, and in
    which an agent's whole history stands. Where ids are named, it keeps it from all others but theirs.
    """
    conditions: list[str] = []
    bindings: list[Value] = []

    def add(condition: str, *values: Value) -> None:
        conditions.append(condition)
        bindings.extend(values)

    for column in ("environment_id", "direction", "to_number"):
        value = getattr(where, column)
        if value is not None:
            add(f"{'+' if where.ids else ''}{column} = ?", value)
    if where.ids:
        add(f"id IN ({_marks(where.ids)})", *where.ids)
    if where.states:
        add(f"state IN ({_literals(where.states)})")
    if where.over is not None:
        add(f"state {'IN' if where.over else 'NOT IN'} ({_literals(OVER)})")
    if _live(where):
        add("state <> 'ended'")
    if where.outcomes:
        add(f"coalesce(outcome, '') IN ({_marks(where.outcomes)})", *(outcome or "" for outcome in where.outcomes))
    if where.agent_ids:
        add(f"{'' if by_agent else '+'}agent_id IN ({_marks(where.agent_ids)})", *where.agent_ids)
    for bound, condition in BOUNDS.items():
        moment = getattr(where, bound)
        if moment is not None:
            add(condition, moment)
    if where.phone is not None:
        add("? IN (from_number, to_number)", where.phone)
    if where.search is not None:
        columns = ("from_number", "to_number", "id", "sip_call_id")
        add(f"({' OR '.join(f'instr({name}, ?)' for name in columns)})", *[where.search] * len(columns))
    return conditions, bindings


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _literals(states: Iterable[State]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
