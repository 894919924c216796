"""Our own API's webhooks: create, change, sign anew, try, look at what was sent, send again."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from onhook.api.native import payloads
from onhook.api.native.errors import COMMON, CREATES, WITH_BODY, invalid_field, not_found, problem, problems
from onhook.api.native.once import OnceRoute
from onhook.api.native.webhook_mapping import attempt_out, probe_body, webhook_out
from onhook.api.native.webhook_schemas import (
    AttemptOut,
    Attempts,
    PageQuery,
    PutWebhook,
    Queued,
    Replayed,
    ReplayEvents,
    RotateSecret,
    WebhookCreated,
    WebhookOut,
    Webhooks,
    WebhookSecret,
)
from onhook.api.probes import probe
from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.times import iso_ms
from onhook.calls.call import Dialect
from onhook.store.outbox import Attempt, Replay, WebhookEndpoint
from onhook.store.store import Agent
from onhook.webhooks.guard import check_url
from onhook.webhooks.retries import NATIVE_RETRIES
from onhook.webhooks.signatures import new_webhook_secret

HOUR_MS = 3_600_000

router = APIRouter(
    prefix="/v1/webhooks",
    route_class=OnceRoute,
    tags=["webhooks"],
    responses=COMMON,
)


@router.get("")
async def list_webhooks(request: CallerRequest) -> Webhooks:
    """List the environment's webhooks, those of the other dialects too, newest first."""
    caller = request.caller
    found = await caller.store.find(WebhookEndpoint, caller.environment_id)
    return Webhooks(items=[webhook_out(one) for one in found])


@router.post("", status_code=201, responses=CREATES)
async def create_webhook(request: CallerRequest, body: PutWebhook) -> WebhookCreated:
    """Have events sent to a URL, from now on. The answer is the only place where the secret is ever shown."""
    caller, now = request.caller, request.caller.now_ms()
    await _check(caller, body)
    secret = new_webhook_secret()
    endpoint = WebhookEndpoint(
        id=f"hook_{request.nonce[:24]}",
        environment_id=caller.environment_id,
        dialect=Dialect.NATIVE,
        name=body.name,
        url=body.url,
        created_at=now,
        updated_at=now,
        secret=caller.services.secrets.encrypt(secret),
        max_retries=NATIVE_RETRIES,
    )
    endpoint = msgspec.structs.replace(endpoint, **_fields(body))
    await caller.put(endpoint)
    return WebhookCreated(**dict(webhook_out(endpoint)), secret=secret)


@router.get("/{webhook_id}")
async def get_webhook(request: CallerRequest, webhook_id: str) -> WebhookOut:
    """Return one webhook."""
    return webhook_out(await _existing(request.caller, webhook_id))


@router.put("/{webhook_id}", responses=WITH_BODY | problems(409))
async def replace_webhook(request: CallerRequest, webhook_id: str, body: PutWebhook) -> WebhookOut:
    """Replace a webhook of ours, from the next attempt on. Its secret stays."""
    caller = request.caller
    endpoint = await _existing(caller, webhook_id)
    if endpoint.dialect is not Dialect.NATIVE:
        raise problem(409, f"This webhook belongs to the {endpoint.dialect} API.", code="webhook_of_another_dialect")
    await _check(caller, body)
    endpoint = msgspec.structs.replace(endpoint, updated_at=caller.now_ms(), **_fields(body))
    await caller.put(endpoint)
    return webhook_out(endpoint)


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(request: CallerRequest, webhook_id: str) -> Response:
    """Delete a webhook; what is still to be delivered to it is dropped."""
    caller = request.caller
    if not await caller.delete(WebhookEndpoint, webhook_id):
        raise not_found("webhook")
    return Response(status_code=204)


@router.post("/{webhook_id}/rotate-secret", responses=WITH_BODY)
async def rotate_secret(request: CallerRequest, webhook_id: str, body: RotateSecret | None = None) -> WebhookSecret:
    """Give a webhook a new secret. For a while both sign, so that the receiver can change over."""
    caller, now = request.caller, request.caller.now_ms()
    endpoint = await _existing(caller, webhook_id)
    until = now + round((body or RotateSecret()).overlap_hours * HOUR_MS)
    secret = new_webhook_secret()
    endpoint = msgspec.structs.replace(
        endpoint,
        secret=caller.services.secrets.encrypt(secret),
        previous_secret=endpoint.secret,
        previous_secret_until=until,
        updated_at=now,
    )
    await caller.put(endpoint)
    return WebhookSecret(secret=secret, previous_secret_until=iso_ms(until))


