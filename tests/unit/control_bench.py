"""Call control over the fakes: what the tests of `onhook.control` are written on."""

import asyncio
from typing import cast

from onhook.agents.definition import DefinitionError
from onhook.calls.call import Call, Dialect
from onhook.calls.causes import Cause, Reason
from onhook.control.capacity import Capacity
from onhook.control.dial import Dialer
from onhook.control.end import Ending
from onhook.control.live import LiveCalls
from onhook.control.place import DialPolicy, PlaceOrder, Placer
from onhook.control.progress import ProgressRecorder
from onhook.control.reconcile import Reconciler
from onhook.control.timers import StopTimers
from onhook.lines.engine import LegEvent, Tick
from onhook.store.store import Agent, Environment, Number, StopOrder, Store, TrunkRecord
from onhook.testing.clock import ManualClock
from onhook.testing.engine import FakeEngine
from onhook.testing.store import MemoryStore

API = Cause("api_key:k1", Reason.API_STOP)


class Bench:
    """A whole call control with two tenants, `a` and `b`; only `a` has an agent and a number.

    What fails or delays writes needs the store that is there unless another is given.
    """

    def __init__(self, store: Store | None = None, max_calls: int = 0) -> None:
        self.unfit: dict[str, str] = {}
        """What keeps agents, by their ids, from being put on a call."""
        self.clock = ManualClock()
        self.store = cast("MemoryStore", store or MemoryStore())
        self.engine = FakeEngine(self.clock)
        self.live = LiveCalls()
        self.late = False
        self.capacity = Capacity(self.live, max_calls, lambda: self.late)
        self.ending = Ending(self.store, self.engine, self.clock, self.live)
        self.recorder = ProgressRecorder(self.store, self.ending, self.live, self.clock, late_watch_s=212)
        self.dialer = Dialer(
            self.store,
            self.engine,
            self.clock,
            self.live,
            self.capacity,
            self.recorder.on_event,
            lambda secret: secret,
            check_agent=self.check_agent,
        )
        self.placer = Placer(self.store, self.clock, DialPolicy(), self.capacity, self.dialer.start, self.check_agent)
        self.timers = StopTimers(self.store, self.clock, self.ending)
        self.reconciler = Reconciler(
            self.store, self.engine, self.clock, self.live, self.ending, self.dialer, self.timers
        )
        self.engine.report_to(self)

    async def open(self) -> "Bench":
        now = self.clock.now_ms()
        for environment in ("a", "b"):
            await self.store.put(Environment(environment, environment, now))
        await self.store.put(TrunkRecord("t1", "a", "trunk", "sip:127.0.0.1:5999", now))
        await self.store.put(Agent("agent1", "a", Dialect.NATIVE, "Ann", "Ann", now, now, published=True))
        await self.store.put(Number("n1", "a", "+12025550100", "t1", now, "agent1"))
        return self

    def on_event(self, event: LegEvent) -> None:
        self.recorder.on_event(event)

    def on_audio(self, call_id: str, frame: bytes) -> None:
        """Nobody listens here."""

    def on_tick(self, call_id: str, tick: Tick) -> None:
        """Nor here."""

    def on_mark(self, call_id: str, name: str, cleared: bool) -> None:
        """Nobody marks."""

    def on_cut(self, call_id: str) -> None:
        """Nobody talks."""

    async def place(self, *, delay_s: int = 0, to: str = "+12025550199") -> Call:
        order = PlaceOrder("a", Dialect.NATIVE, to, agent_id="agent1", delay_s=delay_s)
        call = await self.placer.place(order)
        await self.dialer.started()
        return await self.written(call.id)

    async def check_agent(self, agent: Agent) -> None:
        if agent.id in self.unfit:
            raise DefinitionError(self.unfit[agent.id])

    async def told_to_hang_up(self) -> None:
        """Let other tasks run until the engine was told to end a leg, for a bounded number of turns."""
        for _ in range(1000):
            if self.engine.hangups:
                return
            await asyncio.sleep(0)
        raise AssertionError("the engine was never told to hang up")

    async def written(self, call_id: str) -> Call:
        """Return the call after all that was reported is written."""
        await self.recorder.drained()
        call = await self.store.get_call(call_id, None)
        assert call is not None
        return call

    def stop_order(self, call_id: str, environment_id: str | None = "a") -> StopOrder:
        return StopOrder(call_id, API, self.clock.now_ms(), environment_id=environment_id)

    async def event_types(self, call_id: str) -> list[str]:
        return [str(event.type) for event in await self.store.events(call_id)]
