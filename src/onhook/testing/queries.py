"""Which calls a `MemoryStore` finds, and in which order."""

from collections.abc import Iterable

from onhook.calls.call import Call
from onhook.calls.states import OVER
from onhook.store.queries import CallFilter


def place(call: Call) -> tuple[int, str]:
    """Return where a call stands in a list."""
    return call.created_at, call.id


def start(call: Call) -> tuple[int, str]:
    """Return where a call stands in a list by start."""
    return call.created_at if call.answered_at is None else call.answered_at, call.id


def oldest(calls: Iterable[tuple[int | None, Call]], now: int | None, limit: int) -> tuple[Call, ...]:
    """Return the calls whose moment has come, the longest waiting first."""
    waiting = [(moment, call) for moment, call in calls if moment is not None and (now is None or moment <= now)]
    return tuple(call for _, call in sorted(waiting, key=lambda pair: (pair[0], pair[1].id))[:limit])


def matches(call: Call, where: CallFilter) -> bool:
    """Say whether a filter lets a call through."""
    searched = (call.from_number, call.to_number, call.id, call.sip_call_id)
    return (
        call.deleted_at is None
        and where.environment_id in (None, call.environment_id)
        and (not where.ids or call.id in where.ids)
        and (not where.states or call.state in where.states)
        and (not where.outcomes or call.outcome in where.outcomes)
        and (not where.agent_ids or call.agent_id in where.agent_ids)
        and where.direction in (None, call.direction)
        and (where.created_from is None or call.created_at >= where.created_from)
        and (where.created_to is None or call.created_at < where.created_to)
        and (where.started_from is None or start(call)[0] >= where.started_from)
        and (where.started_to is None or start(call)[0] <= where.started_to)
        and (where.search is None or any(where.search in text for text in searched))
        and where.to_number in (None, call.to_number)
        and where.phone in (None, call.from_number, call.to_number)
        and where.over in (None, call.state in OVER)
    )
