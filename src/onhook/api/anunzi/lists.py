"""Lists of calls: v3 with typed filters, and v2 as SDKs before 5.36 ask for it."""

from fastapi import APIRouter

from onhook.api.anunzi.errors import COMMON
from onhook.api.anunzi.listing import ListCalls, list_page
from onhook.api.anunzi.listing_v2 import ListCallsV2, list_v2
from onhook.api.anunzi.mapping import phone_call
from onhook.api.anunzi.placing import agent_by_id
from onhook.api.anunzi.schemas import Calls, PhoneCall
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.services import Caller
from onhook.calls.call import Call

router = APIRouter(route_class=CheckedRoute, tags=["calls"], responses=COMMON)


@router.post("/v3/list-calls", response_model_exclude_none=True)
async def list_calls(request: CallerRequest, body: ListCalls | None = None) -> Calls:
    """List calls, newest first unless `sort_order` says otherwise."""
    caller = request.caller
    listed = await list_page(caller, body or ListCalls())
    return Calls(
        items=await _shown(caller, listed.calls),
        has_more=listed.next_key is not None,
        pagination_key=listed.next_key,
        total=listed.total,
    )


@router.post("/v2/list-calls", response_model_exclude_none=True)
async def list_calls_v2(request: CallerRequest, body: ListCallsV2 | None = None) -> list[PhoneCall]:
    """List calls as a bare array; `pagination_key` is the id of the last call of the array before."""
    caller = request.caller
    return await _shown(caller, await list_v2(caller, body or ListCallsV2()))


async def _shown(caller: Caller, calls: list[Call]) -> list[PhoneCall]:
    agents = {agent_id: await agent_by_id(caller, agent_id) for agent_id in {call.agent_id for call in calls}}
    return [phone_call(call, agents[call.agent_id]) for call in calls]
