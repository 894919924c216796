"""TalkOver's agents: list, create, get, publish, delete."""

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from onhook.api.recorded import forget_recording
from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.talkover import errors
from onhook.api.talkover.agent_mapping import agent_out, status_word
from onhook.api.talkover.agent_schemas import (
    AgentAnswer,
    AgentChanged,
    AgentDeleted,
    AgentList,
    AgentsMeta,
    AgentsQuery,
    AgentState,
    AgentStateChanged,
    CreateAgent,
)
from onhook.api.talkover.laravel import LaravelRoute
from onhook.api.talkover.numbers import bind_numbers, numbers_named
from onhook.api.talkover.schemas import Failure, InvalidData
from onhook.api.times import iso_seconds
from onhook.calls.call import Call, Dialect, Direction, new_agent_id
from onhook.store.outbox import WebhookEndpoint
from onhook.store.queries import CallFilter, Page
from onhook.store.store import Agent, Number

router = APIRouter(prefix="/api/v1", route_class=LaravelRoute, tags=["agents"], responses={429: {"model": Failure}})

OWN_FIELDS = frozenset({"name", "label", "direction", "max_call_duration_seconds", "phone_number_ids"})
"""What an agent's record holds itself; the rest of what its maker gave is kept in `settings`."""

DELETED_AT_ONCE = 100
"""Calls of a deleted agent that are hidden together; other writes get their turn in between."""


@router.get("/agents", responses={401: {"model": Failure}, 422: {"model": InvalidData}})
async def list_agents(request: CallerRequest, query: Annotated[AgentsQuery, Query()]) -> AgentList:
    """List the environment's agents, newest first."""
    caller = request.caller
    agents = [one for one in await caller.store.find(Agent, caller.environment_id) if _matches(one, query)]
    numbers = await caller.store.find(Number, caller.environment_id)
    first = (query.page - 1) * query.per_page
    return AgentList(
        data=[agent_out(agent, numbers) for agent in agents[first : first + query.per_page]],
        meta=AgentsMeta(
            current_page=query.page,
            per_page=query.per_page,
            total=len(agents),
            last_page=max(1, -(-len(agents) // query.per_page)),
        ),
    )


@router.post(
    "/agents",
    status_code=201,
    responses={
        400: {"model": Failure},
        401: {"model": Failure},
        415: {"model": Failure},
        422: {"model": InvalidData},
    },
)
async def create_agent(request: CallerRequest, body: CreateAgent) -> AgentChanged:
    """Create an agent, as a draft, and bind phone numbers to it."""
    caller = request.caller
    numbers = await numbers_named(request, body.phone_number_ids)
    now = caller.now_ms()
    max_duration_s = body.max_call_duration_seconds
    agent = Agent(
        id=new_agent_id(Dialect.TALKOVER),
        environment_id=caller.environment_id,
        dialect=Dialect.TALKOVER,
        name=body.name,
        label=body.label,
        created_at=now,
        updated_at=now,
        direction=Direction(body.direction),
        kind=caller.services.agent_kind.value,
        settings=body.model_dump(exclude=set(OWN_FIELDS), exclude_none=True),
    )
    if max_duration_s is not None:
        agent = msgspec.structs.replace(agent, max_duration_ms=max_duration_s * 1000)
    await caller.put(agent)
    bound = await bind_numbers(caller, agent, numbers)
    return AgentChanged(message="Agent created successfully", data=agent_out(agent, bound))


@router.get("/agents/{agent_id}", responses={401: {"model": Failure}, 404: {"model": Failure}})
async def get_agent(request: CallerRequest, agent_id: str) -> AgentAnswer:
    """Return one agent."""
    caller = request.caller
    agent = await agent_named(caller, agent_id)
    return AgentAnswer(data=agent_out(agent, await caller.store.find(Number, caller.environment_id)))


@router.delete(
    "/agents/{agent_id}", responses={401: {"model": Failure}, 404: {"model": Failure}, 409: {"model": Failure}}
)
async def delete_agent(request: CallerRequest, agent_id: str) -> AgentDeleted:
    """Delete an agent that is unpublished and has no call going on, with its calls and webhooks.

    Its phone numbers are free afterwards. The history goes first: a request that breaks off can be sent again.
    """
    caller = request.caller
    agent = await agent_named(caller, agent_id)
    live = CallFilter(environment_id=caller.environment_id, agent_ids=(agent_id,), over=False)
    if await caller.store.list_calls(live, Page(limit=1)):
        raise errors.failure(409, "Cannot delete agent while it has active calls.", "AGENT_HAS_ACTIVE_CALLS")
    if agent.published:
        raise errors.failure(409, "Cannot delete agent while it is published.", "AGENT_IS_PUBLISHED")
    await _delete_history(caller, agent_id)
    for endpoint in await caller.store.find(WebhookEndpoint, caller.environment_id):
        if endpoint.agent_id == agent_id:
            await caller.delete(WebhookEndpoint, endpoint.id)
    await bind_numbers(caller, agent, [])
    await caller.delete(Agent, agent_id)
    return AgentDeleted()


@router.post("/agents/{agent_id}/publish", responses={401: {"model": Failure}, 404: {"model": Failure}})
async def publish_agent(request: CallerRequest, agent_id: str) -> AgentStateChanged:
    """Let an agent take calls."""
    caller = request.caller
    return await _set_published(caller, agent_id, published=True, message="Agent published successfully")


@router.post("/agents/{agent_id}/unpublish", responses={401: {"model": Failure}, 404: {"model": Failure}})
async def unpublish_agent(request: CallerRequest, agent_id: str) -> AgentStateChanged:
    """Take an agent out of service: running calls go on, new ones are refused."""
    caller = request.caller
    return await _set_published(caller, agent_id, published=False, message="Agent unpublished successfully")


async def agent_named(caller: Caller, agent_id: str, otherwise: str = "Agent not found") -> Agent:
    """Return an agent of the caller's environment. Raises a 404 that says `otherwise`."""
    agent = await caller.store.get(Agent, agent_id, caller.environment_id)
    if agent is None:
        raise errors.failure(404, otherwise)
    return agent


def _matches(agent: Agent, query: AgentsQuery) -> bool:
    wanted = (query.search or "").lower()
    return (
        query.status in (None, status_word(agent))
        and query.direction in (None, agent.direction.value)
        and (wanted in agent.name.lower() or wanted in agent.label.lower())
    )


async def _set_published(caller: Caller, agent_id: str, *, published: bool, message: str) -> AgentStateChanged:
    agent = await agent_named(caller, agent_id)
    agent = msgspec.structs.replace(agent, published=published, updated_at=caller.now_ms())
    await caller.put(agent)
    state = AgentState(
        id=agent.id,
        name=agent.name,
        current_status=status_word(agent),
        updated_at=iso_seconds(agent.updated_at),
    )
    return AgentStateChanged(message=message, data=state)


async def _delete_history(caller: Caller, agent_id: str) -> None:
    """Delete all calls of an agent, a page at a time; those of a page share one transaction."""
    where = CallFilter(environment_id=caller.environment_id, agent_ids=(agent_id,), over=True)
    page = Page(limit=DELETED_AT_ONCE)
    while calls := await caller.store.list_calls(where, page):
        await asyncio.gather(*(_delete_call(caller, call) for call in calls))
        page = Page(limit=DELETED_AT_ONCE, after=(calls[-1].created_at, calls[-1].id))


async def _delete_call(caller: Caller, call: Call) -> None:
    await forget_recording(caller, call.id)
    await caller.store.delete_call(call.id, caller.environment_id, caller.now_ms(), caller.act())
