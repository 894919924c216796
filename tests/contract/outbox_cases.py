"""What the tests of the outbox share: an endpoint, and ways through a delivery."""

from typing import Any

import msgspec
from tests.contract.store_cases import NOW

from onhook.calls.call import Dialect, EventType
from onhook.store.outbox import Attempt, Claim, Delivery, DeliveryState, Finished, WebhookEndpoint, attempt_id
from onhook.store.store import Store

WANTS = {EventType.CREATED: ("created",), EventType.RINGING: ("ringing",), EventType.ANSWERED: ("answered", "talking")}
LATER = NOW + 1000


async def an_endpoint(store: Store, **changes: Any) -> WebhookEndpoint:
    endpoint = WebhookEndpoint(
        id="hook_1",
        environment_id="env_1",
        dialect=Dialect.NATIVE,
        name="hook",
        url="https://example.com/hook",
        created_at=NOW,
        updated_at=NOW,
        events=("created", "ringing", "answered", "talking"),
        wants=WANTS,
    )
    endpoint = msgspec.structs.replace(endpoint, **changes)
    await store.put(endpoint)
    return endpoint


async def claimed(store: Store, now: int = LATER, limit: int = 100, cap: int = 100, **free: int) -> list[Delivery]:
    return [claim.delivery for claim in await store.claim(now, limit, cap, free)]


def names(deliveries: list[Delivery]) -> list[str]:
    return [one.event for one in deliveries]


def attempt(delivery: Delivery, **changes: Any) -> Attempt:
    number = delivery.attempt + 1
    made = Attempt(
        id=attempt_id(delivery.id, number),
        delivery_id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        environment_id=delivery.environment_id,
        call_id=delivery.call_id,
        event=delivery.event,
        attempt=number,
        status="success",
        request_payload='{"ü": 1}',
        duration_ms=7,
        created_at=LATER,
        http_status=200,
        response_body="ok",
        response_headers={"server": "x"},
    )
    return msgspec.structs.replace(made, **changes)


async def finish(store: Store, finished: Finished) -> None:
    """Record a result and take nothing new."""
    assert await store.claim(LATER, 0, 0, {}, [finished]) == []


async def done(store: Store, delivery: Delivery) -> Attempt:
    made = attempt(delivery)
    await finish(store, Finished(delivery.id, DeliveryState.DONE, LATER, made))
    return made


async def failed(store: Store, delivery: Delivery, retry_at: int) -> None:
    made = attempt(delivery, status="retrying", http_status=500)
    await finish(store, Finished(delivery.id, DeliveryState.DUE, retry_at, made, "HTTP 500"))


async def drained(store: Store) -> list[str]:
    """Deliver everything that waits; return the names in order."""
    delivered: list[str] = []
    while claims := await claimed(store):
        for one in claims:
            delivered.append(one.event)
            await done(store, one)
    return delivered


def of(claims: list[Claim]) -> list[str]:
    return [claim.endpoint.id for claim in claims]
