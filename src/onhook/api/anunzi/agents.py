"""Retell's agents, as far as placing calls needs them: who calls, for how long, and where its webhooks go."""

from typing import Any

import msgspec
from fastapi import APIRouter, Response

from onhook.agents.definition import DefinitionError
from onhook.agents.reading import definition_of
from onhook.api.anunzi import payloads
from onhook.api.anunzi.agent_schemas import AgentFields, AgentItem, AgentOut, Agents, CreateAgent, UpdateAgent
from onhook.api.anunzi.errors import COMMON, failure
from onhook.api.anunzi.paging import Limit, SortOrder, page_of
from onhook.api.anunzi.placing import agent_by_id
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.services import Caller
from onhook.calls.call import Dialect
from onhook.store.outbox import WebhookEndpoint
from onhook.store.store import Agent, Number
from onhook.webhooks.guard import check_url

RING_MS = 30_000
TIMEOUT_MS = 10_000
RETRIES = 3

router = APIRouter(route_class=CheckedRoute, tags=["agents"], responses=COMMON)


@router.post("/create-agent", status_code=201)
async def create_agent(request: CallerRequest, body: CreateAgent) -> AgentOut:
    """Create an agent. It is published at once. Its engine is kept as given: what speaks is the server's own kind."""
    caller = request.caller
    _check_webhook(caller, body)
    now = caller.now_ms()
    agent_id = f"agent_{request.nonce[:26]}"
    name = body.agent_name or agent_id
    agent = Agent(
        id=agent_id,
        environment_id=caller.environment_id,
        dialect=Dialect.ANUNZI,
        created_at=now,
        updated_at=now,
        name=name,
        label=name,
        published=True,
        max_duration_ms=body.max_call_duration_ms or 3_600_000,
        ring_timeout_ms=body.ring_duration_ms or RING_MS,
        kind=caller.services.agent_kind.value,
        settings=body.model_dump(exclude_unset=True),
    )
    _check_settings(caller, agent)
    await caller.put(agent)
    await _bind_webhook(caller, agent, switch_on=True)
    return agent_out(agent)


@router.get("/get-agent/{agent_id}")
async def get_agent(request: CallerRequest, agent_id: str) -> AgentOut:
    """Return one agent, of whichever dialect."""
    return agent_out(await _existing(request.caller, agent_id))


@router.patch("/update-agent/{agent_id}")
async def update_agent(request: CallerRequest, agent_id: str, body: UpdateAgent) -> AgentOut:
    """Change an agent; its version counts up. Running calls keep what they began with."""
    caller = request.caller
    _check_webhook(caller, body)
    agent = await _existing(caller, agent_id)
    agent = msgspec.structs.replace(
        agent,
        version=agent.version + 1,
        updated_at=caller.now_ms(),
        name=body.agent_name or agent.name,
        label=body.agent_name or agent.label,
        max_duration_ms=body.max_call_duration_ms or agent.max_duration_ms,
        ring_timeout_ms=body.ring_duration_ms or agent.ring_timeout_ms,
        settings=agent.settings | body.model_dump(exclude_unset=True),
    )
    _check_settings(caller, agent)
    await caller.put(agent)
    if "webhook_url" in agent.settings:
        await _bind_webhook(caller, agent, switch_on="webhook_url" in body.model_fields_set)
    return agent_out(agent)


@router.delete("/delete-agent/{agent_id}", status_code=204)
async def delete_agent(request: CallerRequest, agent_id: str) -> Response:
    """Delete an agent that no number uses. Its calls stay."""
    caller = request.caller
    agent = await _existing(caller, agent_id)
    if any(number.is_used_by(agent.id) for number in await caller.store.find(Number, caller.environment_id)):
        raise failure(400, "A phone number uses this agent.")
    await caller.delete(WebhookEndpoint, _endpoint_id(agent))
    await caller.delete(Agent, agent.id)
    return Response(status_code=204)


