"""The bodies of the TalkOver API. Times are ISO 8601 UTC to the second."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from onhook.api.talkover.laravel import Between, Day, ShortText, Text

Status = Literal["initiated", "ringing", "answered", "completed", "failed", "busy", "no-answer"]
DirectionWord = Literal["inbound", "outbound"]
Language = Literal[
    "pt-BR", "pt-PT", "en-US", "en-CA", "es-ES", "fr-FR", "de-DE", "it-IT", "nl-NL", "ja-JP", "ko-KR", "zh-TW"
]


# --- requests ----------------------------------------------------------------------------------------


class MakeCall(BaseModel):
    """Dial `to` with an agent."""

    to: Text = Field(description="Number to dial, in international format", examples=["+12025550100"])
    payload: dict[str, Any] | None = Field(
        default=None, description="Values for the placeholders of the agent's prompt"
    )
    context: dict[str, Any] | None = Field(default=None, description="Opaque to onhook; comes back in every webhook")
    delay_seconds: Annotated[int, Between(0, 3600)] = Field(default=0, description="Wait before dialling")
    is_testing: bool = Field(default=False, description="Marks a test call; it is dialled all the same")


class EndCall(BaseModel):
    """End a call of an agent."""

    call_sid: Text = Field(description="The `id` that make-call returned; the call's `sid` works too")


class _Paging(BaseModel):
    per_page: Annotated[int, Between(1, 100)] = 20
    page: Annotated[int, Between(1, 1_000_000)] = 1


class AgentCallsQuery(_Paging):
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


class AgentsQuery(_Paging):
    """Which agents to list."""

    status: Literal["draft", "published"] | None = None
    direction: DirectionWord | None = None
    search: str | None = Field(default=None, description="Part of the name or the label")


class CreateAgent(BaseModel):
    """A new agent; it is a draft until it is published."""

    label: ShortText
    name: ShortText
    language: Language
    interrupt_sensitivity: Literal["low", "medium", "high"]
    endpointing_sensitivity: ShortText
    ivr_navigation_mode: ShortText
    conversation_speed: Annotated[float, Between(0.1, 3.0)]
    initial_message_delay: Annotated[int, Between(0, 60)]
    ask_if_human_present_on_idle: bool
    idle_time_seconds: Annotated[int, Between(1, 60)]
    llm_temperature: Annotated[float, Between(0, 2)]
    enable_recording: bool
    direction: DirectionWord
    who_speaks_first: Literal["agent", "user"]
    description: str | None = None
    initial_message: str | None = None
    max_idle_check_count: Annotated[int, Between(1, 10)] | None = None
    max_call_duration_seconds: Annotated[int, Between(1, 3600)] | None = None
    say_goodbye_on_max_duration: bool | None = None
    user_inactivity_timeout_seconds: Annotated[int, Between(5, 120)] | None = None
    initial_idle_time_seconds: Annotated[int, Between(1, 60)] | None = None
    initial_max_idle_check_count: Annotated[int, Between(0, 10)] | None = None
    phone_number_ids: list[Text] = Field(default_factory=list)


# --- responses ---------------------------------------------------------------------------------------


class PlacedCall(BaseModel):
    """A call as make-call returns it."""

    id: str
    agent_id: str
    to: str
    status: Status
    created_at: str


class MadeCall(BaseModel):
    """Make-call's answer."""

    success: Literal[True] = True
    data: PlacedCall


class EndedCall(BaseModel):
    """A call as end-call returns it: irrevocably stopped."""

    id: str
    status: Literal["completed"] = "completed"
    ended_at: str
    ended_reason: str = Field(examples=["ended_by_api"])


class CallEnded(BaseModel):
    """End-call's answer."""

    success: Literal[True] = True
    data: EndedCall


class ActiveCall(BaseModel):
    """A call that is going on."""

    id: str
    agent_id: str
    to: str
    status: Status
    started_at: str
    duration_seconds: int


class ActiveCalls(BaseModel):
    """Active-call's answer: always a list."""

    success: Literal[True] = True
    data: list[ActiveCall]


class AgentLabel(BaseModel):
    """An agent, as a call names it."""

    id: str
    name: str
    label: str


class CallItem(BaseModel):
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


class Pagination(BaseModel):
    """Where a page stands; `from` and `to` are the positions of its first and last line, 0 on an empty page."""

    current_page: int
    last_page: int
    per_page: int
    total: int
    from_: int = Field(serialization_alias="from")
    to: int


class CallList(BaseModel):
    """A page of the environment's calls."""

    success: Literal[True] = True
    data: list[CallItemWithAgent]
    pagination: Pagination


class AgentCallList(BaseModel):
    """A page of an agent's calls."""

    success: Literal[True] = True
    data: list[CallItem]
    pagination: Pagination


class NumberOut(BaseModel):
    """A phone number, as an agent shows it."""

    id: str
    number: str
    country_code: str
    formatted_number: str
    international_number: str
    current_status: Literal["active"] = "active"


class AgentOut(BaseModel):
    """An agent."""

    id: str
    name: str
    label: str
    description: str | None
    language: str
    voice: None = None
    initial_message: str | None
    interrupt_sensitivity: str
    conversation_speed: float
    initial_message_delay: int
    ask_if_human_present_on_idle: bool
    direction: DirectionWord
    who_speaks_first: str
    current_status: Literal["draft", "published"]
    is_sandbox: bool = False
    is_ready_to_publish: bool = True
    created_at: str
    updated_at: str
    trainings: list[dict[str, Any]] = Field(default_factory=list)
    actions: list[dict[str, Any]] = Field(default_factory=list)
    phone_numbers: list[NumberOut]


class AgentAnswer(BaseModel):
    """One agent."""

    success: Literal[True] = True
    data: AgentOut


class AgentCreated(AgentAnswer):
    """The agent that was created."""

    message: str


class AgentsMeta(BaseModel):
    """Where a page of agents stands."""

    current_page: int
    per_page: int
    total: int
    last_page: int


class AgentList(BaseModel):
    """A page of agents."""

    success: Literal[True] = True
    data: list[AgentOut]
    meta: AgentsMeta


class AgentState(BaseModel):
    """What publishing changes."""

    id: str
    name: str
    current_status: Literal["draft", "published"]
    is_ready_to_publish: bool = True
    updated_at: str


class AgentStateChanged(BaseModel):
    """Publish's and unpublish's answer."""

    success: Literal[True] = True
    message: str
    data: AgentState


class PhoneNumber(NumberOut):
    """A phone number of the environment."""

    type: Literal["voice"] = "voice"
    has_voice: bool = True
    has_sms: bool = False
    has_mms: bool = False
    has_fax: bool = False
    has_whatsapp: bool = False
    is_sandbox: bool = False
    created_at: str
    updated_at: str


class PhoneNumberList(BaseModel):
    """The environment's phone numbers."""

    success: Literal[True] = True
    data: list[PhoneNumber]


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Failure(BaseModel):
    """An error without or with a code."""

    success: Literal[False] = False
    message: str
    code: str | None = None


class InvalidData(BaseModel):
    """What is wrong, field by field."""

    success: Literal[False] = False
    message: Literal["The given data was invalid."] = "The given data was invalid."
    errors: dict[str, list[str]]


class CodedError(BaseModel):
    """An error's code, its message, and facts about it."""

    code: str
    message: str
    details: dict[str, Any] | None = None


class MakeCallFailure(BaseModel):
    """An error of make-call."""

    error: CodedError
