"""Our own API's configuration: agents, numbers, trunks, keys."""

from collections.abc import Collection

import msgspec
import phonenumbers
from fastapi import APIRouter, Response

from onhook.agents.definition import DefinitionError
from onhook.agents.reading import definition_of, unknown_settings
from onhook.api.native.errors import (
    COMMON,
    CREATES,
    WITH_BODY,
    invalid_agent,
    invalid_field,
    not_found,
    problem,
    problems,
)
from onhook.api.native.once import OnceRoute
from onhook.api.native.schemas import (
    AgentOut,
    Agents,
    CreateKey,
    KeyCreated,
    KeyOut,
    Keys,
    NumberOut,
    Numbers,
    PutAgent,
    PutNumber,
    PutTrunk,
    TrunkOut,
    Trunks,
)
from onhook.api.routing import CallerRequest
from onhook.api.scopes import require
from onhook.api.services import Caller
from onhook.api.times import iso_ms, iso_ms_or_none
from onhook.calls.call import Dialect
from onhook.store.scopes import scopes_of
from onhook.store.secrets import hash_token, new_token
from onhook.store.store import Agent, ApiKey, ConflictError, Number, R, TrunkRecord

PASSWORDS = {"password", "inbound_password"}

router = APIRouter(
    prefix="/v1",
    route_class=OnceRoute,
    responses=COMMON,
)


# --- agents ------------------------------------------------------------------------------------------


@router.get("/agents", tags=["agents"])
async def list_agents(request: CallerRequest) -> Agents:
    """List the environment's agents, newest first."""
    caller = request.caller
    return Agents(items=[_agent_out(one) for one in await caller.store.find(Agent, caller.environment_id)])


@router.post("/agents", tags=["agents"], status_code=201, responses=CREATES)
async def create_agent(request: CallerRequest, body: PutAgent) -> AgentOut:
    """Create an agent."""
    caller = request.caller
    now = caller.now_ms()
    agent = Agent(
        id=f"agent_{request.nonce[:26]}",
        environment_id=caller.environment_id,
        dialect=Dialect.NATIVE,
        created_at=now,
        updated_at=now,
        name=body.name,
        label=body.label or body.name,
        kind=caller.services.agent_kind.value,
    )
    agent = msgspec.structs.replace(agent, **_agent_fields(body))
    _check_agent(caller, agent, known=())
    await caller.put(agent)
    return _agent_out(agent)


@router.get("/agents/{agent_id}", tags=["agents"])
async def get_agent(request: CallerRequest, agent_id: str) -> AgentOut:
    """Return one agent."""
    caller = request.caller
    return _agent_out(await _existing(caller, Agent, agent_id, "agent"))


@router.put("/agents/{agent_id}", tags=["agents"], responses=WITH_BODY)
async def replace_agent(request: CallerRequest, agent_id: str, body: PutAgent) -> AgentOut:
    """Replace an agent; its version counts up. Running calls keep what they began with."""
    caller = request.caller
    agent = await _existing(caller, Agent, agent_id, "agent")
    known = agent.settings.keys()
    agent = msgspec.structs.replace(agent, version=agent.version + 1, updated_at=caller.now_ms(), **_agent_fields(body))
    _check_agent(caller, agent, known)
    await caller.put(agent)
    return _agent_out(agent)


@router.delete("/agents/{agent_id}", tags=["agents"], status_code=204, responses=problems(409))
async def delete_agent(request: CallerRequest, agent_id: str) -> Response:
    """Delete an agent that no number uses."""
    caller = request.caller
    numbers = await caller.store.find(Number, caller.environment_id)
    return await _delete(caller, Agent, agent_id, "agent", [one for one in numbers if one.is_used_by(agent_id)])


# --- numbers -----------------------------------------------------------------------------------------


@router.get("/numbers", tags=["numbers"])
async def list_numbers(request: CallerRequest) -> Numbers:
    """List the environment's numbers, newest first."""
    caller = request.caller
    return Numbers(items=[_number_out(one) for one in await caller.store.find(Number, caller.environment_id)])


@router.post("/numbers", tags=["numbers"], status_code=201, responses=CREATES)
async def create_number(request: CallerRequest, body: PutNumber) -> NumberOut:
    """Add a number."""
    caller = request.caller
    number = Number(
        id=f"num_{request.nonce[:24]}",
        environment_id=caller.environment_id,
        created_at=caller.now_ms(),
        number=await _checked_number(caller, body),
        trunk_id=body.trunk_id,
        agent_id=body.agent_id,
        inbound_agent_id=body.inbound_agent_id,
    )
    return await _put_number(caller, number)


