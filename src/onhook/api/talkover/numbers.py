"""TalkOver's phone numbers: the list, and which agent has which."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.talkover import errors
from onhook.api.talkover.agent_mapping import phone_number
from onhook.api.talkover.agent_schemas import NumbersQuery, PhoneNumberList
from onhook.api.talkover.laravel import LaravelRoute
from onhook.api.talkover.schemas import Failure, InvalidData
from onhook.calls.call import Direction
from onhook.store.store import Agent, Number

router = APIRouter(
    prefix="/api/v1", route_class=LaravelRoute, tags=["phone numbers"], responses={429: {"model": Failure}}
)


@router.get("/phone-numbers", responses={401: {"model": Failure}, 422: {"model": InvalidData}})
async def list_phone_numbers(request: CallerRequest, query: Annotated[NumbersQuery, Query()]) -> PhoneNumberList:
    """List the environment's phone numbers, newest first."""
    caller = request.caller
    numbers = await caller.store.find(Number, caller.environment_id)
    return PhoneNumberList(data=[phone_number(number) for number in numbers if _matches(number, query)])


async def numbers_named(request: CallerRequest, number_ids: Sequence[str]) -> list[Number]:
    """Return the numbers with these ids. Raises what Laravel says of the first that is not there."""
    caller = request.caller
    found: dict[str, Number] = {}
    for index, number_id in enumerate(number_ids):
        number = await caller.store.get(Number, number_id, caller.environment_id)
        if number is None:
            field = f"phone_number_ids.{index}"
            raise errors.invalid_fields(request, {field: [f"The selected {field.replace('_', ' ')} is invalid."]})
        found[number_id] = number
    return list(found.values())


async def bind_numbers(caller: Caller, agent: Agent, numbers: Sequence[Number]) -> list[Number]:
    """Have an agent use exactly these numbers, in its direction alone, and return them as they are then."""
    kept = {number.id for number in numbers}
    for number in await caller.store.find(Number, caller.environment_id):
        if number.is_used_by(agent.id) and number.id not in kept:
            await caller.put(_without(number, agent.id))
    field = "inbound_agent_id" if agent.direction is Direction.INBOUND else "agent_id"
    bound = [msgspec.structs.replace(_without(number, agent.id), **{field: agent.id}) for number in numbers]
    for number in bound:
        await caller.put(number)
    return bound


def _without(number: Number, agent_id: str) -> Number:
    """Return a number that an agent uses no more."""
    used = {"agent_id": number.agent_id, "inbound_agent_id": number.inbound_agent_id}
    left = {field: None if bound == agent_id else bound for field, bound in used.items()}
    return msgspec.structs.replace(number, **left)


def _matches(number: Number, query: NumbersQuery) -> bool:
    """Every number of ours carries voice, and nothing else."""
    return (
        query.type in (None, "voice")
        and query.has_voice in (None, True)
        and query.has_whatsapp in (None, False)
        and (query.search or "") in number.number
    )
