"""Our own API's scheduled stops: the end of a call, set for a later moment, changed and taken back."""

from typing import Annotated

from fastapi import APIRouter, Query

from onhook.api.errors import ApiError
from onhook.api.native.call_schemas import CallOut, StopAt
from onhook.api.native.calls import call_now
from onhook.api.native.errors import COMMON, WITH_BODY, invalid_field, not_found, problem, problems
from onhook.api.native.schemas import Line
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.times import ms_of
from onhook.control.timers import stop_at

router = APIRouter(
    prefix="/v1",
    route_class=CheckedRoute,
    tags=["calls"],
    responses=COMMON,
)


@router.put("/calls/{call_id}/stop-at", responses=WITH_BODY | problems(409))
async def schedule_stop(request: CallerRequest, call_id: str, body: StopAt) -> CallOut:
    """Set when a live call is to end, in place of what was set before. A moment that has passed ends the call now."""
    caller, services = request.caller, request.caller.services
    now = caller.now_ms()
    if (body.at is None) is (body.after_ms is None):
        raise invalid_field("at", "Give either `at` or `after_ms`.")
    moment = now + (body.after_ms or 0) if body.at is None else ms_of(body.at)
    timer = stop_at(max(moment, now), caller.actor, body.reason, now, caller.request_id)
    found = await services.timers.schedule(call_id, caller.environment_id, timer)
    if found is None:
        raise not_found("call")
    if not found.set:
        raise _over()
    if moment <= now:
        await services.ending.settled_within(call_id, services.stop_wait_ms)
    return await call_now(caller, call_id)


@router.delete("/calls/{call_id}/stop-at", responses=problems(409))
async def unschedule_stop(
    request: CallerRequest,
    call_id: str,
    reason: Annotated[Line | None, Query(description="Free text, kept in the call's log")] = None,
) -> CallOut:
    """Take back the stop that is scheduled for a call. Without one nothing changes; 409 says that it is too late."""
    caller = request.caller
    cleared = await caller.services.timers.unschedule(
        call_id, caller.environment_id, caller.actor, reason, caller.request_id
    )
    if cleared is None:
        raise not_found("call")
    if cleared.call.is_over:
        raise _over()
    return await call_now(caller, call_id)


def _over() -> ApiError:
    return problem(409, "The call is over.", code="call_over")
