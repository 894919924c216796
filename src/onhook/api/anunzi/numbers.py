"""Retell's phone numbers: numbers of yours on trunks of yours."""

import msgspec
import phonenumbers
from fastapi import APIRouter, Response

from onhook.api.anunzi.agent_schemas import (
    ImportNumber,
    NumberFields,
    NumberOut,
    Numbers,
    TrunkConfig,
    UpdateNumber,
    WeightedAgent,
)
from onhook.api.anunzi.errors import COMMON, failure
from onhook.api.anunzi.paging import Limit, SortOrder, page_of
from onhook.api.anunzi.placing import agent_by_id
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.services import Caller
from onhook.store.store import ConflictError, Number, TrunkRecord

AGENT_FIELDS = {"outbound_agents": "agent_id", "inbound_agents": "inbound_agent_id"}
"""What Retell calls the agents of a number, and in which field of ours each is."""

router = APIRouter(route_class=CheckedRoute, tags=["phone numbers"], responses=COMMON)


@router.post("/import-phone-number", status_code=201, response_model_exclude_none=True)
async def import_phone_number(request: CallerRequest, body: ImportNumber) -> NumberOut:
    """Add a number, and the trunk it lives on."""
    caller, now = request.caller, request.caller.now_ms()
    value = _e164(body.phone_number)
    agents = await _agents(caller, body)
    if await caller.store.number_by_value(caller.environment_id, value) is not None:
        raise failure(400, "This phone number exists already.")
    password = body.sip_trunk_auth_password
    trunk = TrunkRecord(
        id=f"trunk_{request.nonce[:24]}",
        environment_id=caller.environment_id,
        name=value,
        uri=f"sip:{body.termination_uri.removeprefix('sip:')};transport={(body.transport or 'tcp').lower()}",
        created_at=now,
        username=body.sip_trunk_auth_username,
        password=caller.services.secrets.encrypt(password) if password else None,
    )
    number = Number(f"num_{request.nonce[:24]}", caller.environment_id, value, trunk.id, now, **agents)
    await caller.put(trunk)
    try:
        await caller.put(number)
    except ConflictError as error:
        await caller.delete(TrunkRecord, trunk.id)
        raise failure(400, "This phone number exists already.") from error
    return await number_out(caller, number)


@router.get("/get-phone-number/{phone_number}", response_model_exclude_none=True)
async def get_phone_number(request: CallerRequest, phone_number: str) -> NumberOut:
    """Return one number."""
    return await number_out(request.caller, await _existing(request.caller, phone_number))


@router.patch("/update-phone-number/{phone_number}", response_model_exclude_none=True)
async def update_phone_number(request: CallerRequest, phone_number: str, body: UpdateNumber) -> NumberOut:
    """Bind a number to other agents, or to none."""
    caller = request.caller
    number = await _existing(caller, phone_number)
    agents = await _agents(caller, body)
    if agents:
        number = msgspec.structs.replace(number, **agents)
        await caller.put(number)
    return await number_out(caller, number)


@router.delete("/delete-phone-number/{phone_number}", status_code=204)
async def delete_phone_number(request: CallerRequest, phone_number: str) -> Response:
    """Delete a number. Its trunk stays, for other numbers may use it."""
    caller = request.caller
    number = await _existing(caller, phone_number)
    await caller.delete(Number, number.id)
    return Response(status_code=204)


@router.get("/v2/list-phone-numbers", response_model_exclude_none=True)
async def list_phone_numbers(
    request: CallerRequest, limit: Limit = 50, pagination_key: str | None = None, sort_order: SortOrder = "descending"
) -> Numbers:
    """List the environment's numbers by creation."""
    caller = request.caller
    page, more = page_of(await caller.store.find(Number, caller.environment_id), limit, pagination_key, sort_order)
    items = [await number_out(caller, one) for one in page]
    return Numbers(items=items, has_more=more is not None, pagination_key=more)


@router.get("/list-phone-numbers", response_model_exclude_none=True)
async def list_all_phone_numbers(request: CallerRequest) -> list[NumberOut]:
    """List all numbers, as SDKs before 6 ask for them."""
    caller = request.caller
    return [await number_out(caller, one) for one in await caller.store.find(Number, caller.environment_id)]


async def number_out(caller: Caller, number: Number) -> NumberOut:
    """Return a number in Retell's shape."""
    trunk = await caller.store.get(TrunkRecord, number.trunk_id, caller.environment_id)
    pretty = phonenumbers.format_number(phonenumbers.parse(number.number), phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    return NumberOut(
        phone_number=number.number,
        phone_number_pretty=pretty,
        inbound_agents=_weighted(number.inbound_agent_id),
        outbound_agents=_weighted(number.agent_id),
        sip_outbound_trunk_config=_trunk_out(trunk) if trunk else None,
        last_modification_timestamp=number.created_at,
    )


def _trunk_out(trunk: TrunkRecord) -> TrunkConfig:
    address, _, transport = trunk.uri.removeprefix("sip:").partition(";transport=")
    return TrunkConfig(termination_uri=address, transport=(transport or "udp").upper(), auth_username=trunk.username)


def _e164(text: str) -> str:
    try:
        parsed = phonenumbers.parse(text)
    except phonenumbers.NumberParseException as error:
        raise failure(400, "phone_number must be in E.164 format.") from error
    if not phonenumbers.is_possible_number(parsed):
        raise failure(400, "phone_number must be in E.164 format.")
    value: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return value


async def _agents(caller: Caller, body: NumberFields) -> dict[str, str | None]:
    """Return which agents a number is to use, by its field. Raises the error 422 for one that is not there."""
    found: dict[str, str | None] = {}
    for given, field in AGENT_FIELDS.items():
        if given in body.model_fields_set:
            agents: list[WeightedAgent] = getattr(body, given) or []
            found[field] = agents[0].agent_id if agents else None
    for agent_id in found.values():
        if agent_id is not None and await agent_by_id(caller, agent_id) is None:
            raise failure(422)
    return found


def _weighted(agent_id: str | None) -> list[WeightedAgent]:
    return [] if agent_id is None else [WeightedAgent(agent_id=agent_id, weight=1.0)]


async def _existing(caller: Caller, phone_number: str) -> Number:
    number = await caller.store.number_by_value(caller.environment_id, phone_number)
    if number is None:
        raise failure(422)
    return number
