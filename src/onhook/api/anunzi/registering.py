"""Retell's register-phone-call: a call whose leg the customer's own SIP side sends to `sip:{call_id}@` this server."""

from fastapi import APIRouter

from onhook.api.anunzi.errors import COMMON, failure, refused
from onhook.api.anunzi.idempotency import nonce_of
from onhook.api.anunzi.mapping import phone_call
from onhook.api.anunzi.placing import agent_by_id, is_at_version
from onhook.api.anunzi.schemas import PhoneCall, RegisterPhoneCall
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.calls.call import CallDetails, Dialect, Direction
from onhook.control.place import RefusedError
from onhook.control.register import RegisterOrder

router = APIRouter(route_class=CheckedRoute, tags=["calls"], responses=COMMON)


@router.post("/v2/register-phone-call", status_code=201, response_model_exclude_none=True)
async def register_phone_call(request: CallerRequest, body: RegisterPhoneCall) -> PhoneCall:
    """Register a call that is dialed elsewhere.

    Its leg comes to `sip:{call_id}@` the server's SIP address, from a trunk or an allowed network, within five minutes;
    else the call ends with `registered_call_timeout`.
    """
    caller = request.caller
    if body.agent_override:
        raise failure(400, "agent_override is not supported by this server.")
    agent = await agent_by_id(caller, body.agent_id)
    if agent is None or not is_at_version(agent, body.agent_version):
        raise failure(422)
    order = RegisterOrder(
        environment_id=caller.environment_id,
        dialect=Dialect.ANUNZI,
        agent_id=agent.id,
        call_id=f"call_{(await nonce_of(request, body))[:27]}",
        direction=Direction(body.direction or "inbound"),
        from_number=body.from_number or "",
        to_number=body.to_number or "",
        details=CallDetails(
            metadata=body.metadata or {},
            dynamic_variables=body.retell_llm_dynamic_variables or {},
            agent_version=agent.version,
            data_storage_setting=agent.data_storage,
        ),
        by=caller.act(),
    )
    try:
        return phone_call(await caller.services.registrar.register(order), agent)
    except RefusedError as error:
        raise refused(error) from error
