"""A websocket to a provider: sending never waits, a provider that is lost is reported, closing cannot be held up."""

import asyncio
import functools
import logging
import ssl
from collections.abc import Callable, Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from onhook.agents.pace import Pace
from onhook.agents.providers.deadlines import Limits
from onhook.agents.providers.environment import ProviderError
from onhook.agents.providers.retries import PAUSE_S, pause_after
from onhook.agents.providers.sockets import abort_transport

MAX_WAITING = 500
"""Messages that wait to be sent at most: ten seconds of audio. A provider that is so far behind is stuck."""

log = logging.getLogger(__name__)
_QUIET = logging.getLogger(f"{__name__}.wire")
_QUIET.setLevel(logging.WARNING)  # the library's debug log would show keys and every message


class ProviderSocket:
    """One connection to `who`. `on_lost` is called at most once, never after `close` or `abort`."""

    def __init__(
        self, who: str, limits: Limits, on_message: Callable[[str | bytes], None], on_lost: Callable[[str], None]
    ) -> None:
        self._who = who
        self._limits = limits
        self._on_message = on_message
        self._on_lost = on_lost
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(MAX_WAITING)
        self._opening: asyncio.Task[ClientConnection] | None = None
        self._connection: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    async def open(self, url: str, headers: Mapping[str, str]) -> None:
        """Connect, at the second try where that may help. Raises `ProviderError`, also when `close` or `abort` come."""
        self._opening = asyncio.create_task(self._connect_in_time(url, headers))
        try:
            connection = await self._opening
        except asyncio.CancelledError:
            if not self._is_over:
                raise
            raise ProviderError(f"{self._who}: stopped while connecting") from None
        except InvalidStatus as error:
            raise ProviderError(f"{self._who} refused: HTTP {error.response.status_code}") from error
        except TimeoutError as error:
            raise ProviderError(f"{self._who} cannot be reached in {self._limits.connect:g} s") from error
        except (OSError, WebSocketException) as error:
            raise ProviderError(f"{self._who} cannot be reached: {error}") from error
        if self._is_over:
            abort_transport(connection.transport)
            raise ProviderError(f"{self._who}: stopped while connecting")
        self._connection = connection
        self._tasks = [asyncio.create_task(self._read(connection)), asyncio.create_task(self._write(connection))]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def send(self, message: str | bytes) -> None:
        """Queue a message: text or binary. A connection that is lost or closed takes it and does nothing."""
        if self._is_over:
            return
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self._lose(f"{self._who} does not read what it is sent")

    async def close(self, last_words: str | None = None) -> None:
        """Say good-bye within the limit, then cut. Nothing is left when it returns."""
        self._is_over = True
        if self._connection is not None:
            await self._good_bye(self._connection, last_words)
        self.abort()
        await asyncio.gather(*filter(None, [self._opening, *self._tasks]), return_exceptions=True)
        if self._connection is not None:
            await self._connection.wait_closed()

    def abort(self) -> None:
        """Cut the connection now."""
        self._is_over = True
        for task in filter(None, [self._opening, *self._tasks]):
            task.cancel()
        if self._connection is not None:
            abort_transport(self._connection.transport)

    async def _connect_in_time(self, url: str, headers: Mapping[str, str]) -> ClientConnection:
        async with asyncio.timeout(self._limits.connect):
            try:
                return await self._connect(url, headers)
            except (OSError, WebSocketException) as error:
                pause = _pause_after(error)
                if pause is None:
                    raise
                log.warning("%s: %s; it is tried once more in %g s", self._who, type(error).__name__, pause)
            await asyncio.sleep(pause)
            return await self._connect(url, headers)

    async def _connect(self, url: str, headers: Mapping[str, str]) -> ClientConnection:
        return await connect(
            url,
            additional_headers=headers,
            ssl=_tls() if url.startswith("wss:") else None,
            user_agent_header="onhook",
            compression=None,
            open_timeout=None,
            close_timeout=self._limits.close,
            ping_interval=self._limits.stall,
            ping_timeout=self._limits.stall,
            logger=_QUIET,
        )

    async def _read(self, connection: ClientConnection) -> None:
        pace = Pace()
        try:
            while True:
                message = await connection.recv()
                self._on_message(message)
                await pace.spend(len(message))
        except ConnectionClosed as error:
            raise ProviderError(f"{self._who} closed the connection: {error}") from error

    async def _write(self, connection: ClientConnection) -> None:
        try:
            while True:
                message = await self._waiting.get()
                async with asyncio.timeout(self._limits.stall):
                    await connection.send(message)
        except TimeoutError as error:
            raise ProviderError(f"{self._who} does not read what it is sent") from error
        except ConnectionClosed as error:
            raise ProviderError(f"{self._who} closed the connection: {error}") from error

    async def _good_bye(self, connection: ClientConnection, last_words: str | None) -> None:
        try:
            async with asyncio.timeout(self._limits.close):
                if last_words is not None:
                    await connection.send(last_words)
                await connection.close()
        except (TimeoutError, ConnectionClosed):
            return  # it is cut next

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Take the end of the reader or the writer, which end by an error only."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._lose(str(error) if isinstance(error, ProviderError) else f"{self._who}: {error!r}")

    def _lose(self, error: str) -> None:
        if not self._is_over:
            self.abort()
            self._on_lost(error)


def _pause_after(error: Exception) -> float | None:
    """Return when to try again after an error before the connection was accepted, None when that is of no use."""
    if isinstance(error, InvalidStatus):
        told = error.response.headers.get_all("Retry-After")
        return pause_after(error.response.status_code, told[0] if told else None)
    is_lost = isinstance(error, OSError) or isinstance(error.__cause__, EOFError)
    return PAUSE_S if is_lost and not isinstance(error, ssl.SSLError | TimeoutError) else None


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one context of all connections: to read the certificates takes 20 ms."""
    return ssl.create_default_context()
