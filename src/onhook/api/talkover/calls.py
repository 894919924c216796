"""TalkOver's calls: make, end, find, list."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.stops import proof_header, stop_call
from onhook.api.talkover import errors
from onhook.api.talkover.laravel import LaravelRoute
from onhook.api.talkover.mapping import (
    active_call,
    call_item,
    call_item_with_agent,
    ended_reason_of,
    states_and_outcomes,
    status_of,
)
from onhook.api.talkover.schemas import (
    ActiveCalls,
    AgentCallList,
    AgentCallsQuery,
    CallEnded,
    CallList,
    CallsQuery,
    EndCall,
    EndedCall,
    Failure,
    InvalidData,
    MadeCall,
    MakeCall,
    MakeCallFailure,
    Pagination,
    PlacedCall,
)
from onhook.api.times import iso_seconds
from onhook.calls.call import Call, CallDetails, Dialect, Direction
from onhook.control.place import PlaceOrder, RefusedError
from onhook.store.queries import CallFilter, Page
from onhook.store.store import Agent

MAX_ACTIVE = 100


router = APIRouter(prefix="/api/v1", route_class=LaravelRoute, tags=["calls"])


@router.post(
    "/agents/{agent_id}/call",
    responses={
        400: {"model": MakeCallFailure | Failure},
        401: {"model": MakeCallFailure},
        404: {"model": MakeCallFailure},
        415: {"model": Failure},
        422: {"model": InvalidData},
        429: {"model": MakeCallFailure},
    },
)
async def make_call(request: CallerRequest, agent_id: str, body: MakeCall) -> MadeCall:
    """Dial a number with a published agent. The call is durable when this answers."""
    caller = request.caller
    order = PlaceOrder(
        environment_id=caller.environment_id,
        dialect=Dialect.TALKOVER,
        to_number=body.to,
        agent_id=agent_id,
        delay_s=body.delay_seconds or 0,
        by=caller.act(),
        details=CallDetails(
            payload=body.payload or {}, context=body.context or {}, is_testing=body.is_testing or False
        ),
    )
    try:
        call = await caller.services.placer.place(order)
    except RefusedError as error:
        raise errors.refused(error, agent_id, body.to) from error
    placed = PlacedCall(
        id=call.id,
        agent_id=call.agent_id,
        to=call.to_number,
        status=status_of(call),
        created_at=iso_seconds(call.created_at),
    )
    return MadeCall(data=placed)


@router.post(
    "/agents/{agent_id}/end-call",
    responses={
        400: {"model": Failure},
        401: {"model": Failure},
        404: {"model": Failure},
        409: {"model": Failure},
        415: {"model": Failure},
        422: {"model": InvalidData},
    },
)
async def end_call(request: CallerRequest, agent_id: str, body: EndCall, response: Response) -> CallEnded:
    """End a call in whatever state it is.

    The stop is durable and carried out when this answers; the header `Onhook-Proof` says whether the far end
    has confirmed it. A call that is over already answers 409.
    """
    caller = request.caller
    stopped = await stop_call(caller, body.call_sid, agent_id=agent_id, or_sip_call_id=True)
    if stopped is None:
        raise errors.failure(404, "Call not found for this agent")
    call = stopped.call
    if not stopped.first or call.ended_at is None:
        raise errors.failure(409, "Call is not active", "CALL_NOT_ACTIVE").with_headers(proof_header(call))
    response.headers.update(proof_header(call))
    return CallEnded(
        data=EndedCall(id=call.id, ended_at=iso_seconds(call.ended_at), ended_reason=ended_reason_of(call))
    )


@router.get(
    "/agents/{agent_id}/active-call/{phone}",
    responses={401: {"model": Failure}, 404: {"model": Failure}, 429: {"model": Failure}},
)
async def get_active_call(request: CallerRequest, agent_id: str, phone: str) -> ActiveCalls:
    """Find the calls of an agent with a phone number, ours or theirs, that are going on."""
    caller = request.caller
    where = CallFilter(environment_id=caller.environment_id, agent_ids=(agent_id,), phone=phone, over=False)
    calls = await caller.store.list_calls(where, Page(limit=MAX_ACTIVE))
    if not calls:
        raise errors.failure(404, "No active call found for this phone number")
    return ActiveCalls(data=[active_call(call, caller.now_ms()) for call in calls])


@router.get("/calls", responses={401: {"model": Failure}, 422: {"model": InvalidData}, 429: {"model": Failure}})
async def list_calls(request: CallerRequest, query: Annotated[CallsQuery, Query()]) -> CallList:
    """List the environment's calls, newest first."""
    caller = request.caller
    calls, pagination = await _page(caller, query, query.agent_id)
    agents = {agent_id: await _agent(caller, agent_id) for agent_id in {call.agent_id for call in calls}}
    now = caller.now_ms()
    return CallList(
        data=[call_item_with_agent(call, now, agents[call.agent_id]) for call in calls], pagination=pagination
    )


@router.get(
    "/agents/{agent_id}/calls",
    responses={
        401: {"model": Failure},
        404: {"model": Failure},
        422: {"model": InvalidData},
        429: {"model": Failure},
    },
)
async def get_agent_calls(
    request: CallerRequest, agent_id: str, query: Annotated[AgentCallsQuery, Query()]
) -> AgentCallList:
    """List an agent's calls, newest first."""
    caller = request.caller
    if await _agent(caller, agent_id) is None:
        raise errors.failure(404, "Agent not found")
    calls, pagination = await _page(caller, query, agent_id)
    now = caller.now_ms()
    return AgentCallList(data=[call_item(call, now) for call in calls], pagination=pagination)


async def _agent(caller: Caller, agent_id: str) -> Agent | None:
    return await caller.store.get(Agent, agent_id, caller.environment_id)


async def _page(caller: Caller, query: AgentCallsQuery, agent_id: str | None) -> tuple[list[Call], Pagination]:
    where = _filter(caller.environment_id, query, agent_id)
    offset = (query.page - 1) * query.per_page
    total = await caller.store.count_calls(where)
    calls = await caller.store.list_calls(where, Page(limit=query.per_page, offset=offset))
    return calls, Pagination(
        current_page=query.page,
        last_page=max(1, -(-total // query.per_page)),
        per_page=query.per_page,
        total=total,
        from_=offset + 1 if calls else 0,
        to=offset + len(calls) if calls else 0,
    )


def _filter(environment_id: str, query: AgentCallsQuery, agent_id: str | None) -> CallFilter:
    states, outcomes = states_and_outcomes(query.status) if query.status else ((), ())
    return CallFilter(
        environment_id=environment_id,
        states=states,
        outcomes=outcomes,
        agent_ids=(agent_id,) if agent_id else (),
        direction=Direction(query.direction) if query.direction else None,
        created_from=_midnight(query.date_from) if query.date_from else None,
        created_to=_midnight(query.date_to, days=1) if query.date_to else None,
        search=query.search or None,
        to_number=query.to or None,
    )


def _midnight(day: str, days: int = 0) -> int:
    """Return the first ms of a day (UTC), `days` later."""
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return (int(moment.timestamp()) + days * 86_400) * 1000