@router.put("/numbers/{number_id}", tags=["numbers"], responses=WITH_BODY | problems(409))
async def replace_number(request: CallerRequest, number_id: str, body: PutNumber) -> NumberOut:
    """Replace a number: bind it to other agents or another trunk."""
    caller = request.caller
    number = await _existing(caller, Number, number_id, "number")
    value = await _checked_number(caller, body)
    number = msgspec.structs.replace(number, **body.model_dump() | {"number": value})
    return await _put_number(caller, number)


@router.delete("/numbers/{number_id}", tags=["numbers"], status_code=204)
async def delete_number(request: CallerRequest, number_id: str) -> Response:
    """Delete a number."""
    caller = request.caller
    return await _delete(caller, Number, number_id, "number", [])


# --- trunks ------------------------------------------------------------------------------------------


@router.get("/trunks", tags=["trunks"])
async def list_trunks(request: CallerRequest) -> Trunks:
    """List the environment's trunks, newest first."""
    caller = request.caller
    return Trunks(items=[_trunk_out(one) for one in await caller.store.find(TrunkRecord, caller.environment_id)])


@router.post("/trunks", tags=["trunks"], status_code=201, responses=CREATES)
async def create_trunk(request: CallerRequest, body: PutTrunk) -> TrunkOut:
    """Add a trunk."""
    caller = request.caller
    fields = body.model_dump(exclude=PASSWORDS)
    trunk = TrunkRecord(
        id=f"trunk_{request.nonce[:24]}",
        environment_id=caller.environment_id,
        created_at=caller.now_ms(),
        **fields,
    )
    trunk = _with_passwords(caller, trunk, body)
    await caller.put(trunk)
    return _trunk_out(trunk)


@router.put("/trunks/{trunk_id}", tags=["trunks"], responses=WITH_BODY)
async def replace_trunk(request: CallerRequest, trunk_id: str, body: PutTrunk) -> TrunkOut:
    """Replace a trunk; without a password in the body it keeps the one it has."""
    caller = request.caller
    trunk = await _existing(caller, TrunkRecord, trunk_id, "trunk")
    trunk = _with_passwords(caller, msgspec.structs.replace(trunk, **body.model_dump(exclude=PASSWORDS)), body)
    await caller.put(trunk)
    return _trunk_out(trunk)


@router.delete("/trunks/{trunk_id}", tags=["trunks"], status_code=204, responses=problems(409))
async def delete_trunk(request: CallerRequest, trunk_id: str) -> Response:
    """Delete a trunk that no number uses."""
    caller = request.caller
    numbers = await caller.store.find(Number, caller.environment_id)
    return await _delete(caller, TrunkRecord, trunk_id, "trunk", [one for one in numbers if one.trunk_id == trunk_id])


# --- keys --------------------------------------------------------------------------------------------


@router.get("/keys", tags=["keys"])
async def list_keys(request: CallerRequest) -> Keys:
    """List the environment's keys, revoked ones too, newest first."""
    caller = request.caller
    return Keys(items=[_key_out(one) for one in await caller.store.find(ApiKey, caller.environment_id)])


@router.post("/keys", tags=["keys"], status_code=201, responses=CREATES)
async def create_key(request: CallerRequest, body: CreateKey) -> KeyCreated:
    """Create a key. The answer is the only place where its token is ever shown."""
    caller = request.caller
    require(caller.key, body.scopes or ())  # Nobody gives away what he has not.
    token = new_token(body.prefix)
    key = ApiKey(
        id=f"apikey_{request.nonce[:24]}",
        environment_id=caller.environment_id,
        name=body.name,
        token_sha256=hash_token(token),
        last4=token[-4:],
        created_at=caller.now_ms(),
        secret=caller.services.secrets.encrypt(token) if body.signs_webhooks else None,
        scopes=tuple(sorted(set(body.scopes))) if body.scopes else caller.key.scopes,
    )
    await caller.put(key)
    return KeyCreated(**dict(_key_out(key)), token=token)


@router.delete("/keys/{key_id}", tags=["keys"], status_code=204)
async def revoke_key(request: CallerRequest, key_id: str) -> Response:
    """Revoke a key; it stops working at once and stays in the list."""
    caller = request.caller
    key = await _existing(caller, ApiKey, key_id, "key")
    if key.revoked_at is None:
        await caller.put(msgspec.structs.replace(key, revoked_at=caller.now_ms(), secret=None))
    return Response(status_code=204)


