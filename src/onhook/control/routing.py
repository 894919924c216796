"""Who takes a call that a far end makes: read from the store, nothing is written here."""

import logging
import re
from collections.abc import Callable
from ipaddress import ip_address

import msgspec
import phonenumbers

from onhook.agents.definition import DefinitionError
from onhook.calls.call import Call, CallDetails, Dialect, Direction, mask_number, new_call_id
from onhook.calls.causes import Cause, Reason
from onhook.calls.states import State
from onhook.control.fitness import CheckAgent, any_agent
from onhook.control.peers import Peers
from onhook.lines.engine import Incoming, Trunk
from onhook.store.store import Agent, Number, Store, TrunkRecord

logger = logging.getLogger(__name__)

CALL_ID_HEADER = "x-onhook-call-id"
"""Names a registered call where the Request-URI cannot."""
ANSWER_LIMIT_MS = 60_000
"""From the INVITE to the ACK. SIP itself gives up an answer that nobody acknowledges after 32 s."""
ANONYMOUS = "anonymous"
"""The number of a caller that tells none (RFC 3323)."""
MAX_HEADERS = 20
MAX_HEADER_CHARS = 1024

_REGISTERED = re.compile(r"call_[0-9a-f]{27}$")


class Refusal(msgspec.Struct, frozen=True):
    """A final response of 300 or more, and why."""

    status: int
    cause: Cause


UNKNOWN = Refusal(404, Cause("system", Reason.INVALID_DESTINATION, sip_status=404, q850=1))
"""No number of ours, no registered call that waits."""
NOBODY = Refusal(480, Cause("system", Reason.NO_ANSWER, sip_status=480, q850=20))
"""The number is ours, and no agent that may take its calls is fit to."""


class Route(msgspec.Struct, frozen=True):
    """What an INVITE becomes: a new call, or, `awaited`, one that was registered; `trunk` says how it is kept up."""

    call: Call
    awaited: bool
    trunk: Trunk | None = None


class Router:
    """Finds the call that a far end means. `default_region` is the ISO country of numbers without a plus."""

    def __init__(
        self,
        store: Store,
        peers: Peers,
        trunk_of: Callable[[TrunkRecord], Trunk | None],
        check_agent: CheckAgent = any_agent,
        default_region: str | None = None,
    ) -> None:
        self._store = store
        self._peers = peers
        self._trunk_of = trunk_of
        self._check_agent = check_agent
        self._default_region = default_region

    async def route(self, incoming: Incoming) -> Route | Refusal:
        """Return what an INVITE becomes, or why it is refused. Raises `StoreError`."""
        environments = await self._peers.environments(incoming.peer[0], incoming.account)
        call_id = registered_id(incoming)
        if call_id is not None:
            return await self._awaited(call_id, incoming, environments)
        number = await self._number(incoming.to_number, environments)
        if number is None:
            return UNKNOWN
        agent = await self._agent(number)
        if agent is None:
            return NOBODY
        trunk = await self._trunk(number.trunk_id, number.environment_id)
        return Route(_new_call(incoming, number, agent), awaited=False, trunk=trunk)

    async def _awaited(self, call_id: str, incoming: Incoming, environments: list[str]) -> Route | Refusal:
        call = await self._store.get_call(call_id, None)
        waits = call is not None and call.state is State.SCHEDULED and call.dial_at is None
        if call is None or not waits or call.environment_id not in environments:
            return UNKNOWN
        agent = await self._store.get(Agent, call.agent_id, call.environment_id)
        if agent is None or not await self._is_fit(agent):
            return NOBODY
        trunk_id = call.trunk_id or self._peers.trunk_id(incoming.peer[0], incoming.account, call.environment_id)
        return Route(call, awaited=True, trunk=await self._trunk(trunk_id, call.environment_id))

    async def _number(self, called: str, environments: list[str]) -> Number | None:
        value = self._e164(called)
        for environment_id in environments:
            number = await self._store.number_by_value(environment_id, value)
            if number is not None:
                return number
        return None

    def _e164(self, called: str) -> str:
        """Read a number as the operator's country writes it; what is no number stays as it is."""
        if called.startswith("+") or self._default_region is None:
            return called
        try:
            parsed = phonenumbers.parse(called, self._default_region)
        except phonenumbers.NumberParseException:
            return called
        text: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        return text

    async def _agent(self, number: Number) -> Agent | None:
        """Return the agent that takes a number's calls."""
        agent_id = number.inbound_agent_id or number.agent_id
        agent = await self._store.get(Agent, agent_id, number.environment_id) if agent_id is not None else None
        if agent is None or not (number.inbound_agent_id or agent.direction is Direction.INBOUND):
            return None
        return agent if await self._is_fit(agent) else None

    async def _is_fit(self, agent: Agent) -> bool:
        if not agent.published:
            return False
        try:
            await self._check_agent(agent)
        except DefinitionError as error:
            logger.warning("agent %s cannot be put on a call: %s", agent.id, error)
            return False
        return True

    async def _trunk(self, trunk_id: str | None, environment_id: str) -> Trunk | None:
        record = await self._store.get(TrunkRecord, trunk_id, environment_id) if trunk_id else None
        return None if record is None else self._trunk_of(record)


def registered_id(incoming: Incoming) -> str | None:
    """Return the id of a registered call that an INVITE names: in its Request-URI, or in a header of ours."""
    named = next((value for name, value in incoming.headers.items() if name.lower() == CALL_ID_HEADER), "")
    return next((text for text in (incoming.to_number, named.strip()) if _REGISTERED.match(text)), None)


def peer_text(incoming: Incoming) -> str:
    """Return where an INVITE came from, as `host:port`."""
    host, port = incoming.peer
    return f"[{host}]:{port}" if ip_address(host.partition("%")[0]).version == 6 else f"{host}:{port}"


def masked(incoming: Incoming) -> str:
    """Describe an INVITE for the log."""
    return f"{mask_number(incoming.from_number)} to {mask_number(incoming.to_number)} at {peer_text(incoming)}"


def _new_call(incoming: Incoming, number: Number, agent: Agent) -> Call:
    is_native_id = agent.dialect is not Dialect.TALKOVER
    return Call(
        id=incoming.call_id if is_native_id else new_call_id(agent.dialect),
        environment_id=number.environment_id,
        agent_id=agent.id,
        trunk_id=number.trunk_id,
        dialect=agent.dialect,
        direction=Direction.INBOUND,
        from_number=incoming.from_number or ANONYMOUS,
        to_number=number.number,
        state=State.RINGING,
        sip_call_id=incoming.sip_call_id,
        created_at=incoming.at,
        updated_at=incoming.at,
        max_duration_ms=agent.max_duration_ms,
        ring_timeout_ms=ANSWER_LIMIT_MS,
        deadline_at=incoming.at + ANSWER_LIMIT_MS,
        dialed_at=incoming.at,
        details=_details(incoming, agent),
    )


def _details(incoming: Incoming, agent: Agent) -> CallDetails:
    """Keep the caller's own headers, `X-...`; its agent may use them as variables, by their names in small letters."""
    own = [(name, value) for name, value in incoming.headers.items() if name.lower().startswith("x-")]
    headers = {name: value[:MAX_HEADER_CHARS] for name, value in own[:MAX_HEADERS]}
    return CallDetails(
        dynamic_variables={name.lower(): value for name, value in headers.items()},
        sip_headers=headers,
        agent_version=agent.version,
        data_storage_setting=agent.data_storage,
    )
