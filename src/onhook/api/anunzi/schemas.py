"""The bodies of the Anunzi/Retell API. Times are integers: ms since the epoch."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from onhook.calls.call import DataStorage

CallStatus = Literal["registered", "ongoing", "ended", "not_connected", "error"]
DirectionWord = Literal["inbound", "outbound"]
DisconnectionReason = Literal[
    "user_hangup",
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
    "error_unknown",
]
"""The values that onhook uses."""

HeaderName = Annotated[str, StringConstraints(pattern=r"^[Xx]-[A-Za-z0-9-]{1,60}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,200}$")]
"""Printable ASCII: a line break would be a header of the client's own making."""


class CallTask(BaseModel):
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


class UpdateCall(BaseModel):
    """What to change; what is absent or null stays."""

    model_config = ConfigDict(strict=True)

    metadata: dict[str, Any] | None = Field(default=None, description="Replaces what is there; at most 50 kB")
    data_storage_setting: DataStorage | None = Field(default=None, description="Can only become more restrictive")
    custom_attributes: dict[str, str | float | bool] | None = Field(default=None, max_length=100)


class CallAnalysis(BaseModel):
    """What is known of what was said."""

    user_sentiment: Literal["Unknown"] = "Unknown"


class PhoneCall(BaseModel):
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


class Calls(BaseModel):
    """A page of calls."""

    items: list[PhoneCall]
    has_more: bool
    pagination_key: str | None = None
    total: int | None = None


class Error(BaseModel):
    """Every error."""

    status: Literal["error"] = "error"
    message: str