# --- helpers -----------------------------------------------------------------------------------------


async def _existing(caller: Caller, kind: type[R], record_id: str, what: str) -> R:
    record = await caller.store.get(kind, record_id, caller.environment_id)
    if record is None:
        raise not_found(what)
    return record


async def _delete(caller: Caller, kind: type[R], record_id: str, what: str, used_by: list[Number]) -> Response:
    if used_by:
        raise problem(409, f"The number {used_by[0].number} uses this {what}.", code=f"{what}_in_use")
    if not await caller.delete(kind, record_id):
        raise not_found(what)
    return Response(status_code=204)


def _agent_fields(body: PutAgent) -> dict[str, object]:
    fields = body.model_dump(exclude={"kind"}) | {"label": body.label or body.name, "direction": body.direction}
    return fields | ({"kind": body.kind.value} if body.kind is not None else {})


def _check_agent(caller: Caller, agent: Agent, known: Collection[str]) -> None:
    """Raise the error 422 for settings that do not exist, but for those `known` by it already, or hold bad values.

    An agent that another API made has names of that API's.
    """
    unknown = [name for name in unknown_settings(agent.settings) if name not in known]
    if unknown:
        raise invalid_field(f"settings.{unknown[0]}", "There is no such setting.")
    try:
        definition_of(agent, None, caller.services.bot_urls)
    except DefinitionError as error:
        raise invalid_agent(error) from error


async def _checked_number(caller: Caller, body: PutNumber) -> str:
    """Return a number in E.164, once it is clear that its trunk and its agents exist here."""
    try:
        parsed = phonenumbers.parse(body.number)
    except phonenumbers.NumberParseException as error:
        raise invalid_field("number", "This is not a phone number in international format.") from error
    if not phonenumbers.is_possible_number(parsed):
        raise invalid_field("number", "No phone number looks like this.")
    if await caller.store.get(TrunkRecord, body.trunk_id, caller.environment_id) is None:
        raise invalid_field("trunk_id", "There is no such trunk.")
    for field in ("agent_id", "inbound_agent_id"):
        agent_id = getattr(body, field)
        if agent_id is not None and await caller.store.get(Agent, agent_id, caller.environment_id) is None:
            raise invalid_field(field, "There is no such agent.")
    number: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return number


def _with_passwords(caller: Caller, trunk: TrunkRecord, body: PutTrunk) -> TrunkRecord:
    """Return a trunk with the passwords that a body gives; it keeps the others, but none that is for nobody."""
    box = caller.services.secrets
    if body.password:
        trunk = msgspec.structs.replace(trunk, password=box.encrypt(body.password))
    if body.inbound_password or body.inbound_username is None:
        sealed = box.encrypt(body.inbound_password) if body.inbound_password and body.inbound_username else None
        trunk = msgspec.structs.replace(trunk, inbound_password=sealed)
    if trunk.inbound_username is not None and trunk.inbound_password is None:
        raise invalid_field("inbound_password", "A user name needs a password.")
    return trunk


async def _put_number(caller: Caller, number: Number) -> NumberOut:
    try:
        await caller.put(number)
    except ConflictError as error:
        raise problem(409, f"{number.number} is in this environment already.", code="number_taken") from error
    return _number_out(number)


def _agent_out(agent: Agent) -> AgentOut:
    fields = msgspec.structs.asdict(agent)
    fields |= {"created_at": iso_ms(agent.created_at), "updated_at": iso_ms(agent.updated_at)}
    return AgentOut.model_validate(fields)


def _number_out(number: Number) -> NumberOut:
    return NumberOut.model_validate(msgspec.structs.asdict(number) | {"created_at": iso_ms(number.created_at)})


def _trunk_out(trunk: TrunkRecord) -> TrunkOut:
    fields = msgspec.structs.asdict(trunk)
    return TrunkOut.model_validate(
        fields
        | {
            "created_at": iso_ms(trunk.created_at),
            "has_password": trunk.password is not None,
            "has_inbound_password": trunk.inbound_password is not None,
        }
    )


def _key_out(key: ApiKey) -> KeyOut:
    return KeyOut(
        id=key.id,
        name=key.name,
        last4=key.last4,
        scopes=list(scopes_of(key)),
        created_at=iso_ms(key.created_at),
        revoked_at=iso_ms_or_none(key.revoked_at),
    )
