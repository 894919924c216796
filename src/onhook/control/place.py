"""Placing a call: who may call whom from where, decided before anything is written."""

import uuid
from collections.abc import Callable

import msgspec
import phonenumbers

from onhook.agents.definition import DefinitionError
from onhook.calls.call import Call, CallDetails, Dialect, Direction, new_call_id
from onhook.calls.states import State
from onhook.calls.timer import CallTimer
from onhook.clock import Clock
from onhook.control.capacity import Capacity, NoSeatError
from onhook.control.fitness import CheckAgent, any_agent
from onhook.store.audit import Act
from onhook.store.control_rules import blocking
from onhook.store.records import DialBlock
from onhook.store.store import Agent, ConflictError, DialBlockedError, Number, Store, TrunkRecord

MAX_DELAY_S = 3600


class PlaceOrder(msgspec.Struct, frozen=True):
    """What a dialect asks for: an agent, or one of our numbers, or both; `to_number` as the client wrote it.

    `call_id` is for requests that may come twice: a second call of the same id is not made. `dial_at` (ms) is for
    calls that wait longer, or to the millisecond. `by` is who asks. `timer` is the stop that is
    scheduled for the call from its creation on.
    """

    environment_id: str
    dialect: Dialect
    to_number: str
    agent_id: str | None = None
    from_number: str | None = None
    call_id: str | None = None
    delay_s: int = 0
    dial_at: int | None = None
    ring_timeout_ms: int | None = None
    max_duration_ms: int | None = None
    details: CallDetails = CallDetails()
    by: Act | None = None
    timer: CallTimer | None = None


