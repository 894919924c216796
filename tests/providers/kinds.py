"""The kinds under test, and how each is brought into a state."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tests.providers.cloud import Cloud
from tests.providers.line import FakeLine, call_for

from onhook.agents.agent import Agent
from onhook.agents.chain.agent import ChainAgent
from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.agents.messages import CallInfo, Speech
from onhook.agents.openai_realtime import RealtimeAgent
from onhook.agents.providers.deadlines import Limits

QUICK = Limits(connect=0.5, first=0.5, stall=0.4, close=0.35)
"""Deadlines for tests; the one for closing is the product's."""

FRAME = b"\xff" * 160


class Kind(NamedTuple):
    """An agent and its definition; `streams` is True when it holds a websocket during the whole call."""

    name: str
    create: Callable[[Limits], Agent]
    definition: AgentDefinition
    streams: bool

    def call(self, **changes: Any) -> CallInfo:
        """Return a call with this agent."""
        fields = {name: getattr(self.definition, name) for name in self.definition.__struct_fields__}
        return call_for(AgentDefinition(**{**fields, **changes}))


def _chain(name: str, *, stt: str, tts: str) -> Kind:
    definition = AgentDefinition(AgentKind.CHAIN, prompt="Be kind.", options={"stt": stt, "tts": tts})
    return Kind(name, ChainAgent, definition, streams=stt == "deepgram")


REALTIME = Kind("realtime", RealtimeAgent, AgentDefinition(AgentKind.OPENAI_REALTIME, prompt="Be kind."), streams=True)
CHAIN = _chain("chain-deepgram-elevenlabs", stt="deepgram", tts="elevenlabs")
CHAIN_OPENAI = _chain("chain-openai", stt="openai", tts="openai")
KINDS = [REALTIME, CHAIN, CHAIN_OPENAI]

TOOL = ("", [("press_keys", {"digits": "1"})])


async def caller_talks(agent: Agent, cloud: Cloud) -> None:
    """Have the caller take a turn."""
    agent.on_speech(Speech(started=True, at_ms=1_000))
    for _ in range(10):
        agent.on_audio(FRAME)
    agent.on_speech(Speech(started=False, at_ms=1_900, duration_ms=900))
    if isinstance(agent, RealtimeAgent):
        await cloud.caller_talks()


async def to_listening(agent: Agent, cloud: Cloud, line: FakeLine) -> None:
    """Bring a started agent that lets the caller speak first to where it listens."""
    agent.on_audio(FRAME)


async def to_speaking(agent: Agent, cloud: Cloud, line: FakeLine) -> None:
    """Bring it into the middle of a sentence."""
    cloud.holds.clear()
    await caller_talks(agent, cloud)
    await line.until(lambda: bool(line.played))


async def to_tool_call(agent: Agent, cloud: Cloud, line: FakeLine) -> None:
    """Bring it to where a tool was run and the model is asked to go on, which it does not do soon."""
    cloud.answers = [TOOL, ("Then the second menu.", [])]
    cloud.holds.clear()
    await caller_talks(agent, cloud)
    await line.first("action")


STATES: dict[str, Callable[[Agent, Cloud, FakeLine], Awaitable[None]]] = {
    "listening": to_listening,
    "speaking": to_speaking,
    "tool-call": to_tool_call,
}
