"""The bodies of TalkOver's agents and phone numbers."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from onhook.api.schema import Schema
from onhook.api.talkover.laravel import Between, ShortText, Text
from onhook.api.talkover.schemas import DirectionWord, Paging

Language = Literal[
    "pt-BR", "pt-PT", "en-US", "en-CA", "es-ES", "fr-FR", "de-DE", "it-IT", "nl-NL", "ja-JP", "ko-KR", "zh-TW"
]
Sensitivity = Literal["low", "medium", "high"]
Speaker = Literal["agent", "user"]


# --- requests ----------------------------------------------------------------------------------------


class AgentsQuery(Paging):
    """Which agents to list."""

    status: Literal["draft", "published"] | None = None
    direction: DirectionWord | None = None
    search: str | None = Field(default=None, description="Part of the name or the label")


class CreateAgent(Schema):
    """A new agent; it is a draft until it is published."""

    label: ShortText
    name: ShortText
    language: Language
    interrupt_sensitivity: Sensitivity
    endpointing_sensitivity: ShortText
    ivr_navigation_mode: ShortText
    conversation_speed: Annotated[float, Between(0.1, 3.0)]
    initial_message_delay: Annotated[int, Between(0, 60)]
    ask_if_human_present_on_idle: bool
    idle_time_seconds: Annotated[int, Between(1, 60)]
    llm_temperature: Annotated[float, Between(0, 2)]
    enable_recording: bool
    direction: DirectionWord
    who_speaks_first: Speaker
    description: str | None = None
    initial_message: str | None = None
    max_idle_check_count: Annotated[int, Between(1, 10)] | None = None
    max_call_duration_seconds: Annotated[int, Between(1, 3600)] | None = None
    say_goodbye_on_max_duration: bool | None = None
    user_inactivity_timeout_seconds: Annotated[int, Between(5, 120)] | None = None
    initial_idle_time_seconds: Annotated[int, Between(1, 60)] | None = None
    initial_max_idle_check_count: Annotated[int, Between(0, 10)] | None = None
    phone_number_ids: list[Text] = Field(default_factory=list)


class AgentKnowledge(Schema):
    """What an agent knows and how it behaves."""

    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=5)]
    initial_message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=5, max_length=255)] | None = (
        None
    )
    interrupt_sensitivity: Sensitivity
    ask_if_human_present_on_idle: bool
    llm_temperature: Annotated[float, Between(0, 2)]
    initial_message_delay: Annotated[int, Between(0, 60)]


class AgentVoice(Schema):
    """How an agent sounds. onhook has no catalogue of voices: every `voice_id` is kept as it is given."""

    voice_id: ShortText
    conversation_speed: Annotated[float, Field(gt=1, lt=2)]
    who_speaks_first: Speaker
    ambient_background: ShortText | None = Field(default=None, examples=["office", "cafe", "quiet"])
    ambient_volume: Annotated[float, Between(0, 2)] = 1.0
    language: Language | None = None
    similarity: Annotated[float, Between(0.5, 1.0)] | None = None
    stability: Annotated[float, Between(0.5, 1.0)] | None = None


class AgentCalling(Schema):
    """Which way an agent calls, and with which numbers; without `phone_number_ids` it keeps those it has."""

    direction: DirectionWord
    phone_number_ids: list[Text] | None = None


class NumbersQuery(Schema):
    """Which phone numbers to list."""

    type: Literal["voice", "sms", "whatsapp", "mms", "fax"] | None = None
    has_voice: bool | None = None
    has_whatsapp: bool | None = None
    search: str | None = Field(default=None, description="Part of the number")


# --- responses ---------------------------------------------------------------------------------------


class NumberOut(Schema):
    """A phone number, as an agent shows it."""

    id: str
    number: str
    country_code: str
    formatted_number: str
    international_number: str
    current_status: Literal["active"] = "active"


class VoiceTemplate(Schema):
    """What a voice is made from; here the voice itself."""

    id: str
    name: str


class Voice(Schema):
    """An agent's voice, as it was given."""

    id: str
    name: str
    label: str
    stability: float | None
    similarity_boost: float | None
    ambient_background: str | None
    template: VoiceTemplate


class AgentOut(Schema):
    """An agent."""

    id: str
    name: str
    label: str
    description: str | None
    language: str
    voice: Voice | None
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


class AgentAnswer(Schema):
    """One agent."""

    success: Literal[True] = True
    data: AgentOut


class AgentChanged(AgentAnswer):
    """An agent that was created or changed."""

    message: str


class AgentDeleted(Schema):
    """Delete's answer."""

    success: Literal[True] = True
    message: Literal["Agent deleted successfully"] = "Agent deleted successfully"


class AgentsMeta(Schema):
    """Where a page of agents stands."""

    current_page: int
    per_page: int
    total: int
    last_page: int


class AgentList(Schema):
    """A page of agents."""

    success: Literal[True] = True
    data: list[AgentOut]
    meta: AgentsMeta


class AgentState(Schema):
    """What publishing changes."""

    id: str
    name: str
    current_status: Literal["draft", "published"]
    is_ready_to_publish: bool = True
    updated_at: str


class AgentStateChanged(Schema):
    """Publish's and unpublish's answer."""

    success: Literal[True] = True
    message: str
    data: AgentState


class CallingState(Schema):
    """What the calling settings change."""

    id: str
    name: str
    direction: DirectionWord
    current_status: Literal["draft", "published"]
    phone_numbers: list[NumberOut]
    updated_at: str


class CallingChanged(Schema):
    """The answer to new calling settings."""

    success: Literal[True] = True
    message: Literal["Agent calling settings updated successfully"] = "Agent calling settings updated successfully"
    data: CallingState


class PhoneNumber(NumberOut):
    """A phone number of the environment. It is the carrier's to bill: what it costs is not known here."""

    type: Literal["voice"] = "voice"
    has_voice: bool = True
    has_sms: bool = False
    has_mms: bool = False
    has_fax: bool = False
    has_whatsapp: bool = False
    is_sandbox: bool = False
    current_price: None = None
    currency: None = None
    renewal_date: None = None
    auto_renewal: bool = False
    created_at: str
    updated_at: str
    monthly_renewal_cost: None = None
    days_until_monthly_renewal: None = None
    is_due_for_monthly_renewal: bool = False


class PhoneNumberList(Schema):
    """The environment's phone numbers."""

    success: Literal[True] = True
    data: list[PhoneNumber]
