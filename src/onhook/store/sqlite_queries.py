"""Lists, counts and sweeps over calls in SQLite."""

from collections.abc import Iterable, Sequence

import apsw

from onhook.calls.call import Call
from onhook.calls.states import LIVE, OVER, State
from onhook.store.sqlite_calls import SELECT, Value, held_of
from onhook.store.store import MAX_PAGE, CallFilter, Due, Page

START = "coalesce(answered_at, created_at)"
BOUNDS = {
    "created_from": "created_at >= ?",
    "created_to": "created_at < ?",
    "started_from": f"{START} >= ?",
    "started_to": f"{START} <= ?",
}
UNSETTLED = frozenset(State) - {State.ENDED}


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


def due(db: apsw.Connection, now: int, limit: int) -> Due:
    """Return what waits for a clock at `now`, the longest waiting first."""

    def oldest(moment: str, condition: str, *bindings: int) -> tuple[Call, ...]:
        return tuple(
            _calls(db.execute(f"{SELECT} WHERE {condition} ORDER BY {moment}, id LIMIT ?", (*bindings, limit)))
        )

    return Due(
        to_dial=oldest("dial_at", f"state = '{State.SCHEDULED}' AND dial_at <= ?", now),
        overdue=oldest("deadline_at", f"state IN ({_literals(LIVE)}) AND deadline_at <= ?", now),
        ending=oldest("ended_at", f"state = '{State.ENDING}'"),
    )


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
