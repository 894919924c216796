"""The agent's place on a call: one agent at a time sits there."""

from collections.abc import Callable
from functools import partial

import msgspec

from onhook.agents.messages import CallInfo, FromAgent, Lost, ToAgent
from onhook.agents.port import AgentPort, AgentSession

Take = Callable[[FromAgent], None]

ANNOUNCER_TRIES = 3
"""How many agents of ours come at most to say one text: processes may die together."""


class Listener:
    """Where one agent's messages arrive, until it has lost its seat."""

    def __init__(self, take: Take) -> None:
        self.take: Take | None = take

    def on_agent(self, message: FromAgent) -> None:
        """Take one message."""
        if self.take is not None:
            self.take(message)

    def leave(self) -> None:
        """Take no more, and hold on to nobody."""
        self.take = None


class Seat:
    """Brings agents to a call, and sends them away."""

    def __init__(self, agents: AgentPort, take: Take) -> None:
        self._agents = agents
        self._take = take
        self._listener: Listener | None = None
        self._session: AgentSession | None = None

    def offer(self, info: CallInfo, tries: int = 1) -> None:
        """Have an agent come. It may be lost, or sent away, before `AgentPort.start` returns.

        With more tries, one that is lost before its first message is replaced: processes that die together are not all
        known to be dead when the first one is.
        """
        listener = self._listener = Listener(self._take if tries == 1 else partial(self._take_first, info, tries))
        session = self._agents.start(info, listener)
        if self._listener is listener:
            self._session = session

    def announce(self, info: CallInfo, text: str) -> None:
        """Have an agent of ours come instead, one that says a text and hangs up."""
        from onhook.agents.scripted.script import announcement  # noqa: PLC0415 (reads YAML, which few calls need)

        self.clear("its words are said by another")
        self.offer(msgspec.structs.replace(info, definition=announcement(info.definition, text)), ANNOUNCER_TRIES)

    def _take_first(self, info: CallInfo, tries: int, message: FromAgent) -> None:
        """Take the first message of an agent that may be replaced; from now on it may not."""
        if isinstance(message, Lost):
            self.clear("the agent was lost")
            self.offer(info, tries - 1)
        else:
            if self._listener is not None:
                self._listener.take = self._take
            self._take(message)

    def tell(self, message: ToAgent) -> None:
        """Send the agent a message."""
        if self._session is not None:
            self._session.send(message)

    def audio(self, mulaw: bytes) -> None:
        """Pass on 20 ms of the caller's voice."""
        if self._session is not None:
            self._session.audio(mulaw)

    def clear(self, reason: str) -> None:
        """Send the agent away, and hear no more of it."""
        session, listener = self._session, self._listener
        self._session = self._listener = None
        if listener is not None:
            listener.leave()
        if session is not None:
            session.stop(reason)
