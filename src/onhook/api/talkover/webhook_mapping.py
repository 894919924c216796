"""From TalkOver's webhooks to our endpoints and back."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

from onhook.api.talkover.payloads import wants
from onhook.api.talkover.webhook_schemas import CreateWebhook, LogOut, UpdateWebhook, WebhookOut
from onhook.api.times import iso_microseconds
from onhook.store.outbox import Attempt, WebhookEndpoint

AS_GIVEN = {
    "name": "name",
    "webhook_url": "url",
    "timeout": "timeout_s",
    "max_retries": "max_retries",
    "enabled": "enabled",
    "http_method": "http_method",
    "payload_templates": "payload_templates",
}
"""The fields that an endpoint holds as they are given, under its own names."""


def changes(body: CreateWebhook | UpdateWebhook, encrypt: Callable[[str], str]) -> dict[str, Any]:
    """Return what a request sets of an endpoint."""
    given = body.model_dump(include=set(AS_GIVEN), exclude_none=True)
    changed = {AS_GIVEN[name]: value for name, value in given.items()}
    if body.events is not None:
        events = tuple(dict.fromkeys(body.events))
        changed |= {"events": events, "wants": wants(events)}
    if body.custom_headers is not None:
        changed["headers"] = {header.key: header.value for header in body.custom_headers}
    if body.enabled is not None:
        changed["status"] = "active" if body.enabled else "disabled"
    if "webhook_secret" in body.model_fields_set:
        changed["secret"] = encrypt(body.webhook_secret) if body.webhook_secret else None
    return changed


def webhook_out(endpoint: WebhookEndpoint) -> WebhookOut:
    """Return a webhook as it is shown: never its secret."""
    return WebhookOut(
        id=endpoint.id,
        agent_id=endpoint.agent_id or "",
        name=endpoint.name,
        webhook_url=endpoint.url,
        events=list(endpoint.events),
        timeout=round(endpoint.timeout_s),
        max_retries=endpoint.max_retries,
        enabled=endpoint.enabled,
        created_at=iso_microseconds(endpoint.created_at),
        updated_at=iso_microseconds(endpoint.updated_at),
        events_count=len(endpoint.events),
        status=endpoint.status,
    )


def log_out(attempt: Attempt) -> LogOut:
    """Return an attempt as a log."""
    log = LogOut(
        id=attempt.id,
        webhook_id=attempt.endpoint_id,
        event=attempt.event,
        attempt=attempt.attempt,
        status=attempt.status,
        http_status=attempt.http_status,
        error=attempt.error,
        duration_ms=attempt.duration_ms,
        created_at=iso_microseconds(attempt.created_at),
    )
    if attempt.status != "success":
        return log
    told = {
        "request_payload": msgspec.json.decode(attempt.request_payload),
        "response_body": attempt.response_body,
        "response_headers": attempt.response_headers,
        "delivered_at": iso_microseconds(attempt.created_at + attempt.duration_ms),
    }
    return log.model_copy(update=told)


def fault_of(attempt: Attempt) -> str:
    """Say why a test failed, such as `HTTP 500 Internal Server Error`."""
    status = attempt.http_status
    if status is None:
        return attempt.error or "no answer"
    known = status in HTTPStatus._value2member_map_
    return f"HTTP {status} {HTTPStatus(status).phrase}" if known else f"HTTP {status}"
