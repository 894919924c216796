"""From webhooks and their attempts to our own API's bodies."""

import msgspec

from onhook.api.native.webhook_schemas import AttemptOut, WebhookOut
from onhook.api.probes import TEST_EVENT
from onhook.api.times import iso_ms
from onhook.store.outbox import Attempt, WebhookEndpoint


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
