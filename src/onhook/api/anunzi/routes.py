"""All routes of the Anunzi/Retell API."""

import re
from typing import Any

from fastapi import APIRouter, Response
from starlette.convertors import StringConvertor, register_url_convertor

from onhook.api.anunzi.errors import failure, refused
from onhook.api.anunzi.idempotency import RecentCalls
from onhook.api.anunzi.listing import ListCalls, list_page
from onhook.api.anunzi.mapping import phone_call
from onhook.api.anunzi.schemas import Calls, CreatePhoneCall, Error, PhoneCall
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.services import Caller
from onhook.api.stops import proof_header, stop_call
from onhook.calls.call import CallDetails, Dialect
from onhook.control.place import PlaceOrder, RefusedError
from onhook.store.store import Agent

LATEST = ("latest", "latest_published")
"""Version names that mean the agent as it stands; earlier versions are not kept."""

CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AnyText(StringConvertor):
    """Takes whatever follows: slashes, line breaks, nothing. A malformed id is a bad request, not an unknown route."""

    regex = r"[\s\S]*"


register_url_convertor("any", AnyText())

COMMON: dict[int | str, dict[str, Any]] = {
    400: {"model": Error},
    401: {"model": Error},
    422: {"model": Error},
    500: {"model": Error},
}

router = APIRouter(route_class=CheckedRoute, tags=["calls"], responses=COMMON)


@router.post("/v2/create-phone-call", status_code=201, response_model_exclude_none=True)
async def create_phone_call(request: CallerRequest, body: CreatePhoneCall) -> PhoneCall:
    """Dial a number. The call is durable when this answers."""
    caller = request.caller
    if body.agent_override:
        raise failure(400, "agent_override is not supported by this server.")
    agent = await _agent_for(caller, body)
    order = PlaceOrder(
        environment_id=caller.environment_id,
        dialect=Dialect.ANUNZI,
        to_number=body.to_number,
        agent_id=body.override_agent_id,
        from_number=body.from_number,
        details=CallDetails(
            metadata=body.metadata or {},
            dynamic_variables=body.retell_llm_dynamic_variables or {},
            sip_headers=dict(body.custom_sip_headers or {}),
            agent_version=agent.version,
        ),
    )
    recent: RecentCalls = request.app.state.recent_calls
    try:
        if body.idempotency_key is None:
            call = await caller.services.placer.place(order)
        else:
            call = await recent.once(caller.key.id, body.idempotency_key, lambda: caller.services.placer.place(order))
    except RefusedError as error:
        raise refused(error) from error
    return phone_call(await caller.store.get_call(call.id, caller.environment_id) or call, agent)


@router.get("/v2/get-call/{call_id:any}", response_model_exclude_none=True)
async def get_call(request: CallerRequest, call_id: str) -> PhoneCall:
    """Return one call."""
    caller = request.caller
    call = await caller.store.get_call(_checked(call_id), caller.environment_id)
    if call is None:
        raise failure(422)
    return phone_call(call, await _agent(caller, call.agent_id))


@router.post("/v3/list-calls", response_model_exclude_none=True)
async def list_calls(request: CallerRequest, body: ListCalls | None = None) -> Calls:
    """List calls, newest first unless `sort_order` says otherwise."""
    caller = request.caller
    listed = await list_page(caller, body or ListCalls())
    agents = {agent_id: await _agent(caller, agent_id) for agent_id in {call.agent_id for call in listed.calls}}
    return Calls(
        items=[phone_call(call, agents[call.agent_id]) for call in listed.calls],
        has_more=listed.next_key is not None,
        pagination_key=listed.next_key,
        total=listed.total,
    )


@router.post("/v2/stop-call/{call_id:any}", status_code=204)
async def stop(request: CallerRequest, call_id: str) -> Response:
    """End a call in whatever state it is. A body is never read.

    The stop is durable and carried out when this answers; the header `Onhook-Proof` says whether the far end
    has confirmed it. Stopping a call that is over answers 204 again and changes nothing.
    """
    caller = request.caller
    stopped = await stop_call(caller, _checked(call_id))
    if stopped is None:
        raise failure(422)
    return Response(status_code=204, headers=proof_header(stopped.call))


def _checked(call_id: str) -> str:
    """Return a call id that is well formed, or raise the error 400."""
    if CALL_ID.fullmatch(call_id) is None:
        raise failure(400)
    return call_id


async def _agent_for(caller: Caller, body: CreatePhoneCall) -> Agent:
    """Return the agent that is to speak, in the version asked for, or raise the error 422 (400 when none is bound)."""
    number = await caller.store.number_by_value(caller.environment_id, body.from_number)
    if number is None:
        raise failure(422)
    agent_id = body.override_agent_id or number.agent_id
    if agent_id is None:
        raise failure(400, "No agent is bound to this number")
    agent = await _agent(caller, agent_id)
    if agent is None or str(body.override_agent_version) not in {"None", *LATEST, str(agent.version)}:
        raise failure(422)
    return agent


async def _agent(caller: Caller, agent_id: str) -> Agent | None:
    return await caller.store.get(Agent, agent_id, caller.environment_id)


ROUTERS = (router,)
