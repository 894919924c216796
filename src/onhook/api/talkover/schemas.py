"""The bodies of the TalkOver API. Times are ISO 8601 UTC to the second."""

from typing import Annotated, Any, Literal

from pydantic import Field

from onhook.api.schema import Schema
from onhook.api.talkover.laravel import Between, Day, Text

Status = Literal["initiated", "ringing", "answered", "completed", "failed", "busy", "no-answer"]
DirectionWord = Literal["inbound", "outbound"]


# --- requests ----------------------------------------------------------------------------------------


class MakeCall(Schema):
    """Dial `to` with an agent."""

    to: Text = Field(description="Number to dial, in international format", examples=["+12025550100"])
    payload: dict[str, Any] | None = Field(
        default=None, description="Values for the placeholders of the agent's prompt"
    )
    context: dict[str, Any] | None = Field(default=None, description="Opaque to onhook; comes back in every webhook")
    delay_seconds: Annotated[int, Between(0, 3600)] | None = Field(default=0, description="Wait before dialling")
    is_testing: bool | None = Field(default=False, description="Marks a test call; it is dialled all the same")


class EndCall(Schema):
    """End a call of an agent."""

    call_sid: Text = Field(description="The `id` that make-call returned; the call's `sid` works too")


class Paging(Schema):
    """Which page, and how many lines on it."""

    per_page: Annotated[int, Between(1, 100)] = 20
    page: Annotated[int, Between(1, 1_000_000)] = 1


class AgentCallsQuery(Paging):
    """Which calls of an agent to list."""

    status: Status | None = None
    direction: DirectionWord | None = None
    date_from: Day | None = Field(default=None, description="First day of creation, UTC, `YYYY-MM-DD`")
    date_to: Day | None = Field(default=None, description="Last day of creation, UTC, included")
    search: str | None = Field(default=None, description="Part of a phone number, of the id or of the call SID")
    to: str | None = Field(default=None, description="Exact number called (an extension of ours)")


class CallsQuery(AgentCallsQuery):
    """Which calls to list."""

    agent_id: str | None = None


# --- responses ---------------------------------------------------------------------------------------


class PlacedCall(Schema):
    """A call as make-call returns it."""

    id: str
    agent_id: str
    to: str
    status: Status
    created_at: str


class MadeCall(Schema):
    """Make-call's answer."""

    success: Literal[True] = True
    data: PlacedCall


class EndedCall(Schema):
    """A call as end-call returns it: irrevocably stopped."""

    id: str
    status: Literal["completed"] = "completed"
    ended_at: str
    ended_reason: str = Field(examples=["ended_by_api"])


class CallEnded(Schema):
    """End-call's answer."""

    success: Literal[True] = True
    data: EndedCall


class ActiveCall(Schema):
    """A call that is going on."""

    id: str
    agent_id: str
    to: str
    status: Status
    started_at: str
    duration_seconds: int


class ActiveCalls(Schema):
    """Active-call's answer: always a list."""

    success: Literal[True] = True
    data: list[ActiveCall]


class AgentLabel(Schema):
    """An agent, as a call names it."""

    id: str
    name: str
    label: str


class CallItem(Schema):
    """A line of an agent's call list."""

    id: str
    sid: str
    to: str
    from_: str = Field(serialization_alias="from")
    to_formatted: str
    from_formatted: str
    is_testing: bool
    direction: DirectionWord
    status: Status
    duration: int
    created_at: str
    updated_at: str


class CallItemWithAgent(CallItem):
    """A line of the environment's call list."""

    agent: AgentLabel


class Pagination(Schema):
    """Where a page stands; `from` and `to` are the positions of its first and last line, 0 on an empty page."""

    current_page: int
    last_page: int
    per_page: int
    total: int
    from_: int = Field(serialization_alias="from")
    to: int


class CallList(Schema):
    """A page of the environment's calls."""

    success: Literal[True] = True
    data: list[CallItemWithAgent]
    pagination: Pagination


class AgentCallList(Schema):
    """A page of an agent's calls."""

    success: Literal[True] = True
    data: list[CallItem]
    pagination: Pagination


class Health(Schema):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Failure(Schema):
    """An error without or with a code."""

    success: Literal[False] = False
    message: str
    code: str | None = None


class InvalidData(Schema):
    """What is wrong, field by field."""

    success: Literal[False] = False
    message: Literal["The given data was invalid."] = "The given data was invalid."
    errors: dict[str, list[str]]


class CodedError(Schema):
    """An error's code, its message, and facts about it."""

    code: str
    message: str
    details: dict[str, Any] | None = None


class MakeCallFailure(Schema):
    """An error of make-call."""

    error: CodedError
