"""Traces of calls on their way to a collector: behind the calls, and never in their way.

Nothing of OpenTelemetry is loaded before the first call has ended, and what is loaded then works in a thread.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from onhook.calls.call import Call, Event
from onhook.store.logs import log_of
from onhook.store.store import Store, StoreError

logger = logging.getLogger(__name__)

LINGER_S = 1.0
"""How long ends are gathered before they are sent together."""
BATCH = 64
"""Calls that are sent together."""
BACKLOG = 10_000
"""Calls that may wait for a collector that is slow or away; beyond that the oldest are not traced."""
CLOSE_LIMIT_S = 2.0
"""What the collector gets at the end for what is still to be sent."""

Logged = tuple[Call, Sequence[Event]]
Send = Callable[[Sequence[Logged]], bool]
"""Makes spans of calls and sends them; False when the collector did not take them. Runs in a thread, one at a time."""


class CallTraces:
    """Takes ended calls, reads their logs and has them sent. What a collector does not take is lost, and logged.

    `load` returns how calls are sent; it runs once, in a thread. Run it in a task; `close` sends what is left.
    """

    def __init__(self, store: Store, load: Callable[[], Send], linger_s: float = LINGER_S) -> None:
        self._store = store
        self._load = load
        self._linger_s = linger_s
        self._send: Send | None = None
        self._waiting: deque[str] = deque(maxlen=BACKLOG)
        self._ended = asyncio.Event()
        self._closing = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def on_end(self, call: Call) -> None:
        """Take a call whose end has been written."""
        if len(self._waiting) == BACKLOG:
            logger.warning("call %s is not traced: too many wait for the collector", self._waiting[0])
        self._waiting.append(call.id)
        self._ended.set()

    def start(self) -> None:
        """Begin to send."""
        self._running = asyncio.get_running_loop().create_task(self._run())
        self._running.add_done_callback(_stopped)

    async def close(self) -> None:
        """Send what is left, within `CLOSE_LIMIT_S`."""
        if self._running is None:
            return
        self._closing.set()
        self._ended.set()
        done, _ = await asyncio.wait({self._running}, timeout=CLOSE_LIMIT_S)
        if not done:
            self._running.cancel()
            await asyncio.wait({self._running})
            logger.warning("%d calls are not traced: the collector is slow", len(self._waiting))

    async def _run(self) -> None:
        while not self._closing.is_set() or self._waiting:
            await self._ended.wait()
            self._ended.clear()
            await self._linger()
            while self._waiting:
                await self._send_some()

    async def _linger(self) -> None:
        """Let more calls end, unless this is the end."""
        try:
            async with asyncio.timeout(self._linger_s):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _send_some(self) -> None:
        ids = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        try:
            logged = [one for call_id in ids if (one := await self._read(call_id)) is not None]
        except StoreError:
            logger.exception("%d calls are not traced: their logs cannot be read", len(ids))
            return
        if not await asyncio.to_thread(self._sent, logged):
            logger.warning("%d calls are not traced: the collector did not take them", len(logged))

    async def _read(self, call_id: str) -> Logged | None:
        call = await self._store.get_call(call_id, None)
        return None if call is None else (call, await log_of(self._store, call_id))

    def _sent(self, logged: Sequence[Logged]) -> bool:
        self._send = self._send or self._load()
        return self._send(logged)


def _stopped(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and running.exception() is not None:
        logger.critical("no call is traced any more, until the server is restarted", exc_info=running.exception())


def otlp_traces(store: Store, endpoint: str) -> CallTraces:
    """Return what has calls traced to an OTLP/HTTP collector (see `spans.otlp_sender`)."""

    def load() -> Send:
        from onhook.tracing.spans import otlp_sender  # noqa: PLC0415 (OpenTelemetry takes 0.2 s, here in a thread)

        return otlp_sender(endpoint)

    return CallTraces(store, load)
