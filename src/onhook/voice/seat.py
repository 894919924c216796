"""The agent's place on a call: one agent at a time sits there."""

from collections.abc import Callable

from onhook.agents.messages import CallInfo, FromAgent, ToAgent
from onhook.agents.port import AgentPort, AgentSession

Take = Callable[[FromAgent], None]


class Listener:
    """Where one agent's messages arrive, until it has lost its seat."""

    def __init__(self, take: Take) -> None:
        self._take: Take | None = take

    def on_agent(self, message: FromAgent) -> None:
        """Take one message."""
        if self._take is not None:
            self._take(message)

    def leave(self) -> None:
        """Take no more, and hold on to nobody."""
        self._take = None


class Seat:
    """Brings agents to a call, and sends them away."""

    def __init__(self, agents: AgentPort, take: Take) -> None:
        self._agents = agents
        self._take = take
        self._listener: Listener | None = None
        self._session: AgentSession | None = None

    def offer(self, info: CallInfo) -> None:
        """Have an agent come. It may be lost, or sent away, before `AgentPort.start` returns."""
        listener = self._listener = Listener(self._take)
        session = self._agents.start(info, listener)
        if self._listener is listener:
            self._session = session

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
