"""TalkOver's agent webhooks: create, list, get, change, delete, toggle, test, and their logs."""

import uuid
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query

from onhook.api.probes import probe
from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.talkover import errors
from onhook.api.talkover.agents import agent_named
from onhook.api.talkover.laravel import LaravelRoute
from onhook.api.talkover.payloads import EVENTS, probe_body
from onhook.api.talkover.schemas import Failure
from onhook.api.talkover.webhook_mapping import changes, fault_of, log_out, webhook_out
from onhook.api.talkover.webhook_schemas import (
    CreateWebhook,
    InvalidWebhook,
    LogList,
    LogsPagination,
    LogsQuery,
    NoToken,
    Requeued,
    RetryQueued,
    Tested,
    UpdateWebhook,
    WebhookAnswer,
    WebhookChanged,
    WebhookDeleted,
    WebhookList,
    Webhooks,
    WebhookTested,
)
from onhook.api.times import iso_microseconds
from onhook.calls.call import Dialect
from onhook.store.outbox import Attempt, WebhookEndpoint, attempt_id
from onhook.store.store import Agent
from onhook.webhooks.courier import KEEP_MS
from onhook.webhooks.guard import check_url

router = APIRouter(
    prefix="/api/v1/agents/{agent_id}/webhooks",
    route_class=LaravelRoute,
    tags=["webhooks"],
    responses={401: {"model": NoToken}, 404: {"model": Failure}, 429: {"model": Failure}},
)
FIELD_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure},
    415: {"model": Failure},
    422: {"model": InvalidWebhook},
}


@router.get("")
async def list_webhooks(request: CallerRequest, agent_id: str) -> WebhookList:
    """List an agent's webhooks, newest first, and the events that there are."""
    caller = request.caller
    agent = await _agent(caller, agent_id)
    endpoints = await caller.store.find(WebhookEndpoint, caller.environment_id)
    own = [webhook_out(endpoint) for endpoint in endpoints if _is_of(endpoint, agent)]
    return WebhookList(data=Webhooks(webhooks=own, available_events=EVENTS))


@router.post("", responses=FIELD_ERRORS)
async def create_webhook(request: CallerRequest, agent_id: str, body: CreateWebhook) -> WebhookChanged:
    """Have events of an agent's calls sent to a URL, from now on."""
    caller = request.caller
    agent = await _agent(caller, agent_id)
    _check_receiver(request, body.webhook_url)
    now = caller.now_ms()
    endpoint = WebhookEndpoint(
        id=str(uuid.uuid4()),
        environment_id=caller.environment_id,
        dialect=Dialect.TALKOVER,
        name=body.name,
        url=body.webhook_url,
        created_at=now,
        updated_at=now,
        agent_id=agent.id,
    )
    endpoint = msgspec.structs.replace(endpoint, **changes(body, caller.services.secrets.encrypt))
    await caller.put(endpoint)
    return WebhookChanged(message="Webhook created successfully", data=webhook_out(endpoint))


@router.get("/{webhook_id}")
async def get_webhook(request: CallerRequest, agent_id: str, webhook_id: str) -> WebhookAnswer:
    """Return one webhook."""
    return WebhookAnswer(data=webhook_out(await _webhook(request.caller, agent_id, webhook_id)))


@router.put("/{webhook_id}", responses=FIELD_ERRORS)
async def update_webhook(request: CallerRequest, agent_id: str, webhook_id: str, body: UpdateWebhook) -> WebhookChanged:
    """Change what is given of a webhook, from the next attempt on."""
    caller = request.caller
    endpoint = await _webhook(caller, agent_id, webhook_id)
    if body.webhook_url is not None:
        _check_receiver(request, body.webhook_url)
    endpoint = msgspec.structs.replace(
        endpoint, updated_at=caller.now_ms(), **changes(body, caller.services.secrets.encrypt)
    )
    await caller.put(endpoint)
    return WebhookChanged(message="Webhook updated successfully", data=webhook_out(endpoint))


@router.delete("/{webhook_id}")
async def delete_webhook(request: CallerRequest, agent_id: str, webhook_id: str) -> WebhookDeleted:
    """Delete a webhook; what is still to be delivered to it is dropped."""
    caller = request.caller
    endpoint = await _webhook(caller, agent_id, webhook_id)
    await caller.delete(WebhookEndpoint, endpoint.id)
    return WebhookDeleted()


