"""The port to agents, as the line sees it: an agent per call, somewhere else."""

from typing import Protocol

from onhook.agents.messages import CallInfo, FromAgent, ToAgent


class AgentListener(Protocol):
    """Where an agent's messages arrive; called in the event loop, must not block."""

    def on_agent(self, message: FromAgent) -> None:
        """Take one message. `Gone` or `Lost` is the last one."""
        ...


class AgentSession(Protocol):
    """One agent on one call. No method blocks or raises; a wedged agent loses what it does not take."""

    def audio(self, mulaw: bytes) -> None:
        """Pass on 20 ms of the caller's voice."""
        ...

    def send(self, message: ToAgent) -> None:
        """Pass on a message. After `Interrupted`, what the agent had sent before it knew is dropped on arrival."""
        ...

    def stop(self, reason: str) -> None:
        """Have the agent gone: it gets `STOP_LIMIT_S`, then it is killed, with its process if need be."""
        ...


class AgentPort(Protocol):
    """Where agents come from."""

    def start(self, call: CallInfo, listener: AgentListener) -> AgentSession:
        """Put an agent on a call; `Started` or `Failed` follows, `Lost` when there is no process to host it."""
        ...

    def components(self) -> dict[str, str]:
        """Say `ok`, or what is missing, for each part that agents need (for `/readyz`)."""
        ...
