"""A `Rig` whose calls have agents on them, on a clock that stands still."""

from tests.dialect.conftest import Rig

from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.agents.messages import FromAgent, HangUp, Play, Say
from onhook.agents.port import AgentPort
from onhook.control.graceful import GracefulStops
from onhook.lines.engine import Tick
from onhook.relay import LineRelay
from onhook.store.store import Store
from onhook.testing.agents import FakeAgents
from onhook.testing.clock import ManualClock
from onhook.voice.conversations import Conversations, Voice

VOICE = b"\x10\x90" * 80
"""20 ms of what an agent says."""


class DeafEar:
    """Hears nothing."""

    def hear(self, tick: Tick, at_ms: int, *, agent_speaking: bool) -> None:
        return


class NoFile:
    """Records nothing."""

    def write(self, tick: Tick) -> None:
        pass

    def close(self) -> int:
        return 0

    def discard(self) -> None:
        pass


class TalkingRig(Rig):
    """Everything but the wire and the agents' processes; `agents` are what tests have them do."""

    def __init__(self, store: Store) -> None:
        self.still = ManualClock()
        super().__init__(store, self.still)
        self.agents = FakeAgents()
        relay = LineRelay()
        relay.recorder = self.recorder
        relay.conversations = self.conversations = Conversations(self._voice())
        self.engine.report_to(relay)
        self.ending.cut_farewell = self.conversations.cut_farewell
        self.graceful = GracefulStops(store, self.clock, self.ending, self.timers, self.conversations)

    def says_goodbye(self, ms: int, *then: FromAgent) -> None:
        """Have the agent that was put on a call last say `ms` of a farewell."""
        self.agents.last.say(Say("So long."), Play(VOICE * (ms // 20)), *then)

    def says_it_and_hangs_up(self, ms: int) -> None:
        self.says_goodbye(ms, HangUp("", drain=True))

    async def passes(self, call_id: str, ms: int) -> None:
        """Let time pass on a line, and all that comes of it be written."""
        for _ in range(ms // 20):
            self.still.advance(0.02)
            if call_id in self.engine.legs:
                self.engine.tick(call_id)
        await self.written()

    async def written(self) -> None:
        await self.dialer.started()
        await self.timers.rung()
        await self.conversations.settled()
        await self.recorder.drained()

    def _voice(self) -> Voice:
        async def open_agents() -> AgentPort:
            return self.agents

        async def credentials(_environment_id: str) -> dict[str, str]:
            return {}

        async def prepare_recording() -> None:
            pass

        return Voice(
            store=self.store,
            live=self.live,
            engine=self.engine,
            clock=self.clock,
            ending=self.ending,
            note=self.recorder.note,
            agents=open_agents,
            define=lambda _agent, _call: AgentDefinition(AgentKind.SCRIPTED),
            credentials=credentials,
            load_ears=lambda: lambda _definition: lambda _tell: DeafEar(),
            prepare_recording=prepare_recording,
            open_recording=lambda _call_id: NoFile(),
            greeting=b"",
        )
