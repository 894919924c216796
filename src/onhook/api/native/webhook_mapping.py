"""From webhooks and their attempts to our own API's bodies."""

import msgspec

from onhook.api.native.webhook_schemas import AttemptOut, WebhookOut
from onhook.api.times import iso_ms
from onhook.store.outbox import Attempt, WebhookEndpoint, attempt_id
from onhook.webhooks.retries import Tried

TEST_EVENT = "webhook.test"


def webhook_out(endpoint: WebhookEndpoint) -> WebhookOut:
    """Return a webhook without its secret."""
    return WebhookOut(
        id=endpoint.id,
        dialect=endpoint.dialect,
        name=endpoint.name,
        url=endpoint.url,
        events=list(endpoint.events),
        agent_id=endpoint.agent_id,
        enabled=endpoint.enabled,
        status=endpoint.status,
        headers=endpoint.headers,
        timeout_s=endpoint.timeout_s,
        hold_s=endpoint.hold_s,
        created_at=iso_ms(endpoint.created_at),
        updated_at=iso_ms(endpoint.updated_at),
    )


def attempt_out(attempt: Attempt) -> AttemptOut:
    """Return an attempt."""
    fields = msgspec.structs.asdict(attempt) | {"created_at": iso_ms(attempt.created_at)}
    shown = {name: value for name, value in fields.items() if name in AttemptOut.model_fields}
    return AttemptOut.model_validate(shown)


def probe_body(endpoint: WebhookEndpoint, now: int) -> bytes:
    """Return the body of a test: the frame of every delivery, without a call."""
    return msgspec.json.encode({"type": TEST_EVENT, "timestamp": iso_ms(now), "data": {"webhook_id": endpoint.id}})


def probe_attempt(endpoint: WebhookEndpoint, delivery_id: str, tried: Tried) -> Attempt:
    """Return the record of a test; it is about no call."""
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
