"""The bodies of agents and phone numbers."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from onhook.api.schema import Schema
from onhook.calls.call import DataStorage

WebhookEvent = Literal[
    "call_started",
    "call_ended",
    "call_analyzed",
    "transcript_updated",
    "transfer_started",
    "transfer_bridged",
    "transfer_cancelled",
    "transfer_ended",
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class ResponseEngine(Schema):
    """What is to think for the agent; kept as given, whatever its type."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: Literal["retell-llm", "custom-llm", "conversation-flow"]


class VoicemailOption(Schema):
    """What to do about an answering machine."""

    model_config = ConfigDict(extra="allow", strict=True)

    action: dict[str, Any] = Field(
        description="`hangup`, or `static_text` or `prompt` with the `text` to say; others are reported, not done",
        examples=[{"type": "static_text", "text": "Please call us back."}],
    )


class AgentFields(Schema):
    """What onhook itself uses of an agent; every other field is kept and shown as given."""

    model_config = ConfigDict(extra="allow", strict=True)

    agent_name: Name | None = None
    max_call_duration_ms: int | None = Field(default=None, ge=60_000, le=7_200_000)
    ring_duration_ms: int | None = Field(default=None, ge=5_000, le=300_000)
    webhook_url: str | None = Field(default=None, max_length=2048, description="Null takes it away")
    webhook_events: list[WebhookEvent] | None = None
    webhook_timeout_ms: int | None = Field(default=None, ge=1_000, le=30_000)
    language: str | list[str] | None = Field(default=None, description="Of several the first is used")
    voice_speed: float | None = Field(default=None, ge=0.5, le=2)
    interruption_sensitivity: float | None = Field(default=None, ge=0, le=1, description="0: never interrupted")
    allow_dtmf_interruption: bool | None = None
    begin_message_delay_ms: int | None = Field(default=None, ge=0, le=5_000)
    reminder_trigger_ms: float | None = Field(default=None, ge=500, le=3_600_000)
    reminder_max_count: int | None = Field(default=None, ge=0, le=100)
    end_call_after_silence_ms: int | None = Field(default=None, ge=10_000, le=86_400_000)
    voicemail_option: VoicemailOption | None = None
    data_storage_setting: DataStorage | None = Field(default=None, description="Of the agent's calls")


class CreateAgent(AgentFields):
    """A new agent."""

    response_engine: ResponseEngine
    voice_id: str = Field(min_length=1, max_length=255)


class UpdateAgent(AgentFields):
    """What to change of an agent; what is absent stays."""

    response_engine: ResponseEngine | None = None
    voice_id: str | None = Field(default=None, min_length=1, max_length=255)


class AgentOut(Schema):
    """An agent, with everything it was made with."""

    model_config = ConfigDict(extra="allow")

    agent_id: str
    agent_name: str
    version: int
    is_published: bool
    response_engine: dict[str, Any]
    voice_id: str
    max_call_duration_ms: int
    ring_duration_ms: int
    last_modification_timestamp: int


class AgentItem(Schema):
    """An agent in a list."""

    agent_id: str
    agent_name: str
    channel: Literal["voice"] = "voice"
    is_suspended: bool = False
    tags: dict[str, Any] = Field(default_factory=dict)
    user_modified_timestamp: int


class Agents(Schema):
    """A page of agents."""

    items: list[AgentItem]
    has_more: bool
    pagination_key: str | None = None


class WeightedAgent(Schema):
    """An agent of a number. There is one, with the weight 1."""

    model_config = ConfigDict(strict=True)

    agent_id: str
    weight: float = Field(ge=1, le=1)
    agent_version: int | str | None = Field(default=None, description="Any: a number uses the agent as it stands")


class NumberFields(Schema):
    """What a number is bound to."""

    model_config = ConfigDict(strict=True)

    outbound_agents: list[WeightedAgent] | None = Field(default=None, max_length=1)
    inbound_agents: list[WeightedAgent] | None = Field(default=None, max_length=1)
    inbound_webhook_url: None = Field(default=None, description="Not supported")


class ImportNumber(NumberFields):
    """A number of yours, and the SIP trunk it lives on."""

    phone_number: str = Field(min_length=1)
    termination_uri: str = Field(pattern=r"^(sip:)?[A-Za-z0-9.\[\]:-]{1,200}$")
    sip_trunk_auth_username: str | None = Field(default=None, pattern=r"^[^\x00-\x1f\x7f]{1,200}$")
    sip_trunk_auth_password: str | None = Field(default=None, pattern=r"^[^\x00-\x1f\x7f]{1,200}$")
    transport: Literal["TCP", "UDP", "tcp", "udp"] | None = Field(default=None, description="TCP when absent")
    nickname: str | None = Field(default=None, max_length=255, description="No effect")


class UpdateNumber(NumberFields):
    """What to bind a number to."""


class TrunkConfig(Schema):
    """A number's SIP trunk."""

    termination_uri: str
    transport: str
    auth_username: str | None = None


class NumberOut(Schema):
    """A phone number."""

    phone_number: str
    phone_number_pretty: str
    phone_number_type: Literal["custom"] = "custom"
    inbound_agents: list[WeightedAgent]
    outbound_agents: list[WeightedAgent]
    sip_outbound_trunk_config: TrunkConfig | None = None
    last_modification_timestamp: int


class Numbers(Schema):
    """A page of numbers."""

    items: list[NumberOut]
    has_more: bool
    pagination_key: str | None = None
