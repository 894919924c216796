"""The bodies of the Anunzi/Retell API. Times are integers: ms since the epoch."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from onhook.api.schema import Schema
from onhook.calls.call import DataStorage

CallStatus = Literal["registered", "ongoing", "ended", "not_connected", "error"]
DirectionWord = Literal["inbound", "outbound"]
DisconnectionReason = Literal[
    "user_hangup",
    "agent_hangup",
    "voicemail_reached",
    "inactivity",
    "max_duration_reached",
    "manual_stopped",
    "dial_busy",
    "dial_failed",
    "dial_no_answer",
    "invalid_destination",
    "telephony_provider_permission_denied",
    "telephony_provider_unavailable",
    "sip_routing_error",
    "user_declined",
    "error_llm_websocket_open",
    "error_llm_websocket_lost_connection",
    "error_llm_websocket_runtime",
    "error_no_audio_received",
    "registered_call_timeout",
    "error_unknown",
]
"""The values that onhook uses."""

HeaderName = Annotated[str, StringConstraints(pattern=r"^[Xx]-[A-Za-z0-9-]{1,60}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,200}$")]
"""Printable ASCII: a line break would be a header of the client's own making."""


class CallTask(Schema):
    """Whom to call, and with what: with the number's agent or another."""

    model_config = ConfigDict(strict=True)

    to_number: str = Field(min_length=1)
    override_agent_id: str | None = None
    override_agent_version: int | str | None = Field(default=None, description="The agent's current version, or none")
    agent_override: dict[str, Any] | None = Field(
        default=None, description="Not supported: anything but null answers 400"
    )
    metadata: dict[str, Any] | None = None
    retell_llm_dynamic_variables: dict[str, str] | None = None
    custom_sip_headers: dict[HeaderName, HeaderValue] | None = Field(
        default=None, max_length=20, description="Named `X-...`: none that SIP itself uses"
    )
    ignore_e164_validation: bool | None = Field(
        default=None, description="No effect: `from_number` must be a number of yours, `to_number` is always checked"
    )


class CreatePhoneCall(CallTask):
    """Dial `to_number` from one of the environment's numbers."""

    from_number: str = Field(min_length=1)
    honor_internal_dnc: bool | None = Field(default=None, description="No effect: there is no do-not-call list")
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=256, description="Valid for one hour")


class RegisterPhoneCall(Schema):
    """A call that is dialed elsewhere; numbers and direction are kept as they are given."""

    model_config = ConfigDict(strict=True)

    agent_id: str = Field(min_length=1)
    agent_version: int | str | None = Field(default=None, description="The agent's current version, or none")
    agent_override: dict[str, Any] | None = Field(
        default=None, description="Not supported: anything but null answers 400"
    )
    direction: DirectionWord | None = Field(default=None, description="`inbound` when absent")
    from_number: str | None = Field(default=None, max_length=128)
    to_number: str | None = Field(default=None, max_length=128)
    metadata: dict[str, Any] | None = None
    retell_llm_dynamic_variables: dict[str, str] | None = None


class UpdateCall(Schema):
    """What to change; what is absent or null stays."""

    model_config = ConfigDict(strict=True)

    metadata: dict[str, Any] | None = Field(default=None, description="Replaces what is there; at most 50 kB")
    data_storage_setting: DataStorage | None = Field(default=None, description="Can only become more restrictive")
    custom_attributes: dict[str, str | float | bool] | None = Field(default=None, max_length=100)


class CallAnalysis(Schema):
    """What is known of what was said."""

    user_sentiment: Literal["Unknown"] = "Unknown"
    in_voicemail: bool | None = Field(default=None, description="Where the agent listens for machines")


class UtteranceWord(Schema):
    """A word; seconds since the answer."""

    word: str
    start: float
    end: float


class Utterance(Schema):
    """What one side said in one go. Words are there where the agent's recogniser tells them."""

    role: Literal["agent", "user"]
    content: str
    words: list[UtteranceWord]


class ToolCall(Schema):
    """What the agent did."""

    role: Literal["tool_call_invocation"] = "tool_call_invocation"
    tool_call_id: str
    name: str
    arguments: str = Field(description="JSON")


class ToolResult(Schema):
    """What came of it."""

    role: Literal["tool_call_result"] = "tool_call_result"
    tool_call_id: str
    content: str
    successful: bool


class DtmfEntry(Schema):
    """A key that was pressed."""

    role: Literal["dtmf"] = "dtmf"
    digit: str


TranscriptEntry = Utterance | ToolCall | ToolResult | DtmfEntry


class Latency(Schema):
    """How long something took, in ms, each time."""

    p50: float
    p90: float
    p95: float
    p99: float
    min: float
    max: float
    num: int
    values: list[float]


class Latencies(Schema):
    """`e2e` is from the caller's last sound to the agent's first on the wire."""

    e2e: Latency


class PhoneCall(Schema):
    """A call. Optional fields are absent until they are known."""

    call_type: Literal["phone_call"] = "phone_call"
    call_id: str
    agent_id: str
    agent_name: str | None = None
    agent_version: int
    call_status: CallStatus
    direction: DirectionWord
    from_number: str
    to_number: str
    metadata: dict[str, Any] | None = None
    retell_llm_dynamic_variables: dict[str, str] | None = None
    custom_sip_headers: dict[str, str] | None = None
    start_timestamp: int | None = Field(default=None, description="When the call was answered")
    end_timestamp: int | None = Field(default=None, description="When the call ended")
    duration_ms: int | None = Field(default=None, description="From the answer to the end")
    disconnection_reason: DisconnectionReason | None = None
    data_storage_setting: DataStorage
    call_analysis: CallAnalysis | None = Field(default=None, description="Once the call is over")
    transcript: str | None = Field(default=None, description="Once the call is over")
    transcript_object: list[Utterance] | None = Field(default=None, description="Once the call is over")
    transcript_with_tool_calls: list[TranscriptEntry] | None = Field(
        default=None, description="Once the call is over; keys and tools among what was said"
    )
    latency: Latencies | None = Field(default=None, description="Once the call is over")
    recording_url: str | None = Field(default=None, description="Stereo, caller left; needs an API key")
    recording_multi_channel_url: str | None = Field(default=None, description="The same")


class Calls(Schema):
    """A page of calls."""

    items: list[PhoneCall]
    has_more: bool
    pagination_key: str | None = None
    total: int | None = None


class Error(Schema):
    """Every error."""

    status: Literal["error"] = "error"
    message: str
