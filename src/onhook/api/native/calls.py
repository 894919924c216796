"""Our own API's calls: create, get, list, stop, timeline."""

import base64
import binascii
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from onhook.api.native.call_schemas import (
    DEADLINE_MS,
    CallOut,
    CallPage,
    CallsQuery,
    CreateCall,
    StopCall,
    StoppedCall,
    Timeline,
)
from onhook.api.native.errors import COMMON, CREATES, WITH_BODY, invalid_field, not_found, problem, problems, refused
from onhook.api.native.mapping import call_out, farewell_of, stopped_call, timeline
from onhook.api.native.once import OnceRoute
from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.stops import stop_call, stop_cause
from onhook.api.times import ms_of
from onhook.calls.call import Call, CallDetails, Dialect
from onhook.calls.timer import CallTimer
from onhook.control.graceful import GracefulOrder
from onhook.control.place import PlaceOrder, RefusedError
from onhook.control.timers import stop_at
from onhook.store.logs import log_of
from onhook.store.queries import CallFilter, Page

router = APIRouter(
    prefix="/v1",
    route_class=OnceRoute,
    tags=["calls"],
    responses=COMMON,
)


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The place of the last call of a page."""

    created_at: Annotated[int, msgspec.Meta(ge=-(2**60), le=2**60)]
    call_id: str


@router.post("/calls", status_code=201, responses=CREATES | problems(429))
async def create_call(request: CallerRequest, body: CreateCall) -> CallOut:
    """Dial a number. The call is durable when this answers."""
    caller = request.caller
    timer = _first_timer(caller, body)
    order = PlaceOrder(
        environment_id=caller.environment_id,
        dialect=Dialect.NATIVE,
        to_number=body.to_number,
        by=caller.act(),
        timer=timer,
        call_id=f"call_{request.nonce[:27]}",
        agent_id=body.agent_id,
        from_number=body.from_number,
        delay_s=body.delay_seconds,
        ring_timeout_ms=body.ring_timeout_ms,
        max_duration_ms=body.max_duration_ms,
        details=CallDetails(metadata=body.metadata, sip_headers=body.sip_headers, dynamic_variables=body.variables),
    )
    try:
        call = await caller.services.placer.place_once(order)
    except RefusedError as error:
        raise refused(error) from error
    if timer is None:
        return call_out(call)
    caller.services.timers.watch(call.id, timer)
    return await call_now(caller, call.id)


@router.get("/calls")
async def list_calls(request: CallerRequest, query: Annotated[CallsQuery, Query()]) -> CallPage:
    """List calls by creation, newest first unless `order` says otherwise."""
    caller = request.caller
    where = CallFilter(
        environment_id=caller.environment_id,
        states=(query.state,) if query.state else (),
        agent_ids=(query.agent_id,) if query.agent_id else (),
        direction=query.direction,
        search=query.search or None,
    )
    after = _position(query.cursor) if query.cursor is not None else None
    page = Page(limit=query.limit, after=after, ascending=query.order == "oldest")
    calls = await caller.store.list_calls(where, page)
    full = len(calls) == query.limit
    timers = await caller.store.timers_of([call.id for call in calls if not call.is_over])
    items = [call_out(call, timers.get(call.id, ())) for call in calls]
    return CallPage(items=items, next=_cursor(calls[-1]) if full else None)


@router.get("/calls/{call_id}")
async def get_call(request: CallerRequest, call_id: str) -> CallOut:
    """Return one call."""
    return await call_now(request.caller, call_id)


@router.post("/calls/{call_id}/stop", responses=WITH_BODY)
async def stop(request: CallerRequest, call_id: str, body: StopCall | None = None) -> StoppedCall:
    """End a call in whatever state it is, and tell how far its end is proved.

    The stop is durable and carried out when this answers, but for a graceful one whose farewell is not over: its result
    is `winding_down`. A second stop returns the first one's record; one that is not graceful ends a farewell, and the
    call is its own. A second graceful stop may only make the first one's deadline an earlier one.
    """
    caller, order = request.caller, body or StopCall()
    if order.mode == "graceful":
        return await _stop_gracefully(caller, call_id, order)
    for field in ("farewell", "deadline_ms"):
        if getattr(order, field) is not None:
            raise invalid_field(field, "It goes with the mode `graceful` only.")
    stopped = await stop_call(caller, call_id, text=order.reason, wait_ms=order.wait_ms)
    if stopped is None:
        raise not_found("call")
    return stopped_call(stopped.call)


async def _stop_gracefully(caller: Caller, call_id: str, order: StopCall) -> StoppedCall:
    services = caller.services
    graceful = GracefulOrder(
        call_id,
        caller.environment_id,
        stop_cause(caller, order.reason),
        caller.now_ms(),
        DEADLINE_MS if order.deadline_ms is None else order.deadline_ms,
        order.farewell,
        caller.request_id,
    )
    wait_ms = services.stop_wait_ms if order.wait_ms is None else order.wait_ms
    if await services.graceful.request(graceful, wait_ms) is None:
        raise not_found("call")
    call, timers = await _standing(caller, call_id)
    by_itself = call.is_over and call.stop is None
    return stopped_call(call, timers, farewell_of(await log_of(caller.store, call.id)) if by_itself else None)


@router.get("/calls/{call_id}/timeline")
async def get_timeline(request: CallerRequest, call_id: str) -> Timeline:
    """Return what happened to a call, in order, and how long things took."""
    caller = request.caller
    call = await call_named(caller, call_id)
    return timeline(call, await log_of(caller.store, call.id))


async def call_named(caller: Caller, call_id: str) -> Call:
    """Return a call of the caller's environment, or raise the error 404."""
    call = await caller.store.get_call(call_id, caller.environment_id)
    if call is None:
        raise not_found("call")
    return call


async def call_now(caller: Caller, call_id: str) -> CallOut:
    """Return a call of the caller's environment with its timers, or raise the error 404."""
    return call_out(*await _standing(caller, call_id))


async def _standing(caller: Caller, call_id: str) -> tuple[Call, list[CallTimer]]:
    """Return a call and its timers. Read in this order, a call that is not over has the timers that it is to have."""
    timers = await caller.store.timers(call_id)
    return await call_named(caller, call_id), timers


def _first_timer(caller: Caller, body: CreateCall) -> CallTimer | None:
    """Return the stop that a new call is to be created with. Raises the error 422."""
    now, at = caller.now_ms(), body.stop_at
    if at is not None and body.stop_after_ms is not None:
        raise invalid_field("stop_after_ms", "It does not go with `stop_at`.")
    if at is not None and ms_of(at) <= now:
        raise invalid_field("stop_at", "This moment has passed.")
    after = body.stop_after_ms
    moment = ms_of(at) if at is not None else None if after is None else now + after
    return None if moment is None else stop_at(moment, caller.actor, None, now, caller.request_id)


def _cursor(last: Call) -> str:
    raw = msgspec.json.encode(Cursor(last.created_at, last.id))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(raw, type=Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise problem(422, "This cursor is not one of ours.", code="invalid_cursor") from error
    return place.created_at, place.call_id
