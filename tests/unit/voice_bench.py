"""Conversations over the fakes: what their tests are written on."""

import threading
from dataclasses import dataclass, field
from typing import Any

import msgspec

from onhook.agents.definition import AgentDefinition, AgentKind, DefinitionError
from onhook.agents.messages import Cue, CueKind, FromAgent, Play, Say
from onhook.agents.port import AgentPort
from onhook.calls.call import Call, CallDetails, DataStorage, Dialect, EventType
from onhook.calls.causes import Cause, Reason
from onhook.control.graceful import GracefulStops
from onhook.control.place import PlaceOrder
from onhook.lines.engine import Tick
from onhook.relay import LineRelay
from onhook.store.store import Agent, Store
from onhook.testing.agents import FakeAgents, FakeSession
from onhook.voice.conversations import Conversations, Voice
from onhook.voice.ear import EarEvent, OnEarEvent
from tests.unit.control_bench import Bench

SILENCE = b"\xff" * 160
VOICE = b"\x10\x90" * 80
SCRIPTED = AgentDefinition(AgentKind.SCRIPTED)
GREETING = b"hello" * 64


@dataclass
class FakeEar:
    """An ear that hears what it is told to."""

    coming: list[EarEvent] = field(default_factory=list)
    agent_speaking: bool = False
    tell: OnEarEvent | None = None

    def belong_to(self, tell: OnEarEvent) -> "FakeEar":
        self.tell = tell
        return self

    def hear(self, tick: Tick, at_ms: int, *, agent_speaking: bool) -> None:
        self.agent_speaking = agent_speaking
        events, self.coming = self.coming, []
        for event in events:
            assert self.tell is not None
            self.tell(event)


@dataclass
class FakeFile:
    """A recording in memory."""

    ticks: list[Tick] = field(default_factory=list)
    closed: bool = False
    discarded: bool = False

    def write(self, tick: Tick) -> None:
        self.ticks.append(tick)

    def close(self) -> int:
        self.closed = True
        return len(self.ticks) * 20

    def discard(self) -> None:
        self.discarded = True


class VoiceBench(Bench):
    """A node's call control and conversations; its one agent is `definition`, its ears are `ear`."""

    def __init__(
        self,
        definition: AgentDefinition = SCRIPTED,
        *,
        has_ear: bool = True,
        store: Store | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(store)
        self.definition = msgspec.structs.replace(definition, **changes)
        self.fault: str | None = None
        self.storage_setting: DataStorage = "everything"
        self.agents = FakeAgents()
        self.ear = FakeEar()
        self.files: list[FakeFile] = []
        self.warmed = 0
        self.ears_there = threading.Event()
        if has_ear:
            self.ears_there.set()
        self.relay = LineRelay()
        self.relay.recorder = self.recorder
        self.conversations = self.relay.conversations = Conversations(self._voice())
        self.engine.report_to(self.relay)
        self.ending.cut_farewell = self.conversations.cut_farewell
        self.graceful = GracefulStops(self.store, self.clock, self.ending, self.timers, self.conversations)

    async def talk(self, **changes: Any) -> Call:
        """Place a call and have it answered, with its agent on it; `changes` are made to the agent's record."""
        call = await self.dial(**changes)
        self.engine.answer(call.id)
        await self.settled()
        return call

    async def dial(self, **changes: Any) -> Call:
        """Place a call that rings."""
        agent = await self.store.get(Agent, "agent1", "a")
        assert agent is not None
        await self.store.put(msgspec.structs.replace(agent, **changes))
        details = CallDetails(data_storage_setting=self.storage_setting)
        order = PlaceOrder("a", Dialect.NATIVE, "+12025550199", agent_id="agent1", details=details)
        call = await self.placer.place(order)
        await self.dialer.started()
        self.engine.ring(call.id)
        await self.settled()
        return call

    async def settled(self) -> None:
        """Wait until nothing is left to do before time moves on."""
        await self.timers.rung()
        await self.conversations.settled()
        if self.ears_there.is_set():
            await self.conversations.ears.loaded()
        await self.recorder.drained()

    @property
    def agent(self) -> FakeSession:
        return self.agents.last

    def pass_time(
        self, call: Call, ms: int, heard: bytes = SILENCE, *, arrived: bool = True, held: bool = False
    ) -> None:
        """Let `ms` pass on the line, 20 at a time; a call that ends meanwhile has no more ticks."""
        for _ in range(ms // 20):
            self.clock.advance(0.02)
            if call.id in self.engine.legs:
                self.engine.tick(call.id, heard, arrived=arrived, held=held)

    def hears(self, call: Call, *events: EarEvent) -> None:
        """Let the ear hear something in the next 20 ms."""
        self.ear.coming += events
        self.pass_time(call, 20)

    def speaks(self, text: str, ms: int, *then: FromAgent) -> None:
        """Have the agent say a text of `ms`."""
        self.agent.say(Say(text), Play(VOICE * (ms // 20)), *then)

    def cues(self) -> list[CueKind]:
        return [message.kind for message in self.agent.sent if isinstance(message, Cue)]

    async def ended_for(self, call: Call) -> Cause:
        """Return why the call ended, with who."""
        await self.settled()
        cause = (await self.written(call.id)).cause
        assert cause is not None
        return cause

    async def goes_on(self, call: Call) -> bool:
        await self.settled()
        return not (await self.written(call.id)).is_over

    async def noted(self, call: Call, event_type: EventType) -> list[dict[str, Any]]:
        await self.settled()
        return [event.data for event in await self.store.events(call.id) if event.type is event_type]

    def _voice(self) -> Voice:
        return Voice(
            store=self.store,
            live=self.live,
            engine=self.engine,
            clock=self.clock,
            ending=self.ending,
            note=self.recorder.note,
            agents=self._open_agents,
            define=self._define,
            credentials=self._credentials,
            load_ears=self._load_ears,
            prepare_recording=self._prepare_recording,
            open_recording=self._open_recording,
            greeting=GREETING,
        )

    def _define(self, agent: Agent, call: Call) -> AgentDefinition:
        if self.fault is not None:
            raise DefinitionError(self.fault)
        return self.definition

    async def _credentials(self, environment_id: str) -> dict[str, str]:
        return {"account_sid": f"AC{environment_id}"}

    def _load_ears(self) -> Any:
        self.ears_there.wait(5)
        return lambda _definition: self.ear.belong_to

    async def _prepare_recording(self) -> None:
        pass

    def _open_recording(self, call_id: str) -> FakeFile:
        self.files.append(FakeFile())
        return self.files[-1]

    async def _open_agents(self) -> AgentPort:
        self.warmed += 1
        return self.agents


def timer(reason: Reason) -> Cause:
    return Cause("timer", reason)