@router.post("/{webhook_id}/test")
async def test_webhook(request: CallerRequest, webhook_id: str) -> AttemptOut:
    """Send `webhook.test` now, once, signed as deliveries are, and return what came of it."""
    caller = request.caller
    endpoint = await _existing(caller, webhook_id)
    return attempt_out(await probe(caller, endpoint, probe_body(endpoint, caller.now_ms())))


@router.get("/{webhook_id}/attempts")
async def list_attempts(request: CallerRequest, webhook_id: str, query: Annotated[PageQuery, Query()]) -> Attempts:
    """List the attempts of the last 30 days, newest first."""
    caller = request.caller
    endpoint = await _existing(caller, webhook_id)
    found = await caller.store.attempts(endpoint.id, caller.environment_id, query.limit, query.offset)
    total = await caller.store.count_attempts(endpoint.id, caller.environment_id)
    return Attempts(items=[attempt_out(one) for one in found], total=total)


@router.get("/{webhook_id}/attempts/{attempt_id}")
async def get_attempt(request: CallerRequest, webhook_id: str, attempt_id: str) -> AttemptOut:
    """Return one attempt."""
    return attempt_out(await _attempt(request.caller, webhook_id, attempt_id))


@router.post("/{webhook_id}/attempts/{attempt_id}/retry", status_code=202, responses=problems(409))
async def retry_attempt(request: CallerRequest, webhook_id: str, attempt_id: str) -> Queued:
    """Deliver what an attempt was about once more, to the webhook as it is now."""
    caller = request.caller
    attempt = await _attempt(caller, webhook_id, attempt_id)
    delivery = await caller.store.redeliver(attempt.id, caller.environment_id, caller.now_ms())
    if delivery is None:
        raise problem(409, "The webhook is off, or there is no event to deliver again.", code="not_retriable")
    return Queued(delivery_id=delivery.id)


@router.post("/{webhook_id}/replay", status_code=202, responses=WITH_BODY | problems(409))
async def replay(request: CallerRequest, webhook_id: str, body: ReplayEvents) -> Replayed:
    """Deliver events of the log again, to the webhook as it is now, in the order of the log."""
    caller = request.caller
    endpoint = await _existing(caller, webhook_id)
    if not endpoint.enabled:
        raise problem(409, "The webhook is off.", code="webhook_off")
    queued = await caller.store.replay(
        Replay(
            endpoint_id=endpoint.id,
            environment_id=caller.environment_id,
            at=caller.now_ms(),
            since=body.since,
            until=body.until,
            call_id=body.call_id,
            events=tuple(body.events),
        )
    )
    return Replayed(queued=queued)


def _fields(body: PutWebhook) -> dict[str, object]:
    """Return what a body sets of an endpoint. Who switches it on forgives it what had switched it off."""
    events = tuple(one.value for one in body.events)
    given = body.model_dump(include={"name", "url", "agent_id", "enabled", "headers", "timeout_s", "hold_s"})
    status = "active" if body.enabled else "disabled"
    return given | {"events": events, "wants": payloads.wants(events), "status": status}


async def _check(caller: Caller, body: PutWebhook) -> None:
    """Raise the error 422 for a URL that deliveries may not go to, and for an agent that is not there."""
    wrong = check_url(body.url, allow_private=caller.services.webhook_allow_private)
    if wrong is not None:
        raise invalid_field("url", f"The URL {wrong}.")
    if body.agent_id is not None and await caller.store.get(Agent, body.agent_id, caller.environment_id) is None:
        raise invalid_field("agent_id", "There is no such agent.")


async def _existing(caller: Caller, webhook_id: str) -> WebhookEndpoint:
    endpoint = await caller.store.get(WebhookEndpoint, webhook_id, caller.environment_id)
    if endpoint is None:
        raise not_found("webhook")
    return endpoint


async def _attempt(caller: Caller, webhook_id: str, attempt_id: str) -> Attempt:
    endpoint = await _existing(caller, webhook_id)
    attempt = await caller.store.get_attempt(attempt_id, caller.environment_id)
    if attempt is None or attempt.endpoint_id != endpoint.id:
        raise not_found("attempt")
    return attempt
