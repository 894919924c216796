"""Agents without processes: an `AgentPort` that does what a test tells it."""

from dataclasses import dataclass, field

from onhook.agents.messages import CallInfo, FromAgent, Gone, Started, ToAgent
from onhook.agents.port import AgentListener


@dataclass
class FakeSession:
    """An agent on a call: what it was told, in order, and what a test has it say."""

    call: CallInfo
    listener: AgentListener
    sent: list[ToAgent] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)
    stopped_for: str | None = None

    def audio(self, mulaw: bytes) -> None:
        """Keep 20 ms of the caller's voice."""
        self.heard += mulaw

    def send(self, message: ToAgent) -> None:
        """Keep a message."""
        self.sent.append(message)

    def stop(self, reason: str) -> None:
        """Note that the agent has to go, and report that it is gone."""
        if self.stopped_for is None:
            self.stopped_for = reason
            self.listener.on_agent(Gone(clean=True))

    def say(self, *messages: FromAgent) -> None:
        """Have the agent send messages; one that was stopped sends none."""
        for message in messages:
            if self.stopped_for is None:
                self.listener.on_agent(message)


class FakeAgents:
    """An `AgentPort`. Its agents start at once unless `starts` is False; `sessions` holds them in order."""

    def __init__(self) -> None:
        self.starts = True
        self.sessions: list[FakeSession] = []

    def start(self, call: CallInfo, listener: AgentListener) -> FakeSession:
        """Put an agent on a call."""
        session = FakeSession(call, listener)
        self.sessions.append(session)
        if self.starts:
            listener.on_agent(Started())
        return session

    def components(self) -> dict[str, str]:
        """Say that all is well."""
        return {"agents": "ok"}

    @property
    def last(self) -> FakeSession:
        """The agent that was put on a call last."""
        return self.sessions[-1]
