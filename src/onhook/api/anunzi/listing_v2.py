"""List-calls as SDKs before 5.36 ask for it: plain arrays for filters, a bare array for an answer.

The filters are translated to those of v3, which do the work.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from onhook.api.anunzi.errors import failure
from onhook.api.anunzi.filters import (
    FAR,
    AgentFilter,
    BooleanFilter,
    CallStatusFilter,
    CallTypeFilter,
    DirectionFilter,
    EnumFilter,
    FilterCriteria,
    KeyedEnum,
    NumberFilter,
    RangeFilter,
)
from onhook.api.anunzi.listing import matching, place
from onhook.api.anunzi.schemas import CallStatus, DirectionWord
from onhook.api.schema import Schema
from onhook.api.services import Caller
from onhook.calls.call import Call

OBJECTS = ("metadata", "dynamic_variables")
"""Filters that may also be written with a dot: `metadata.customer_id`."""


Bound = Annotated[int, AfterValidator(lambda bound: max(-FAR, min(FAR, bound)))]
"""A number that fits into a float, however many digits it is given with."""


class Thresholds(Schema):
    """Between two numbers, both included; either may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lower_threshold: Bound | None = None
    upper_threshold: Bound | None = None


class FilterCriteriaV2(Schema):
    """All conditions hold together; an array holds the values that one of which must be met."""

    model_config = ConfigDict(extra="forbid", strict=True)

    agent_id: list[str] | None = None
    version: list[int] | None = None
    call_id: list[str] | None = None
    batch_call_id: list[str] | None = None
    from_number: list[str] | None = None
    to_number: list[str] | None = None
    call_status: list[CallStatus] | None = None
    call_type: list[Literal["web_call", "phone_call"]] | None = None
    direction: list[DirectionWord] | None = None
    disconnection_reason: list[str] | None = None
    user_sentiment: list[str] | None = None
    call_successful: list[bool] | None = None
    in_voicemail: list[bool] | None = None
    start_timestamp: Thresholds | None = None
    end_timestamp: Thresholds | None = None
    duration_ms: Thresholds | None = None
    e2e_latency_p50: Thresholds | None = None
    metadata: dict[str, list[str]] | None = None
    dynamic_variables: dict[str, list[str]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _undot(cls, given: object) -> object:
        """Write `metadata.x` as `metadata: {x}`."""
        if not isinstance(given, dict):
            return given
        plain: dict[str, Any] = {name: value for name, value in given.items() if not _is_dotted(name)}
        for name in filter(_is_dotted, given):
            group, _, key = name.partition(".")
            held = plain.get(group) or {}
            plain[group] = {**held, key: given[name]} if isinstance(held, dict) else held
        return plain

    def translated(self) -> FilterCriteria:
        """Return the same filters in v3's words; all but `version`, which v3 ties to an agent."""
        return FilterCriteria(
            agent=[AgentFilter(agent_id=one) for one in self.agent_id] if self.agent_id else None,
            call_id=_one_of(self.call_id),
            batch_call_id=_one_of(self.batch_call_id),
            from_number=_one_of(self.from_number),
            to_number=_one_of(self.to_number),
            call_status=CallStatusFilter(type="enum", op="in", value=self.call_status) if self.call_status else None,
            call_type=CallTypeFilter(type="enum", op="in", value=self.call_type) if self.call_type else None,
            direction=DirectionFilter(type="enum", op="in", value=self.direction) if self.direction else None,
            disconnection_reason=_one_of(self.disconnection_reason),
            user_sentiment=_one_of(self.user_sentiment),
            call_successful=_unknown(self.call_successful),
            in_voicemail=_unknown(self.in_voicemail),
            start_timestamp=_between(self.start_timestamp),
            end_timestamp=_between(self.end_timestamp),
            duration_ms=_between(self.duration_ms),
            e2e_latency_p50=_between(self.e2e_latency_p50),
            metadata=_keyed(self.metadata),
            dynamic_variables=_keyed(self.dynamic_variables),
        )


class ListCallsV2(Schema):
    """What to list; every field is optional."""

    model_config = ConfigDict(extra="forbid", strict=True)

    filter_criteria: FilterCriteriaV2 | None = None
    sort_order: Literal["ascending", "descending"] | None = None
    limit: int | None = Field(default=None, ge=1, le=1000, description="50 when not given")
    pagination_key: str | None = Field(default=None, description="The id of the last call of the array before")


async def list_v2(caller: Caller, query: ListCallsV2) -> list[Call]:
    """Return the calls that are asked for. Raises the error 400 for a `pagination_key` that is no call."""
    criteria = query.filter_criteria or FilterCriteriaV2()
    after = None
    if query.pagination_key is not None:
        last = await caller.store.get_call(query.pagination_key, caller.environment_id)
        if last is None:
            raise failure(400)
        after = place(last)
    found: list[Call] = []
    async for call in matching(caller, criteria.translated(), after, ascending=query.sort_order == "ascending"):
        if not criteria.version or call.details.agent_version in criteria.version:
            found.append(call)
        if len(found) == (query.limit or 50):
            break
    return found


def _is_dotted(name: object) -> bool:
    return isinstance(name, str) and name.startswith(tuple(f"{group}." for group in OBJECTS))


def _one_of(values: list[str] | None) -> EnumFilter | None:
    return EnumFilter(type="enum", op="in", value=values) if values else None


def _between(bounds: Thresholds | None) -> NumberFilter | RangeFilter | None:
    match bounds:
        case Thresholds(lower_threshold=int(low), upper_threshold=int(high)):
            return RangeFilter(type="range", op="bt", value=[low, high])
        case Thresholds(lower_threshold=int(low)):
            return NumberFilter(type="number", op="ge", value=low)
        case Thresholds(upper_threshold=int(high)):
            return NumberFilter(type="number", op="le", value=high)
        case _:
            return None


def _unknown(values: list[bool] | None) -> BooleanFilter | None:
    """Return a filter on a fact that is known of no call: whichever values are asked for, none matches."""
    return BooleanFilter(type="boolean", op="eq", value=values[0]) if values else None


def _keyed(groups: dict[str, list[str]] | None) -> list[Any] | None:
    return [KeyedEnum(type="enum", op="in", key=key, value=values) for key, values in (groups or {}).items()]
