"""The bodies of TalkOver's agent webhooks and their logs. Their times have six decimals."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from onhook.api.schema import Schema
from onhook.api.talkover.laravel import Between, ShortText
from onhook.api.talkover.payloads import EVENTS, MAX_PLACEHOLDERS, placeholders
from onhook.api.talkover.schemas import Paging
from onhook.webhooks.guard import check_url


def _event(name: str) -> str:
    if name not in EVENTS:
        raise PydanticCustomError("event", "is none of the events")
    return name


def _url(text: str) -> str:
    if check_url(text, allow_private=True) is not None or not text.isprintable() or " " in text:
        raise PydanticCustomError("url", "must be a valid URL")
    return text


def _templates(templates: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    for name, template in templates.items():
        _event(name)
        if placeholders(template) > MAX_PLACEHOLDERS:
            raise PydanticCustomError("placeholders", "hold too many placeholders", {"most": MAX_PLACEHOLDERS})
    return templates


EventName = Annotated[str, AfterValidator(_event), Field(json_schema_extra={"enum": list(EVENTS)})]
Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_url)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,255}$")]
"""A token (RFC 9110 5.1)."""
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$", max_length=4096)]


# --- requests ----------------------------------------------------------------------------------------


class CustomHeader(Schema):
    """A header to send with every delivery."""

    key: HeaderName
    value: HeaderValue


class WebhookSettings(Schema):
    """What may be left out when a webhook is created; null is the same as absent, except for the secret."""

    webhook_secret: Annotated[str, StringConstraints(max_length=255)] | None = Field(
        default=None, description="Signs the deliveries; null or empty takes it away. Never shown."
    )
    timeout: Annotated[int, Between(5, 120)] | None = Field(default=None, description="Seconds; 30 at first")
    max_retries: Annotated[int, Between(0, 10)] | None = Field(default=None, description="3 at first")
    enabled: bool | None = Field(default=None, description="True at first")
    http_method: Literal["POST", "PUT", "PATCH"] | None = Field(default=None, description="`POST` at first")
    authorization_scheme: Literal["none", "bearer", "basic", "api_key", "custom"] | None = Field(
        default=None, description="Without effect: no field holds the credential. Use `custom_headers`."
    )
    custom_headers: list[CustomHeader] | None = None
    payload_templates: Annotated[dict[str, dict[str, Any]], AfterValidator(_templates)] | None = Field(
        default=None, description="Bodies by event, with placeholders such as `{{call.id}}`"
    )


class CreateWebhook(WebhookSettings):
    """A new webhook of an agent."""

    name: ShortText
    webhook_url: Url
    events: Annotated[list[EventName], Field(min_length=1)]


class UpdateWebhook(WebhookSettings):
    """What to change of a webhook; the rest stays."""

    name: ShortText | None = None
    webhook_url: Url | None = None
    events: Annotated[list[EventName], Field(min_length=1)] | None = None


class LogsQuery(Paging):
    """Which page of a webhook's log."""

    per_page: Annotated[int, Between(1, 100)] = 25


# --- responses ---------------------------------------------------------------------------------------


class WebhookOut(Schema):
    """A webhook. `error` means that the last delivery was given up."""

    id: str
    agent_id: str
    name: str
    webhook_url: str
    events: list[str]
    timeout: int
    max_retries: int
    enabled: bool
    created_at: str
    updated_at: str
    events_count: int
    status: Literal["active", "disabled", "error"]


class Webhooks(Schema):
    """An agent's webhooks, and what can be subscribed to."""

    webhooks: list[WebhookOut]
    available_events: dict[str, str]


class WebhookList(Schema):
    """The answer to list."""

    success: Literal[True] = True
    data: Webhooks


class WebhookAnswer(Schema):
    """One webhook."""

    success: Literal[True] = True
    data: WebhookOut


class WebhookChanged(Schema):
    """A webhook that was created or changed."""

    success: Literal[True] = True
    message: str
    data: WebhookOut


class WebhookDeleted(Schema):
    """Delete's answer."""

    success: Literal[True] = True
    message: Literal["Webhook deleted successfully"] = "Webhook deleted successfully"


class Tested(Schema):
    """What the receiver answered, and after how many ms."""

    status_code: int
    response_time: int


class WebhookTested(Schema):
    """The answer to a test that succeeded."""

    success: Literal[True] = True
    message: Literal["Test webhook sent successfully"] = "Test webhook sent successfully"
    data: Tested


class LogOut(Schema):
    """One attempt. What was sent and received is told of a success, `error` of a failure."""

    id: str
    webhook_id: str
    event: str
    attempt: int
    status: Literal["pending", "success", "failed", "retrying"]
    http_status: int | None = None
    request_payload: dict[str, Any] | None = None
    response_body: str | None = None
    response_headers: dict[str, str] | None = None
    error: str | None = None
    duration_ms: int
    delivered_at: str | None = None
    created_at: str


class LogsPagination(Schema):
    """Where a page of the log stands."""

    current_page: int
    per_page: int
    total: int
    last_page: int


class LogList(Schema):
    """A page of a webhook's log, newest first."""

    success: Literal[True] = True
    data: list[LogOut]
    pagination: LogsPagination


class Requeued(Schema):
    """The log that the new delivery is going to have."""

    log_id: str
    original_log_id: str
    queued_at: str


class RetryQueued(Schema):
    """The answer to retry."""

    success: Literal[True] = True
    message: Literal["Webhook retry queued successfully"] = "Webhook retry queued successfully"
    data: Requeued


class NoToken(Schema):
    """The 401 of the webhook pages."""

    message: Literal["Missing Bearer Token"] = "Missing Bearer Token"


class InvalidWebhook(Schema):
    """The 422 of the webhook pages: what is wrong, field by field."""

    message: Literal["The given data was invalid."] = "The given data was invalid."
    errors: dict[str, list[str]]
