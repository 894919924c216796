"""Retell's call: create, get, update, stop, delete."""

import re

import msgspec
from fastapi import APIRouter, Response

from onhook.api.anunzi.errors import BLOCKED, COMMON, failure, refused
from onhook.api.anunzi.idempotency import forget_key, nonce_of
from onhook.api.anunzi.mapping import phone_call
from onhook.api.anunzi.paths import CALL_ID
from onhook.api.anunzi.placing import agent_by_id, order_for
from onhook.api.anunzi.schemas import CreatePhoneCall, PhoneCall, UpdateCall
from onhook.api.errors import ApiError
from onhook.api.recorded import forget_recording
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.services import Caller
from onhook.api.stops import proof_header, stop_call
from onhook.calls.call import Call
from onhook.control.place import RefusedError
from onhook.store.logs import log_of
from onhook.store.rules import loosens
from onhook.store.store import DetailsChange

MAX_METADATA = 50 * 1024
"""Bytes of JSON."""

router = APIRouter(route_class=CheckedRoute, tags=["calls"], responses=COMMON)


@router.post("/v2/create-phone-call", status_code=201, responses=BLOCKED, response_model_exclude_none=True)
async def create_phone_call(request: CallerRequest, body: CreatePhoneCall) -> PhoneCall:
    """Dial a number. The call is durable when this answers."""
    caller = request.caller
    nonce = await nonce_of(request, body, body.idempotency_key)
    try:
        call = await _placed(caller, body, f"call_{nonce[:27]}")
    except ApiError:
        await forget_key(request, body.idempotency_key)
        raise
    return await _shown(caller, await caller.store.get_call(call.id, caller.environment_id) or call)


@router.get(f"/v2/get-call/{CALL_ID}", response_model_exclude_none=True)
async def get_call(request: CallerRequest, call_id: str) -> PhoneCall:
    """Return one call."""
    return await _shown(request.caller, await _call(request.caller, call_id))


@router.patch(f"/v2/update-call/{CALL_ID}", response_model_exclude_none=True)
async def update_call(request: CallerRequest, call_id: str, body: UpdateCall) -> PhoneCall:
    """Replace a call's metadata or custom attributes, or have less of it kept. What is absent stays."""
    caller = request.caller
    call = await _call(caller, call_id)
    if body.metadata is not None and len(msgspec.json.encode(body.metadata)) > MAX_METADATA:
        raise failure(400, "metadata is limited to 50 kB.")
    setting = body.data_storage_setting
    if setting is not None and loosens(call.details.data_storage_setting, setting):
        raise failure(400, "data_storage_setting can only become more restrictive.")
    change = DetailsChange(
        call.id, caller.environment_id, caller.now_ms(), body.metadata, body.custom_attributes, setting
    )
    updated = await caller.store.update_details(change)
    if updated is None:
        raise failure(422)
    if updated.details.data_storage_setting != "everything":
        await forget_recording(caller, call.id)
    return await _shown(caller, updated)


@router.post(f"/v2/stop-call/{CALL_ID}", status_code=204)
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


@router.delete(f"/v2/delete-call/{CALL_ID}", status_code=204)
async def delete_call(request: CallerRequest, call_id: str) -> Response:
    """Delete a call for good; one that is live is ended first. Webhooks that are on their way still go."""
    caller = request.caller
    stopped = await stop_call(caller, _checked(call_id))
    if stopped is not None:
        await forget_recording(caller, stopped.call.id)
    now, by = caller.now_ms(), caller.act()
    if stopped is None or not await caller.store.delete_call(call_id, caller.environment_id, now, by):
        raise failure(422)
    return Response(status_code=204, headers=proof_header(stopped.call))


async def _placed(caller: Caller, body: CreatePhoneCall, call_id: str) -> Call:
    """Place a call under an id, or return the one that has it, even if it could not be placed any more."""
    placed = await caller.store.get_call(call_id, None)
    if placed is not None:
        return placed
    order = await order_for(caller, body.from_number, body)
    try:
        return await caller.services.placer.place_once(msgspec.structs.replace(order, call_id=call_id))
    except RefusedError as error:
        raise refused(error) from error


def _checked(call_id: str) -> str:
    """Return a call id that is well formed, or raise the error 400."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", call_id) is None:
        raise failure(400)
    return call_id


async def _call(caller: Caller, call_id: str) -> Call:
    call = await caller.store.get_call(_checked(call_id), caller.environment_id)
    if call is None:
        raise failure(422)
    return call


async def _shown(caller: Caller, call: Call) -> PhoneCall:
    log = await log_of(caller.store, call.id) if call.is_over and call.answered_at is not None else ()
    return phone_call(call, await agent_by_id(caller, call.agent_id), log, caller.services.public_url)