class RefusedError(Exception):
    """The call is not placed and nothing was written.

    `code` is one of `agent_unknown`, `agent_inactive`, `number_unknown`, `number_unbound`, `no_number`,
    `no_trunk`, `invalid_number`, `emergency_number`, `destination_not_allowed`, `invalid_header`, `agent_invalid`,
    `dialing_blocked`, `no_capacity`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DialingBlockedError(RefusedError):
    """A dial block means the call, which was to be dialled at once."""

    def __init__(self, block_id: str) -> None:
        super().__init__("dialing_blocked", f"Dialing is blocked: {block_id} must be released first")
        self.block_id = block_id


class NoCapacityError(RefusedError):
    """The node takes no more calls now; in some seconds it may (see `onhook.control.capacity`)."""

    def __init__(self, message: str) -> None:
        super().__init__("no_capacity", message)


class DialPolicy(msgspec.Struct, frozen=True):
    """Where calls may go: `allow` holds E.164 prefixes such as `+1` (empty allows all).

    `default_region` is the ISO country in which a number without a plus is read (None refuses those).
    """

    allow: tuple[str, ...] = ()
    default_region: str | None = None


def check_destination(raw: str, policy: DialPolicy) -> str:
    """Return `raw` as E.164, or raise `RefusedError`: not a number, an emergency number, not allowed."""
    digits = "".join(character for character in raw if character.isdigit())
    if _is_emergency(raw, digits, policy.default_region):
        raise RefusedError("emergency_number", "Emergency numbers cannot be dialled")
    try:
        parsed = phonenumbers.parse(raw, policy.default_region)
    except phonenumbers.NumberParseException as error:
        raise RefusedError(
            "invalid_number", "Phone number must be in international format (e.g., +1234567890)"
        ) from error
    if not phonenumbers.is_possible_number(parsed):
        raise RefusedError("invalid_number", "Phone number must be in international format (e.g., +1234567890)")
    number: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if policy.allow and not number.startswith(policy.allow):
        raise RefusedError("destination_not_allowed", "This destination is not on the allow-list")
    return number


def _is_emergency(raw: str, digits: str, default_region: str | None) -> bool:
    """True for an emergency number of any region, written bare, or behind a country code (`+1911`)."""
    if len(digits) <= 6 and any(
        phonenumbers.is_emergency_number(digits, region) for region in phonenumbers.SUPPORTED_SHORT_REGIONS
    ):
        return True
    if not raw.strip().startswith("+"):
        return default_region is not None and bool(phonenumbers.is_emergency_number(digits, default_region))
    for length in (1, 2, 3):
        for region in phonenumbers.region_codes_for_country_code(int(digits[:length] or 0)):
            if phonenumbers.is_emergency_number(digits[length:], region):
                return True
    return False


class Placer:
    """Creates calls. `on_created` is told of each call that is to be dialled now."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        policy: DialPolicy,
        capacity: Capacity,
        on_created: Callable[[Call], None],
        check_agent: CheckAgent = any_agent,
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._capacity = capacity
        self._on_created = on_created
        self._check_agent = check_agent

    async def place(self, order: PlaceOrder) -> Call:
        """Write the call and start dialling, or schedule it.

        The call is durable when this returns. Raises `RefusedError` when nothing may be dialled, and
        `StoreError` when the call could not be written (it is not dialled then).
        """
        return await self.start(await self.prepare(order), order.by, order.timer)

    async def place_once(self, order: PlaceOrder) -> Call:
        """Place a call under the id that the order names, or return the one that has it. Raises as `place`."""
        if order.call_id is None:
            raise ValueError("the order names no call")
        placed = await self._store.get_call(order.call_id, None)  # also when it was deleted meanwhile
        if placed is not None:
            return placed
        try:
            return await self.place(order)
        except ConflictError:
            placed = await self._store.get_call(order.call_id, None)
            if placed is None:
                raise
            return placed

    async def start(self, call: Call, by: Act | None = None, timer: CallTimer | None = None) -> Call:
        """Write a call that was prepared, and dial it or leave it to its time. Raises as `place`."""
        if call.state is not State.DIALING:
            await self._store.create_call(call, timer, by)
            return call
        try:
            with self._capacity.seat():
                await self._store.create_call(call, timer, by)
                self._on_created(call)
        except NoSeatError as error:
            raise NoCapacityError(str(error)) from error
        except DialBlockedError as error:
            raise DialingBlockedError(error.block_id) from error
        return call

    async def check(self, order: PlaceOrder) -> None:
        """Raise what `place` would raise now, as far as can be told without writing."""
        call = await self.prepare(order)
        if call.state is State.DIALING:
            block = blocking(await self._store.find(DialBlock, call.environment_id), call)
            if block is not None:
                raise DialingBlockedError(block.id)
            try:
                self._capacity.check()
            except NoSeatError as error:
                raise NoCapacityError(str(error)) from error

    async def prepare(self, order: PlaceOrder) -> Call:
        """Return the call that an order means; nothing is written. Raises `RefusedError`, `StoreError`."""
        agent, number = await self._parties(order)
        to_number = check_destination(order.to_number, self._policy)
        trunk = await self._store.get(TrunkRecord, number.trunk_id, order.environment_id)
        if trunk is None:
            raise RefusedError("no_trunk", f"The trunk of {number.number} does not exist")
        return self._new_call(order, agent, number, trunk, to_number)

    async def _parties(self, order: PlaceOrder) -> tuple[Agent, Number]:
        """Find the agent and the number to call from; the one leads to the other."""
        number: Number | None = None
        if order.from_number is not None:
            number = await self._store.number_by_value(order.environment_id, order.from_number)
            if number is None:
                raise RefusedError("number_unknown", f"{order.from_number} is not a number of this environment")
        agent_id = order.agent_id or (number.agent_id if number else None)
        if agent_id is None:
            raise RefusedError("number_unbound", "No agent is bound to this number")
        agent = await self._store.get(Agent, agent_id, order.environment_id)
        if agent is None:
            raise RefusedError("agent_unknown", "Voice agent not found")
        if not agent.published:
            raise RefusedError("agent_inactive", "Agent is not published")
        if agent.direction is Direction.INBOUND:
            raise RefusedError("agent_inactive", "Agent takes inbound calls only")
        try:
            await self._check_agent(agent)
        except DefinitionError as error:
            raise RefusedError("agent_invalid", f"The agent cannot be put on a call: {error}") from error
        if number is None:
            numbers = await self._store.find(Number, order.environment_id)
            number = next((one for one in numbers if one.agent_id == agent.id), None)
        if number is None:
            raise RefusedError("no_number", "The agent has no phone number to call from")
        return agent, number

    def _new_call(self, order: PlaceOrder, agent: Agent, number: Number, trunk: TrunkRecord, to_number: str) -> Call:
        now = self._clock.now_ms()
        ring_timeout_ms = order.ring_timeout_ms or agent.ring_timeout_ms
        dial_at = order.dial_at or now + order.delay_s * 1000
        delayed = dial_at > now
        return Call(
            id=order.call_id or new_call_id(order.dialect),
            environment_id=order.environment_id,
            agent_id=agent.id,
            trunk_id=trunk.id,
            dialect=order.dialect,
            direction=Direction.OUTBOUND,
            from_number=number.number,
            to_number=to_number,
            state=State.SCHEDULED if delayed else State.DIALING,
            sip_call_id=f"{uuid.uuid4()}@onhook",
            created_at=now,
            updated_at=now,
            max_duration_ms=order.max_duration_ms or agent.max_duration_ms,
            ring_timeout_ms=ring_timeout_ms,
            dial_at=dial_at if delayed else None,
            deadline_at=None if delayed else now + ring_timeout_ms,
            details=order.details,
        )
