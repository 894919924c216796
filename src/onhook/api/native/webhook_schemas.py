"""The bodies of webhooks."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from onhook.api.native.schemas import Name, Request
from onhook.calls.call import Dialect, EventType
from onhook.store.outbox import EndpointStatus

Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Header = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Value = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,1000}$")]
Time = Annotated[int, Field(ge=0, lt=10**15, description="ms since the epoch")]


class PutWebhook(Request):
    """Where to send which events of the environment's calls."""

    name: Name
    url: Url = Field(examples=["https://example.com/onhook"])
    events: list[EventType] = Field(default_factory=lambda: list(EventType), min_length=1, description="All by default")
    agent_id: str | None = Field(default=None, description="Only the calls of one agent")
    enabled: bool = True
    headers: dict[Header, Value] = Field(default_factory=dict, max_length=20)
    timeout_s: Annotated[float, Field(ge=1, le=60)] = 15.0
    hold_s: Annotated[int, Field(ge=0, le=60)] = Field(
        default=0, description="How long later events of a call wait for an earlier one that is being tried again"
    )


class RotateSecret(Request):
    """How long the old secret signs beside the new one."""

    overlap_hours: Annotated[float, Field(ge=0, le=168)] = 24.0


class ReplayEvents(Request):
    """Which events to deliver again: a span of their own times, one call's, some types."""

    since: Time = 0
    until: Time | None = Field(default=None, description="Not included; now when absent")
    call_id: str | None = None
    events: list[str] = Field(default_factory=list, max_length=100, description="Names that the webhook is sent")


class PageQuery(Request):
    """Which attempts to list, newest first."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class WebhookOut(Request):
    """A webhook; `dialect` is the API that made it, which decides its bodies and its event names."""

    id: str
    dialect: Dialect
    name: str
    url: str
    events: list[str]
    agent_id: str | None
    enabled: bool
    status: EndpointStatus
    headers: dict[str, str]
    timeout_s: float
    hold_s: int
    created_at: str
    updated_at: str


class WebhookCreated(WebhookOut):
    """A new webhook with its secret, which is shown this once."""

    secret: str


class WebhookSecret(Request):
    """A new secret, which is shown this once, and until when the old one signs too."""

    secret: str
    previous_secret_until: str


class Webhooks(Request):
    """All webhooks of the environment."""

    items: list[WebhookOut]


class AttemptOut(Request):
    """One attempt to deliver an event. `response_body` is the beginning of it."""

    id: str
    delivery_id: str
    call_id: str
    event: str
    attempt: int
    status: Literal["success", "failed", "retrying"]
    http_status: int | None
    error: str | None
    duration_ms: int
    created_at: str
    request_payload: str
    response_headers: dict[str, str]
    response_body: str | None


class Attempts(Request):
    """A page of attempts; `total` counts all that are kept (30 days)."""

    items: list[AttemptOut]
    total: int


class Queued(Request):
    """A delivery that was queued."""

    delivery_id: str


class Replayed(Request):
    """How many deliveries were queued."""

    queued: int
