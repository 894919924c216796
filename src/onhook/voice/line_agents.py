"""The agents that need no process of their own: a greeting, an echo, silence."""

import asyncio
import logging
from enum import StrEnum

from onhook.control.live import LiveCalls
from onhook.lines.engine import Engine
from onhook.store.store import Agent, Store, StoreError

logger = logging.getLogger(__name__)


class LineAgentKind(StrEnum):
    """What a line agent does once the call is answered."""

    GREETING = "greeting"
    """Plays the greeting, then is silent."""
    ECHO = "echo"
    """Plays the greeting, then repeats what it hears."""
    SILENCE = "silence"


class LineAgents:
    """Plays and echoes on the frames port of the engine."""

    def __init__(self, store: Store, live: LiveCalls, greeting: bytes, engine: Engine) -> None:
        self._store = store
        self._live = live
        self._greeting = greeting
        self._engine = engine
        self._answered: set[str] = set()
        self._echoing: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def on_answered(self, call_id: str) -> None:
        """Begin to speak on a call that was just answered."""
        self._answered.add(call_id)
        task = asyncio.get_running_loop().create_task(self._begin(call_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def on_audio(self, call_id: str, frame: bytes) -> None:
        """Take 20 ms of the far end's voice (160 bytes of G.711 mu-law)."""
        if call_id in self._echoing:
            self._engine.send_audio(call_id, frame)

    def on_ended(self, call_id: str) -> None:
        """Forget a call."""
        self._answered.discard(call_id)
        self._echoing.discard(call_id)

    async def _begin(self, call_id: str) -> None:
        call = self._live.get(call_id)
        if call is None:
            return
        try:
            agent = await self._store.get(Agent, call.agent_id, call.environment_id)
        except StoreError:
            logger.exception("call %s stays silent: its agent cannot be read", call_id)
            return
        if agent is None or agent.kind == LineAgentKind.SILENCE or call_id not in self._answered:
            return
        self._engine.send_audio(call_id, self._greeting)
        if agent.kind == LineAgentKind.ECHO:
            self._echoing.add(call_id)