@router.patch("/{webhook_id}/toggle")
async def toggle_webhook(request: CallerRequest, agent_id: str, webhook_id: str) -> WebhookChanged:
    """Switch a webhook off, or on again; events that happen in between are not sent."""
    caller = request.caller
    endpoint = await _webhook(caller, agent_id, webhook_id)
    enabled = not endpoint.enabled
    endpoint = msgspec.structs.replace(
        endpoint, enabled=enabled, status="active" if enabled else "disabled", updated_at=caller.now_ms()
    )
    await caller.put(endpoint)
    return WebhookChanged(message="Webhook enabled" if enabled else "Webhook disabled", data=webhook_out(endpoint))


@router.post("/{webhook_id}/test", responses={422: {"model": Failure}})
async def test_webhook(request: CallerRequest, agent_id: str, webhook_id: str) -> WebhookTested:
    """Send `webhook.test` now, once, as deliveries are sent, and return what came of it."""
    caller = request.caller
    agent = await _agent(caller, agent_id)
    endpoint = await _webhook(caller, agent_id, webhook_id)
    attempt = await probe(caller, endpoint, probe_body(endpoint, agent, caller.now_ms()))
    if attempt.http_status is None or attempt.status != "success":
        raise errors.failure(422, f"Webhook test failed: {fault_of(attempt)}")
    return WebhookTested(data=Tested(status_code=attempt.http_status, response_time=attempt.duration_ms))


@router.get("/{webhook_id}/logs", response_model_exclude_none=True, responses={422: {"model": InvalidWebhook}})
async def list_webhook_logs(
    request: CallerRequest, agent_id: str, webhook_id: str, query: Annotated[LogsQuery, Query()]
) -> LogList:
    """List the attempts of the last 30 days, newest first."""
    caller = request.caller
    endpoint = await _webhook(caller, agent_id, webhook_id)
    total = await caller.store.count_attempts(endpoint.id, caller.environment_id)
    offset = (query.page - 1) * query.per_page
    attempts = await caller.store.attempts(endpoint.id, caller.environment_id, query.per_page, offset)
    return LogList(
        data=[log_out(attempt) for attempt in attempts],
        pagination=LogsPagination(
            current_page=query.page,
            per_page=query.per_page,
            total=total,
            last_page=max(1, -(-total // query.per_page)),
        ),
    )


@router.post("/{webhook_id}/logs/{log_id}/retry", responses={422: {"model": Failure}})
async def retry_webhook_log(request: CallerRequest, agent_id: str, webhook_id: str, log_id: str) -> RetryQueued:
    """Deliver the event of a failed attempt once more, under a log of its own, to the webhook as it is now."""
    caller = request.caller
    endpoint = await _webhook(caller, agent_id, webhook_id)
    attempt = await caller.store.get_attempt(log_id, caller.environment_id)
    if attempt is None or attempt.endpoint_id != endpoint.id:
        raise errors.failure(404, "Webhook log not found.")
    now = caller.now_ms()
    delivery = await caller.store.redeliver(log_id, caller.environment_id, now) if _retriable(attempt, now) else None
    if delivery is None:
        raise errors.failure(422, "Log cannot be retried", "LOG_NOT_RETRIABLE")
    queued_at = iso_microseconds(delivery.created_at)
    return RetryQueued(data=Requeued(log_id=attempt_id(delivery.id, 1), original_log_id=log_id, queued_at=queued_at))


async def _agent(caller: Caller, agent_id: str) -> Agent:
    return await agent_named(caller, agent_id, otherwise="Agent not found in this environment.")


async def _webhook(caller: Caller, agent_id: str, webhook_id: str) -> WebhookEndpoint:
    agent = await _agent(caller, agent_id)
    endpoint = await caller.store.get(WebhookEndpoint, webhook_id, caller.environment_id)
    if endpoint is None or not _is_of(endpoint, agent):
        raise errors.failure(404, "Webhook not found.")
    return endpoint


def _is_of(endpoint: WebhookEndpoint, agent: Agent) -> bool:
    return endpoint.dialect is Dialect.TALKOVER and endpoint.agent_id == agent.id


def _retriable(attempt: Attempt, now: int) -> bool:
    return attempt.status != "success" and attempt.created_at >= now - KEEP_MS


def _check_receiver(request: CallerRequest, url: str) -> None:
    """Raise a 422 for a URL that deliveries may not go to."""
    fault = check_url(url, allow_private=request.caller.services.webhook_allow_private)
    if fault is not None:
        raise errors.invalid_fields(request, {"webhook_url": [f"The webhook url {fault}."]})
