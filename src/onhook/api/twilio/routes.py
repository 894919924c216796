"""The one resource of Twilio's REST API that we have: a call, to look at and to hang up."""

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from onhook.agents.twilio import account_sid, call_ids
from onhook.api.routing import CallerRequest
from onhook.api.stops import stop_call
from onhook.api.twilio.auth import TwilioRoute
from onhook.api.twilio.errors import COMMON, WITH_FORM, failure, not_found
from onhook.api.twilio.mapping import call_resource
from onhook.api.twilio.schemas import CallResource
from onhook.calls.call import Call

PREFIX = "/2010-04-01/"
CALL = PREFIX + "Accounts/{account_sid}/Calls/{call_sid}.json"
MAX_FIELDS = 100

FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["Status"],
                    "properties": {"Status": {"type": "string", "enum": ["completed", "canceled"]}},
                }
            }
        },
    }
}

router = APIRouter(route_class=TwilioRoute, tags=["calls"], responses=COMMON)
ROUTERS = (router,)


@router.get(CALL)
async def get_call(request: CallerRequest, account_sid: str, call_sid: str) -> CallResource:
    """Return a call, by its SID or by its own id; one that is over, too."""
    return call_resource(await _call(request, account_sid, call_sid))


@router.post(CALL, openapi_extra=FORM, responses=WITH_FORM)
async def update_call(request: CallerRequest, account_sid: str, call_sid: str) -> CallResource:
    """Hang up: `Status=completed`.

    On a call that is answered this is the agent's own wish: the call ends once what the agent has said is heard, within
    bounds, and until then is still `in-progress`. Any other call is ended at once. `Status=canceled` ends only a call
    that is not answered yet. A call that is over is not found.
    """
    status = await _wanted_status(request)
    call = await _call(request, account_sid, call_sid)
    if call.is_over:
        raise not_found(request)
    if status == "completed" or call.answered_at is None:
        await _hang_up(request, call)
    return call_resource(await request.caller.store.get_call(call.id, call.environment_id) or call)


async def _hang_up(request: CallerRequest, call: Call) -> None:
    caller = request.caller
    if call.answered_at is None or not caller.services.hang_up(call.id, "the bot asked for it by REST"):
        await stop_call(caller, call.id)


async def _wanted_status(request: CallerRequest) -> str:
    """Return the form's `Status`, or raise the error 400."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise HTTPException(400)
    try:
        form = parse_qs((await request.body()).decode(), errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise HTTPException(400) from error
    status = form.get("Status", [""])[-1]
    if status not in {"completed", "canceled"}:
        raise failure(400, "Status must be completed or canceled; nothing else of a call can be changed here.")
    return status


async def _call(request: CallerRequest, account: str, sid: str) -> Call:
    """Return a call of the caller's own account, or raise the error 404."""
    caller = request.caller
    if account == account_sid(caller.environment_id):
        for call_id in call_ids(sid):
            call = await caller.store.get_call(call_id, caller.environment_id)
            if call is not None:
                return call
    raise not_found(request)
