"""Registering a call: its agent and all that it is to know, before the customer's own SIP side sends us its leg."""

import msgspec

from onhook.agents.definition import DefinitionError
from onhook.calls.call import Call, CallDetails, Dialect, Direction, new_call_id
from onhook.calls.states import State
from onhook.clock import Clock
from onhook.control.fitness import CheckAgent, any_agent
from onhook.control.place import RefusedError
from onhook.store.audit import Act
from onhook.store.store import Agent, ConflictError, Store

REGISTRATION_MS = 300_000
"""How long a registered call waits for its leg."""


class RegisterOrder(msgspec.Struct, frozen=True):
    """What is known of a call before it comes. `call_id` is for requests that may come twice; `by` is who asks.

    The numbers and the direction are kept as they were given; the leg itself always comes to us.
    """

    environment_id: str
    dialect: Dialect
    agent_id: str
    call_id: str | None = None
    direction: Direction = Direction.INBOUND
    from_number: str = ""
    to_number: str = ""
    details: CallDetails = CallDetails()
    by: Act | None = None


class Registrar:
    """Registers calls."""

    def __init__(self, store: Store, clock: Clock, check_agent: CheckAgent = any_agent) -> None:
        self._store = store
        self._clock = clock
        self._check_agent = check_agent

    async def register(self, order: RegisterOrder) -> Call:
        """Write a call that waits for its leg; the one that has the order's id stays as it is.

        Raises `RefusedError` (`agent_unknown`, `agent_inactive`, `agent_invalid`) and `StoreError`.
        """
        made = None if order.call_id is None else await self._store.get_call(order.call_id, None)
        if made is not None:
            return made
        agent, now = await self._agent(order), self._clock.now_ms()
        call = Call(
            id=order.call_id or new_call_id(order.dialect),
            environment_id=order.environment_id,
            agent_id=agent.id,
            trunk_id=await self._trunk_id(order),
            dialect=order.dialect,
            direction=order.direction,
            from_number=order.from_number,
            to_number=order.to_number,
            state=State.SCHEDULED,
            sip_call_id="",
            created_at=now,
            updated_at=now,
            max_duration_ms=agent.max_duration_ms,
            ring_timeout_ms=agent.ring_timeout_ms,
            deadline_at=now + REGISTRATION_MS,
            details=order.details,
        )
        try:
            await self._store.create_call(call, by=order.by)
        except ConflictError:
            made = await self._store.get_call(call.id, None)
            if made is None:
                raise
            return made
        return call

    async def _agent(self, order: RegisterOrder) -> Agent:
        agent = await self._store.get(Agent, order.agent_id, order.environment_id)
        if agent is None:
            raise RefusedError("agent_unknown", "Voice agent not found")
        if not agent.published:
            raise RefusedError("agent_inactive", "Agent is not published")
        try:
            await self._check_agent(agent)
        except DefinitionError as error:
            raise RefusedError("agent_invalid", f"The agent cannot be put on a call: {error}") from error
        return agent

    async def _trunk_id(self, order: RegisterOrder) -> str:
        """Return the trunk of whichever number is ours; an empty text while it is not known."""
        for value in (order.to_number, order.from_number):
            number = await self._store.number_by_value(order.environment_id, value)
            if number is not None:
                return number.trunk_id
        return ""
