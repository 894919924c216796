"""Dialling: from a call's row to a leg on the wire."""

import asyncio
import logging
from collections.abc import Callable

from onhook.agents.definition import DefinitionError
from onhook.calls.call import Call
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Proof, Result
from onhook.clock import Clock
from onhook.control.capacity import Capacity
from onhook.control.fitness import CheckAgent, any_agent
from onhook.control.live import LiveCalls
from onhook.lines.engine import DialOrder, Engine, LegEnded, LegEvent, Trunk
from onhook.store.secrets import SecretError
from onhook.store.store import Agent, Store, StoreError, TrunkRecord

logger = logging.getLogger(__name__)


class Dialer:
    """Starts legs, each in a task of its own, and keeps `LiveCalls` true.

    `force_uri` sends every call to that SIP URI, whatever its trunk says: the sandbox's guarantee that
    nothing is dialled outside.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        live: LiveCalls,
        capacity: Capacity,
        report: Callable[[LegEvent], None],
        decrypt: Callable[[str], str],
        force_uri: str | None = None,
        check_agent: CheckAgent = any_agent,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._live = live
        self._capacity = capacity
        self._report = report
        self._decrypt = decrypt
        self._force_uri = force_uri
        self._check_agent = check_agent
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def close(self) -> None:
        """Let scheduled calls wait for the next life from now on: this one is ending its calls."""
        self._closed = True

    def start(self, call: Call) -> None:
        """Dial a call whose row is `dialing`."""
        self._live.add(call)
        task = asyncio.get_running_loop().create_task(self._dial(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start_scheduled(self, call: Call) -> None:
        """Dial a call whose delay is over, unless it was stopped meanwhile.

        Without a seat it waits on: the next sweep finds it again. Raises `DefinitionError` when its agent cannot be put
        on it any more, `StoreError`; nothing is dialled then.
        """
        if self._closed or self._capacity.shortage() is not None:
            return
        with self._capacity.seat():
            agent = await self._store.get(Agent, call.agent_id, call.environment_id)
            if agent is None:
                raise DefinitionError("the agent is not there any more")
            await self._check_agent(agent)
            now = self._clock.now_ms()
            if await self._store.dial(call.id, now, now + call.ring_timeout_ms):
                self.start(call)

    async def started(self) -> None:
        """Wait until every call told to dial so far is with the engine."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _dial(self, call: Call) -> None:
        try:
            record = await self._store.get(TrunkRecord, call.trunk_id, call.environment_id)
        except StoreError:
            logger.exception("call %s is not dialled: its trunk cannot be read", call.id)
            record = None
        trunk = None if record is None else trunk_of(record, self._decrypt, self._force_uri)
        if trunk is None:
            self._report(self._not_dialled(call))
            return
        order = DialOrder(
            call_id=call.id,
            sip_call_id=call.sip_call_id,
            trunk=trunk,
            from_number=call.from_number,
            to_number=call.to_number,
            headers=call.details.sip_headers,
        )
        await self._engine.place(order)

    def _not_dialled(self, call: Call) -> LegEnded:
        now = self._clock.now_ms()
        return LegEnded(
            call_id=call.id,
            at=now,
            proof=Proof(Result.CONFIRMED, Method.NONE, confirmed_at=now),
            cause=Cause("system", Reason.TRANSPORT_FAILED),
        )


def trunk_of(record: TrunkRecord, decrypt: Callable[[str], str], force_uri: str | None = None) -> Trunk | None:
    """Return a trunk as the engine wants it; None when its password cannot be read."""
    try:
        password = decrypt(record.password) if record.password else None
    except SecretError:
        logger.exception("the password of trunk %s cannot be read", record.id)
        return None
    return Trunk(
        id=record.id,
        uri=force_uri or record.uri,
        username=record.username,
        password=password,
        from_user=record.from_user,
        from_domain=record.from_domain,
        number_format=record.number_format,
        identity=record.identity,
        send_reason_text=record.send_reason_text,
        session_expires_s=record.session_expires_s,
    )
