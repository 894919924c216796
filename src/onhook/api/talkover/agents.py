"""TalkOver's agents and phone numbers: list, create, get, publish."""

from typing import Annotated

import msgspec
import phonenumbers
from fastapi import APIRouter, Query

from onhook.api.errors import ApiError
from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.talkover import errors
from onhook.api.talkover.laravel import INVALID_DATA, LaravelRoute
from onhook.api.talkover.mapping import national
from onhook.api.talkover.schemas import (
    AgentAnswer,
    AgentCreated,
    AgentList,
    AgentOut,
    AgentsMeta,
    AgentsQuery,
    AgentState,
    AgentStateChanged,
    CreateAgent,
    Failure,
    InvalidData,
    NumberOut,
    PhoneNumber,
    PhoneNumberList,
)
from onhook.api.times import iso_seconds
from onhook.calls.call import Dialect, Direction, new_agent_id
from onhook.store.store import Agent, Number

router = APIRouter(prefix="/api/v1", route_class=LaravelRoute, tags=["agents"])

OWN_FIELDS = frozenset({"name", "label", "direction", "max_call_duration_seconds", "phone_number_ids"})
"""What an agent's record holds itself; the rest of what its maker gave is kept in `settings`."""


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


@router.post("/agents", status_code=201, responses={401: {"model": Failure}, 422: {"model": InvalidData}})
async def create_agent(request: CallerRequest, body: CreateAgent) -> AgentCreated:
    """Create an agent, as a draft, and bind phone numbers to it."""
    caller = request.caller
    numbers = await _numbers(caller, body.phone_number_ids)
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
        settings=body.model_dump(exclude=set(OWN_FIELDS), exclude_none=True),
    )
    if max_duration_s is not None:
        agent = msgspec.structs.replace(agent, max_duration_ms=max_duration_s * 1000)
    await caller.store.put(agent)
    bound = [msgspec.structs.replace(number, agent_id=agent.id) for number in numbers]
    for number in bound:
        await caller.store.put(number)
    return AgentCreated(message="Agent created successfully", data=agent_out(agent, bound))


@router.get("/agents/{agent_id}", responses={401: {"model": Failure}, 404: {"model": Failure}})
async def get_agent(request: CallerRequest, agent_id: str) -> AgentAnswer:
    """Return one agent."""
    caller = request.caller
    agent = await _agent(caller, agent_id)
    return AgentAnswer(data=agent_out(agent, await caller.store.find(Number, caller.environment_id)))


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


@router.get("/phone-numbers", responses={401: {"model": Failure}}, tags=["phone numbers"])
async def list_phone_numbers(request: CallerRequest, search: str | None = None) -> PhoneNumberList:
    """List the environment's phone numbers, newest first."""
    caller = request.caller
    numbers = await caller.store.find(Number, caller.environment_id)
    found = [number for number in numbers if not search or search in number.number]
    return PhoneNumberList(data=[_phone_number(number) for number in found])


def agent_out(agent: Agent, numbers: list[Number]) -> AgentOut:
    """Return an agent in TalkOver's shape; what another dialect's agent does not have gets TalkOver's default."""
    settings = agent.settings
    return AgentOut(
        id=agent.id,
        name=agent.name,
        label=agent.label,
        description=settings.get("description"),
        language=settings.get("language", "en-US"),
        initial_message=settings.get("initial_message"),
        interrupt_sensitivity=settings.get("interrupt_sensitivity", "medium"),
        conversation_speed=settings.get("conversation_speed", 1.0),
        initial_message_delay=settings.get("initial_message_delay", 0),
        ask_if_human_present_on_idle=settings.get("ask_if_human_present_on_idle", False),
        direction=agent.direction.value,
        who_speaks_first=settings.get("who_speaks_first", "agent"),
        current_status="published" if agent.published else "draft",
        created_at=iso_seconds(agent.created_at),
        updated_at=iso_seconds(agent.updated_at),
        phone_numbers=[_number_out(number) for number in numbers if number.agent_id == agent.id],
    )


def _matches(agent: Agent, query: AgentsQuery) -> bool:
    wanted = (query.search or "").lower()
    return (
        query.status in (None, "published" if agent.published else "draft")
        and query.direction in (None, agent.direction.value)
        and (wanted in agent.name.lower() or wanted in agent.label.lower())
    )


async def _agent(caller: Caller, agent_id: str) -> Agent:
    agent = await caller.store.get(Agent, agent_id, caller.environment_id)
    if agent is None:
        raise errors.failure(404, "Agent not found")
    return agent


async def _set_published(caller: Caller, agent_id: str, *, published: bool, message: str) -> AgentStateChanged:
    agent = await _agent(caller, agent_id)
    agent = msgspec.structs.replace(agent, published=published, updated_at=caller.now_ms())
    await caller.store.put(agent)
    state = AgentState(
        id=agent.id,
        name=agent.name,
        current_status="published" if published else "draft",
        updated_at=iso_seconds(agent.updated_at),
    )
    return AgentStateChanged(message=message, data=state)


async def _numbers(caller: Caller, number_ids: list[str]) -> list[Number]:
    """Return the numbers with these ids, or raise what Laravel says of the first that is not there."""
    found: list[Number] = []
    for index, number_id in enumerate(number_ids):
        number = await caller.store.get(Number, number_id, caller.environment_id)
        if number is None:
            name = f"phone_number_ids.{index}"
            message = f"The selected {name.replace('_', ' ')} is invalid."
            body = {"success": False, "message": INVALID_DATA, "errors": {name: [message]}}
            raise ApiError(422, body)
        found.append(number)
    return found


def _number_out(number: Number) -> NumberOut:
    parsed = phonenumbers.parse(number.number)
    return NumberOut(
        id=number.id,
        number=number.number,
        country_code=phonenumbers.region_code_for_number(parsed) or "",
        formatted_number=national(number.number),
        international_number=phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL),
    )


def _phone_number(number: Number) -> PhoneNumber:
    created_at = iso_seconds(number.created_at)
    return PhoneNumber(**dict(_number_out(number)), created_at=created_at, updated_at=created_at)
