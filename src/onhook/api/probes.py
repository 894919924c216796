"""Trying a webhook: one delivery, now, with a record like any other's, in every dialect that offers it."""

from onhook.api.services import Caller
from onhook.store.outbox import Attempt, WebhookEndpoint, attempt_id
from onhook.store.rules import new_delivery_id

TEST_EVENT = "webhook.test"


async def probe(caller: Caller, endpoint: WebhookEndpoint, body: bytes) -> Attempt:
    """Send `body` to an endpoint, signed as deliveries are, and return the attempt that was recorded of it.

    It is about no call. Raises `StoreError` when the record could not be written.
    """
    delivery_id = new_delivery_id()
    tried = await caller.services.courier.try_once(endpoint, delivery_id, body)
    attempt = Attempt(
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
    await caller.store.record_attempt(attempt)
    return attempt
