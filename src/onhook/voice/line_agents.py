"""The agents that need no process of their own: a greeting, an echo, silence."""

from onhook.agents.definition import AgentKind
from onhook.lines.engine import Engine


class LineAgents:
    """Plays and echoes on the frames port of the engine."""

    def __init__(self, greeting: bytes, engine: Engine) -> None:
        self._greeting = greeting
        self._engine = engine
        self._echoing: set[str] = set()

    def begin(self, call_id: str, kind: AgentKind) -> None:
        """Begin to speak on a call that is answered."""
        if kind is AgentKind.SILENCE:
            return
        self._engine.send_audio(call_id, self._greeting)
        if kind is AgentKind.ECHO:
            self._echoing.add(call_id)

    def on_audio(self, call_id: str, frame: bytes) -> None:
        """Take 20 ms of the far end's voice (160 bytes of G.711 mu-law)."""
        if call_id in self._echoing:
            self._engine.send_audio(call_id, frame)

    def forget(self, call_id: str) -> None:
        """Say nothing more on a call."""
        self._echoing.discard(call_id)
