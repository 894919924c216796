"""The typed filters of list-calls: their shapes, what they match, and what of them the store can narrow.

Every shape of the contract is validated. A filter on a fact that onhook does not record (sentiment, cost, ...)
finds the fact absent on every call, so only `ne` and `np` match.
"""

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from onhook.api.anunzi.mapping import STATUS_BY_STATE, duration_ms_of, end_of, status_of
from onhook.api.anunzi.transcripts import analysis
from onhook.api.schema import Schema
from onhook.calls.call import Call, Direction
from onhook.calls.states import OVER, State
from onhook.store.queries import CallFilter

FAR = 2**60
"""Beyond every time there is, and still a number that a database takes."""


class _Strict(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)


class StringFilter(_Strict):
    """Compares text; `sw`, `ew` and `co` are starts with, ends with and contains."""

    type: Literal["string"]
    op: Literal["eq", "ne", "sw", "ew", "co"]
    value: str


class NumberFilter(_Strict):
    """Compares a number."""

    type: Literal["number"]
    op: Literal["eq", "ne", "gt", "ge", "lt", "le"]
    value: float


class RangeFilter(_Strict):
    """Between two numbers, both included."""

    type: Literal["range"]
    op: Literal["bt"]
    value: Annotated[list[float], Field(min_length=2, max_length=2)]


class EnumFilter(_Strict):
    """One of several values."""

    type: Literal["enum"]
    op: Literal["in"]
    value: list[str]


class BooleanFilter(_Strict):
    """Yes or no."""

    type: Literal["boolean"]
    op: Literal["eq"]
    value: bool


class PresentFilter(_Strict):
    """Present or not."""

    type: Literal["present"]
    op: Literal["pr", "np"]


class CallStatusFilter(EnumFilter):
    """One of several statuses; `registered` is accepted on top of Retell's."""

    value: list[Literal["registered", "ongoing", "ended", "not_connected", "error"]]  # type: ignore[assignment]


class DirectionFilter(EnumFilter):
    """Inbound, outbound, or both."""

    value: list[Literal["inbound", "outbound"]]  # type: ignore[assignment]


class CallTypeFilter(EnumFilter):
    """Phone calls, web calls, or both."""

    value: list[Literal["phone_call", "web_call"]]  # type: ignore[assignment]


Condition = StringFilter | NumberFilter | RangeFilter | EnumFilter | BooleanFilter | PresentFilter
StringOrEnum = Annotated[StringFilter | EnumFilter, Field(discriminator="type")]
NumberOrRange = Annotated[NumberFilter | RangeFilter, Field(discriminator="type")]


class AgentFilter(_Strict):
    """Calls of one agent, in any or in some versions."""

    agent_id: str
    version: list[int] | None = None


class KeyedString(StringFilter):
    """A string filter on one key of an object."""

    key: str


class KeyedNumber(NumberFilter):
    """A number filter on one key of an object."""

    key: str


class KeyedRange(RangeFilter):
    """A range filter on one key of an object."""

    key: str


class KeyedEnum(EnumFilter):
    """An enum filter on one key of an object."""

    key: str


class KeyedBoolean(BooleanFilter):
    """A boolean filter on one key of an object."""

    key: str


class KeyedPresent(PresentFilter):
    """A presence filter on one key of an object."""

    key: str


KeyedFilter = Annotated[
    KeyedString | KeyedNumber | KeyedRange | KeyedEnum | KeyedBoolean | KeyedPresent, Field(discriminator="type")
]


class ToolCallFilter(_Strict):
    """Calls in which a tool was used so."""

    name: str | None = None
    type: str | None = None
    latency_ms: NumberOrRange | None = None
    success: BooleanFilter | None = None


class FilterCriteria(_Strict):
    """All conditions hold together."""

    agent: list[AgentFilter] | None = None
    call_id: StringOrEnum | None = None
    batch_call_id: StringOrEnum | None = None
    from_number: StringOrEnum | None = None
    to_number: StringOrEnum | None = None
    call_status: CallStatusFilter | None = None
    call_type: CallTypeFilter | None = None
    direction: DirectionFilter | None = None
    disconnection_reason: EnumFilter | None = None
    user_sentiment: EnumFilter | None = None
    data_storage_setting: EnumFilter | None = None
    agent_tag: EnumFilter | None = None
    call_successful: BooleanFilter | None = None
    in_voicemail: BooleanFilter | None = None
    start_timestamp: NumberOrRange | None = None
    end_timestamp: NumberOrRange | None = None
    duration_ms: NumberOrRange | None = None
    combined_cost: NumberOrRange | None = None
    e2e_latency_p50: NumberOrRange | None = None
    metadata: list[KeyedFilter] | None = None
    dynamic_variables: list[KeyedFilter] | None = None
    custom_attributes: list[KeyedFilter] | None = None
    custom_analysis_data: list[KeyedFilter] | None = None
    tool_calls: list[ToolCallFilter] | None = None


