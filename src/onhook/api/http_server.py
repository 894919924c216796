"""uvicorn inside our own event loop: no signal handlers, no process of its own, a known port."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from starlette.types import ASGIApp
from uvicorn import Config, Server

from onhook.api.server_protocol import guarded
from onhook.api.streams import Streams

BACKLOG = 2048
ACCEPTORS = 16
"""How many connections are accepted in one turn of the loop: libuv takes one per listening descriptor and turn.

On a node full of calls a turn takes 20 ms; the last of 100 clients that connect at once, to stop calls, waited for 2 s.
"""
STOP_LIMIT_S = 5
"""How long requests may go on after the server was told to stop."""


class _QuietServer(Server):
    """A `Server` that leaves signals alone and says when it serves."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process that we are part of."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        self.serving.set()


class HttpServer:
    """Serves an application on `host`:`port` while the context is open; port 0 takes a free one.

    `streams` are the application's answers that go on; leaving ends them first. A client that is slow for
    `slow_client_s` seconds is cut off. Entering raises `OSError` when the address cannot be bound. Leaving lets
    running requests finish, `STOP_LIMIT_S` at most.
    """

    def __init__(
        self, app: ASGIApp, host: str, port: int, slow_client_s: float = 10.0, streams: Streams | None = None
    ) -> None:
        self._host = host
        self._streams = streams
        self._asked_port = port
        config = Config(
            app,
            http=guarded(slow_client_s),
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_LIMIT_S,
        )
        self._server = _QuietServer(config)
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is bound. Raises `RuntimeError` outside the context."""
        if self._socket is None:
            raise RuntimeError("the server is not running")
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._server.server_state.connections)

    async def __aenter__(self) -> Self:
        """Bind, and serve."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._socket = socket.create_server((self._host, self._asked_port), family=family, backlog=BACKLOG)
        listening = [self._socket, *(self._socket.dup() for _ in range(ACCEPTORS - 1))]
        self._task = asyncio.create_task(self._server.serve(sockets=listening))
        started = asyncio.create_task(self._server.serving.wait())
        await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            started.cancel()
            for one in listening:
                one.close()
            await self._task
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no new requests, finish the running ones, close."""
        if self._streams is not None:
            self._streams.close()
        self._server.should_exit = True
        if self._task is not None:
            await self._task
