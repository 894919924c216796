"""Calls that far ends make: from an INVITE to a call that rings and is answered, or to a refusal.

An INVITE becomes a call only once the call is durable; until then nothing but a 100 was said to the caller. What the
line reports of the leg meanwhile waits behind that write, in the recorder's queue of the call: a caller that gives up
in between ends a call that is there.
"""

import asyncio
import logging
from collections.abc import Coroutine

from onhook.calls.call import Call, EventType
from onhook.calls.causes import Cause, Reason
from onhook.calls.selector import matches_new
from onhook.calls.states import State
from onhook.control.capacity import Capacity, NoSeatError
from onhook.control.live import LiveCalls
from onhook.control.progress import ProgressRecorder
from onhook.control.routing import (
    ANONYMOUS,
    ANSWER_LIMIT_MS,
    UNKNOWN,
    Refusal,
    Route,
    Router,
    masked,
    peer_text,
    registered_id,
)
from onhook.lines.engine import Engine, Incoming, LegEnded, LegEvent
from onhook.store.records import DialBlock
from onhook.store.store import Arrival, Progress, Store, StoreError

logger = logging.getLogger(__name__)

AWAY = Refusal(503, Cause("system", Reason.CARRIER_UNAVAILABLE, sip_status=503, q850=41))
"""Nothing can be written now, or the leg of an earlier try is not over."""
NO_SEAT = Refusal(503, Cause("system", Reason.CARRIER_UNAVAILABLE, sip_status=503, q850=42))
"""This node takes no more calls now."""
LEAVING = Refusal(503, Cause("system", Reason.SHUTDOWN, sip_status=503))
BLOCKED = Refusal(503, Cause("system", Reason.DIAL_BLOCKED, sip_status=503))


class Inbound:
    """Takes the calls of far ends. To be told of every event of the line."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        live: LiveCalls,
        capacity: Capacity,
        recorder: ProgressRecorder,
        router: Router,
    ) -> None:
        self._store = store
        self._engine = engine
        self._live = live
        self._capacity = capacity
        self._recorder = recorder
        self._router = router
        self._undecided: set[str] = set()
        """Legs of which nobody has decided what they become."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def on_event(self, event: LegEvent) -> None:
        """Take an INVITE, or the news that its caller has given up."""
        match event:
            case Incoming(call_id):
                self._undecided.add(call_id)
                self._run(self._decide(event))
            case LegEnded(call_id):
                self._undecided.discard(call_id)

    def close(self) -> None:
        """Refuse every call from now on: this life is ending its calls."""
        self._closed = True

    async def decided(self) -> None:
        """Wait until every INVITE that has come is a call, or refused."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._recorder.drained()

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _decide(self, incoming: Incoming) -> None:
        """Find out what an INVITE is to become, and begin it."""
        found: Route | Refusal
        try:
            found = await self._router.route(incoming)
        except StoreError:
            logger.exception("a call is refused: who takes it cannot be read")
            found = AWAY
        if self._closed:
            found = LEAVING
        if incoming.call_id not in self._undecided:
            logger.info("%s: the caller gave up before its call was there", masked(incoming))
            return
        self._undecided.discard(incoming.call_id)
        if isinstance(found, Route):
            found = self._with_seat(found)
        if isinstance(found, Route):
            self._begin(found, incoming)
        else:
            self._refuse(incoming.call_id, found, incoming)

    def _with_seat(self, route: Route) -> Route | Refusal:
        """Return the route if its call, which is live in the same turn of the event loop, gets a seat."""
        try:
            self._capacity.check()
        except NoSeatError as error:
            logger.warning("a call is refused: %s", error)
            return NO_SEAT
        return route

    def _begin(self, route: Route, incoming: Incoming) -> None:
        """Give the leg its call's id, and enter the call before all that the line will report of it."""
        call_id = route.call.id
        if call_id != incoming.call_id:
            try:
                self._engine.rename(incoming.call_id, to=call_id)
            except ValueError:
                self._refuse(incoming.call_id, AWAY, incoming)
                return
        self._live.add(route.call)
        self._recorder.own(call_id, lambda: self._enter(route, incoming), incoming.call_id)

    async def _enter(self, route: Route, incoming: Incoming) -> None:
        """Make the call durable, then ring and answer, unless something keeps it from being taken."""
        call_id = route.call.id
        try:
            call = await self._write(route, incoming)
        except StoreError:
            logger.exception("call %s is refused: it cannot be recorded", call_id)
            if not await self._may_be_there(call_id):
                self._live.remove(call_id)
                self._recorder.disown(call_id)
            self._refuse(call_id, AWAY, incoming)
            return
        if call is None:  # The registered call was stopped, or has expired, a moment ago.
            self._live.remove(call_id)
            self._refuse(call_id, UNKNOWN, incoming)
            return
        self._live.add(call)
        refusal = await self._objection(call)
        if refusal is not None:
            self._refuse(call_id, refusal, incoming)
            return
        self._engine.ring(call_id)
        self._engine.answer(call_id, route.trunk)

    async def _write(self, route: Route, incoming: Incoming) -> Call | None:
        """Write the call with the news that it was dialled; None for one that waits no longer. Raises `StoreError`."""
        call, data = route.call, {"peer": peer_text(incoming)}
        if not route.awaited:
            await self._store.create_call(call)
            await self._store.record_progress(Progress(call.id, incoming.at, EventType.DIALED, data=data))
            return call
        is_id = registered_id(incoming) == incoming.to_number
        return await self._store.arrive(
            Arrival(
                call_id=call.id,
                at=incoming.at,
                deadline_at=incoming.at + ANSWER_LIMIT_MS,
                sip_call_id=incoming.sip_call_id,
                trunk_id=route.trunk.id if route.trunk is not None else "",
                from_number=incoming.from_number or ANONYMOUS,
                to_number="" if is_id else incoming.to_number,
                data=data,
            )
        )

    async def _may_be_there(self, call_id: str) -> bool:
        """Say whether a call may have begun though its write failed."""
        try:
            call = await self._store.get_call(call_id, None)
        except StoreError:
            return True
        return call is not None and call.state is not State.SCHEDULED

    async def _objection(self, call: Call) -> Refusal | None:
        """Return what keeps a call that is there from being taken.

        A dial block is looked for now, not before: whoever put one finds this call and stops it, or is found here.
        """
        if self._closed:
            return LEAVING
        try:
            blocks = await self._store.find(DialBlock, call.environment_id)
        except StoreError:
            logger.exception("call %s is refused: the dial blocks cannot be read", call.id)
            return AWAY
        return BLOCKED if any(matches_new(block.selector, call) for block in blocks) else None

    def _refuse(self, call_id: str, refusal: Refusal, incoming: Incoming) -> None:
        logger.warning("%s: refused with %d, %s", masked(incoming), refusal.status, refusal.cause.reason)
        self._engine.refuse(call_id, refusal.status, refusal.cause)