FACTS: dict[str, Callable[[Call], object]] = {
    "call_id": lambda call: call.id,
    "batch_call_id": lambda call: call.details.batch_call_id,
    "from_number": lambda call: call.from_number,
    "to_number": lambda call: call.to_number,
    "call_status": status_of,
    "call_type": lambda call: "phone_call",
    "direction": lambda call: call.direction.value,
    "disconnection_reason": lambda call: end.reason if (end := end_of(call)) else None,
    "start_timestamp": lambda call: call.answered_at,
    "end_timestamp": lambda call: call.ended_at,
    "duration_ms": duration_ms_of,
    "user_sentiment": lambda call: one.user_sentiment if (one := analysis(call, ())) else None,
    "data_storage_setting": lambda call: call.details.data_storage_setting,
}
"""The recorded fact that a filter field looks at; a field that is not here looks at nothing."""

OBJECTS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "metadata": lambda call: call.details.metadata,
    "dynamic_variables": lambda call: dict(call.details.dynamic_variables),
    "custom_attributes": lambda call: dict(call.details.custom_attributes),
}
"""The object in which a keyed filter field looks up its key."""

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda fact, value: bool(fact == value),
    "ne": lambda fact, value: bool(fact != value),
    "sw": lambda fact, value: isinstance(fact, str) and fact.startswith(value),
    "ew": lambda fact, value: isinstance(fact, str) and fact.endswith(value),
    "co": lambda fact, value: isinstance(fact, str) and value in fact,
    "gt": lambda fact, value: _is_number(fact) and fact > value,
    "ge": lambda fact, value: _is_number(fact) and fact >= value,
    "lt": lambda fact, value: _is_number(fact) and fact < value,
    "le": lambda fact, value: _is_number(fact) and fact <= value,
    "bt": lambda fact, value: _is_number(fact) and value[0] <= fact <= value[1],
    "in": lambda fact, value: fact in value,
    "pr": lambda fact, _: fact is not None,
    "np": lambda fact, _: fact is None,
}


def matches(call: Call, criteria: FilterCriteria) -> bool:
    """Say whether a call meets all conditions."""
    return (
        _of_an_agent(call, criteria.agent)
        and not criteria.tool_calls
        and all(_holds(one, _fact(call, name)) for name, one in _single(criteria))
        and all(_holds(one, _object(call, name).get(one.key)) for name, one in _keyed(criteria))
    )


def narrowed(environment_id: str, criteria: FilterCriteria) -> CallFilter:
    """Return what of the conditions the store can check: it finds every call that `matches` accepts, or more."""
    direction = set(criteria.direction.value) if criteria.direction else set()
    to_number = criteria.to_number
    started_from, started_to = _started_between(criteria.start_timestamp)
    return CallFilter(
        environment_id=environment_id,
        ids=_ids(criteria.call_id),
        agent_ids=tuple(one.agent_id for one in criteria.agent or ()),
        states=_states(criteria.call_status.value) if criteria.call_status else (),
        direction=Direction(direction.pop()) if len(direction) == 1 else None,
        to_number=to_number.value if isinstance(to_number, StringFilter) and to_number.op == "eq" else None,
        started_from=started_from,
        started_to=started_to,
    )


def _fact(call: Call, name: str) -> object:
    look_up = FACTS.get(name)
    return look_up(call) if look_up else None


def _object(call: Call, name: str) -> dict[str, Any]:
    look_up = OBJECTS.get(name)
    return look_up(call) if look_up else {}


def _holds(condition: Condition, fact: object) -> bool:
    value = None if isinstance(condition, PresentFilter) else condition.value
    return COMPARISONS[condition.op](fact, value)


def _single(criteria: FilterCriteria) -> Iterable[tuple[str, Condition]]:
    return ((name, one) for name, one in criteria if isinstance(one, Condition))


def _keyed(criteria: FilterCriteria) -> Iterable[tuple[str, Any]]:
    fields = ("metadata", "dynamic_variables", "custom_attributes", "custom_analysis_data")
    return ((name, one) for name in fields for one in getattr(criteria, name) or ())


def _of_an_agent(call: Call, agents: list[AgentFilter] | None) -> bool:
    return not agents or any(
        one.agent_id == call.agent_id and (not one.version or call.details.agent_version in one.version)
        for one in agents
    )


def _states(statuses: Iterable[str]) -> tuple[State, ...]:
    """Return the states that calls of these statuses can be in."""
    wanted = set(statuses)
    live = [state for state, status in STATUS_BY_STATE.items() if status in wanted]
    over = sorted(OVER) if wanted - set(STATUS_BY_STATE.values()) else []
    return (*live, *over)


def _ids(condition: StringFilter | EnumFilter | None) -> tuple[str, ...]:
    """Return the only ids that a filter on them may match; none when it does not name them."""
    match condition:
        case EnumFilter(value=ids):
            return tuple(dict.fromkeys(ids))
        case StringFilter(op="eq", value=call_id):
            return (call_id,)
        case _:
            return ()


def _started_between(start: NumberFilter | RangeFilter | None) -> tuple[int | None, int | None]:
    """Return bounds, both included, of the start of the calls that a filter on it may match."""
    match start:
        case RangeFilter(value=[low, high]):
            return _bound(low), _bound(high)
        case NumberFilter(op="gt" | "ge", value=low):
            return _bound(low), None
        case NumberFilter(op="lt" | "le", value=high):
            return None, _bound(high)
        case NumberFilter(op="eq", value=moment):
            return _bound(moment), _bound(moment)
        case _:
            return None, None


def _bound(moment: float) -> int:
    return math.floor(max(-FAR, min(FAR, moment)))


def _is_number(fact: object) -> bool:
    return isinstance(fact, int | float) and not isinstance(fact, bool)