@router.post("/v2/list-agents", response_model_exclude_none=True)
async def list_agents(
    request: CallerRequest, limit: Limit = 50, pagination_key: str | None = None, sort_order: SortOrder = "descending"
) -> Agents:
    """List the environment's agents by creation. `filter_criteria` is not read: all agents are voice agents."""
    caller = request.caller
    page, more = page_of(await caller.store.find(Agent, caller.environment_id), limit, pagination_key, sort_order)
    items = [AgentItem(agent_id=one.id, agent_name=one.name, user_modified_timestamp=one.updated_at) for one in page]
    return Agents(items=items, has_more=more is not None, pagination_key=more)


@router.get("/list-agents")
async def list_all_agents(request: CallerRequest) -> list[AgentOut]:
    """List all agents in full, as SDKs before 6 ask for them."""
    caller = request.caller
    return [agent_out(one) for one in await caller.store.find(Agent, caller.environment_id)]


def agent_out(agent: Agent) -> AgentOut:
    """Return an agent in Retell's shape: as it was given, with what onhook knows better on top.

    An agent of another dialect has no engine and no voice of Retell's: its kind stands for them.
    """
    fields: dict[str, Any] = {
        "response_engine": {"type": "custom-llm", "llm_websocket_url": f"onhook:{agent.kind}"},
        "voice_id": f"onhook-{agent.kind}",
    }
    if agent.dialect is Dialect.ANUNZI:
        fields |= {name: value for name, value in agent.settings.items() if value is not None}
    fields |= {
        "agent_id": agent.id,
        "agent_name": agent.name,
        "version": agent.version,
        "is_published": agent.published,
        "max_call_duration_ms": agent.max_duration_ms,
        "ring_duration_ms": agent.ring_timeout_ms,
        "last_modification_timestamp": agent.updated_at,
    }
    return AgentOut.model_validate(fields)


def _check_webhook(caller: Caller, body: AgentFields) -> None:
    """Raise the error 400 for a `webhook_url` that deliveries may not go to."""
    if body.webhook_url is not None:
        wrong = check_url(body.webhook_url, allow_private=caller.services.webhook_allow_private)
        if wrong is not None:
            raise failure(400, f"webhook_url {wrong}.")


def _check_settings(caller: Caller, agent: Agent) -> None:
    """Raise the error 400 for settings that could not be put on a call."""
    try:
        definition_of(agent, None, caller.services.bot_urls)
    except DefinitionError as error:
        raise failure(400, f"{error}.") from error


async def _bind_webhook(caller: Caller, agent: Agent, *, switch_on: bool) -> None:
    """Make the agent's endpoint be what its fields say: its own URL replaces those of the whole environment.

    What the endpoint got elsewhere stays: its secrets, and that a receiver's 410 has switched it off, until somebody
    gives a URL again (`switch_on`).
    """
    url = agent.settings.get("webhook_url")
    if url is None:
        await caller.delete(WebhookEndpoint, _endpoint_id(agent))
        return
    names = agent.settings.get("webhook_events")
    events = payloads.DEFAULT_EVENTS if names is None else tuple(names)
    held = await caller.store.get(WebhookEndpoint, _endpoint_id(agent), caller.environment_id)
    endpoint = msgspec.structs.replace(
        held or _new_endpoint(agent),
        name=agent.name,
        url=url,
        updated_at=agent.updated_at,
        events=events,
        wants=payloads.wants(events),
        timeout_s=(agent.settings.get("webhook_timeout_ms") or TIMEOUT_MS) / 1000,
    )
    if switch_on:
        endpoint = msgspec.structs.replace(endpoint, enabled=True, status="active")
    await caller.put(endpoint)


def _new_endpoint(agent: Agent) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=_endpoint_id(agent),
        environment_id=agent.environment_id,
        dialect=Dialect.ANUNZI,
        name=agent.name,
        url="",
        created_at=agent.updated_at,
        updated_at=agent.updated_at,
        agent_id=agent.id,
        max_retries=RETRIES,
    )


def _endpoint_id(agent: Agent) -> str:
    return f"hook_{agent.id}"


async def _existing(caller: Caller, agent_id: str) -> Agent:
    agent = await agent_by_id(caller, agent_id)
    if agent is None:
        raise failure(422)
    return agent
