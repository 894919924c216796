"""The ears of all calls: one model for the whole process, loaded when the first call needs it."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from onhook.agents.definition import AgentDefinition
from onhook.clock import Clock
from onhook.lines.engine import Tick
from onhook.voice.ear import Ear, OnEarEvent
from onhook.voice.vad import load_vad

logger = logging.getLogger(__name__)


class Hearing(Protocol):
    """The ear of a call (`onhook.voice.ear.Ear`)."""

    def hear(self, tick: Tick, at_ms: int, *, agent_speaking: bool) -> None:
        """Take one tick."""
        ...


OpenEar = Callable[[OnEarEvent], Hearing]
"""Makes the ear of a call; it tells what it notices at once or a little later."""

FitEar = Callable[[AgentDefinition], OpenEar]
"""Returns what makes an ear for calls of such an agent."""


class Ears:
    """Gives ears to conversations.

    `load` blocks while it loads the model, which takes a quarter of a second and some 100 MB: it runs in a thread,
    once, and an idle process never pays for it.
    """

    def __init__(self, load: Callable[[], FitEar], on_loaded: Callable[[], None]) -> None:
        self._load = load
        self._on_loaded = on_loaded
        self._fit: FitEar | None = None
        self._loading: asyncio.Task[FitEar] | None = None

    def want(self) -> None:
        """Have the model loaded; harmless when repeated."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(asyncio.to_thread(self._load))
            self._loading.add_done_callback(self._loaded)

    def ear(self, definition: AgentDefinition) -> OpenEar | None:
        """Return what makes the ear of a call, None while the model is not there."""
        return None if self._fit is None else self._fit(definition)

    async def loaded(self) -> None:
        """Wait until what was wanted is there, or could not be loaded."""
        if self._loading is not None:
            await asyncio.wait((self._loading,))
            await asyncio.sleep(0)  # `on_loaded` comes first

    def _loaded(self, loading: asyncio.Task[FitEar]) -> None:
        if loading.cancelled():
            return
        error = loading.exception()
        if error is not None:
            logger.error("nobody can tell the callers' voices from silence: the model cannot be loaded", exc_info=error)
            return
        self._fit = loading.result()
        self._on_loaded()


def load_ears(clock: Clock) -> FitEar:
    """Load what tells a caller's voice from silence; blocks for a quarter of a second."""
    model = load_vad(partial(clock.call_later, 0))
    return lambda definition: partial(Ear, model, definition)
