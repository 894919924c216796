"""The settings of TalkOver's agents. Whoever changes them makes the agent a draft again."""

from typing import Any

import msgspec
from fastapi import APIRouter

from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.talkover.agent_mapping import agent_out, numbers_of, status_word
from onhook.api.talkover.agent_schemas import (
    AgentCalling,
    AgentChanged,
    AgentKnowledge,
    AgentVoice,
    CallingChanged,
    CallingState,
)
from onhook.api.talkover.agents import agent_named
from onhook.api.talkover.laravel import LaravelRoute
from onhook.api.talkover.numbers import bind_numbers, numbers_named
from onhook.api.talkover.schemas import Failure, InvalidData
from onhook.api.times import iso_seconds
from onhook.calls.call import Direction
from onhook.store.store import Agent, Number

router = APIRouter(
    prefix="/api/v1/agents/{agent_id}",
    route_class=LaravelRoute,
    tags=["agents"],
    responses={
        400: {"model": Failure},
        401: {"model": Failure},
        404: {"model": Failure},
        415: {"model": Failure},
        422: {"model": InvalidData},
        429: {"model": Failure},
    },
)


@router.put("/knowledge")
async def update_agent_knowledge(request: CallerRequest, agent_id: str, body: AgentKnowledge) -> AgentChanged:
    """Replace what an agent knows; it becomes a draft."""
    return await _change(request.caller, agent_id, body.model_dump(exclude_none=True), "Agent knowledge")


@router.put("/voice")
async def update_agent_voice(request: CallerRequest, agent_id: str, body: AgentVoice) -> AgentChanged:
    """Replace how an agent sounds; it becomes a draft."""
    return await _change(request.caller, agent_id, body.model_dump(exclude_none=True), "Agent voice")


@router.put("/calling")
async def update_agent_calling(request: CallerRequest, agent_id: str, body: AgentCalling) -> CallingChanged:
    """Replace which way an agent calls and with which numbers; it becomes a draft."""
    caller = request.caller
    agent = await agent_named(caller, agent_id)
    numbers = [one for one in await caller.store.find(Number, caller.environment_id) if one.is_used_by(agent_id)]
    if body.phone_number_ids is not None:
        numbers = await numbers_named(request, body.phone_number_ids)
    agent = msgspec.structs.replace(
        agent, direction=Direction(body.direction), published=False, updated_at=caller.now_ms()
    )
    numbers = await bind_numbers(caller, agent, numbers)
    await caller.put(agent)
    state = CallingState(
        id=agent.id,
        name=agent.name,
        direction=body.direction,
        current_status=status_word(agent),
        phone_numbers=numbers_of(agent, numbers),
        updated_at=iso_seconds(agent.updated_at),
    )
    return CallingChanged(data=state)


async def _change(caller: Caller, agent_id: str, settings: dict[str, Any], what: str) -> AgentChanged:
    """Put new settings over an agent's own."""
    agent: Agent = await agent_named(caller, agent_id)
    agent = msgspec.structs.replace(
        agent, settings=agent.settings | settings, published=False, updated_at=caller.now_ms()
    )
    await caller.put(agent)
    numbers = await caller.store.find(Number, caller.environment_id)
    return AgentChanged(message=f"{what} updated successfully", data=agent_out(agent, numbers))
