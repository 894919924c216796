"""The ears of all calls: one model for the whole process, loaded when the first call needs it."""

import asyncio
import logging
from collections.abc import Callable

from onhook.agents.definition import AgentDefinition
from onhook.voice.conversation import Hearing

logger = logging.getLogger(__name__)

MakeHearing = Callable[[AgentDefinition], Hearing]


class Ears:
    """Gives ears to conversations.

    `load` blocks while it loads the model, which takes a quarter of a second and some 100 MB: it runs in a thread,
    once, and an idle process never pays for it.
    """

    def __init__(self, load: Callable[[], MakeHearing], on_loaded: Callable[[], None]) -> None:
        self._load = load
        self._on_loaded = on_loaded
        self._make: MakeHearing | None = None
        self._loading: asyncio.Task[MakeHearing] | None = None

    def want(self) -> None:
        """Have the model loaded; harmless when repeated."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(asyncio.to_thread(self._load))
            self._loading.add_done_callback(self._loaded)

    def ear(self, definition: AgentDefinition) -> Hearing | None:
        """Return an ear for a call, None while the model is not there."""
        return None if self._make is None else self._make(definition)

    async def loaded(self) -> None:
        """Wait until what was wanted is there, or could not be loaded."""
        if self._loading is not None:
            await asyncio.wait((self._loading,))
            await asyncio.sleep(0)  # `on_loaded` comes first

    def _loaded(self, loading: asyncio.Task[MakeHearing]) -> None:
        if loading.cancelled():
            return
        error = loading.exception()
        if error is not None:
            logger.error("nobody can tell the callers' voices from silence: the model cannot be loaded", exc_info=error)
            return
        self._make = loading.result()
        self._on_loaded()
