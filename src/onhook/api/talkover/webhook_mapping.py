"""From TalkOver's webhooks to our endpoints and back."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

from onhook.api.talkover.payloads import wants
from onhook.api.talkover.webhook_schemas import CreateWebhook, LogOut, UpdateWebhook, WebhookOut
from onhook.api.times import iso_microseconds
from onhook.store.outbox import Attempt, WebhookEndpoint, attempt_id
from onhook.webhooks.retries import Tried

TEST_EVENT = "webhook.test"

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


def test_attempt(endpoint: WebhookEndpoint, delivery_id: str, tried: Tried) -> Attempt:
    """Return the record of a test, which is about no call."""
    return Attempt(
        id=attempt_id(delivery_id, 1),
        delivery_id=delivery_id,
        endpoint_id=endpoint.id,
        environment_id=endpoint.environment_id,
        call_id="",
        event=TEST_EVENT,
        attempt=1,
        status="success" if tried.succeeded else "failed",
        request_payload=tried.body.decode(),
        duration_ms=tried.duration_ms,
        created_at=tried.at,
        http_status=tried.status,
        response_body=None if tried.status is None else tried.text,
        response_headers=tried.headers,
        error=tried.fault,
    )


def fault_of(tried: Tried) -> str:
    """Say why a test failed, such as `HTTP 500 Internal Server Error`."""
    if tried.status is None:
        return tried.error or "no answer"
    known = tried.status in HTTPStatus._value2member_map_
    return f"HTTP {tried.status} {HTTPStatus(tried.status).phrase}" if known else f"HTTP {tried.status}"
