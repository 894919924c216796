"""TCP: connections that are opened on demand, kept, and used for both directions (RFC 3261 section 18)."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from onhook.lines.sip.address import Destination
from onhook.lines.sip.machine import OnLeft
from onhook.lines.sip.stream import MessageStream, StreamError

log = logging.getLogger(__name__)

_MAX_WAITING = 1024
_MAX_BUFFER_BYTES = 4 * 1024 * 1024
_KEEPALIVE = b"\r\n\r\n"
_CONNECT_TIMEOUT_S = 10.0
_MAX_ACCEPTED = 512
"""Connections of others that are kept; one more takes the place of the one that has been quiet for longest."""

_SOCKET_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 8_000),
        )
        if hasattr(socket, name)
    ),
]  # fmt: skip
"""A long call says nothing on its connection for many minutes. Probes keep the way open through firewalls, and a way
that is closed is found within 8 s (in ms above), in time for the BYE to go over a new connection before timer F."""

OnMessage = Callable[[bytes, Destination], None]


class TcpConnections:
    """All TCP connections of a user agent, by the far end's address."""

    def __init__(self, on_message: OnMessage, on_unreachable: Callable[[Destination], None]) -> None:
        self._on_message = on_message
        self._on_unreachable = on_unreachable
        self._links: dict[Destination, _Link] = {}
        self._accepted: dict[_Link, None] = {}
        """Links that others opened, the quietest first."""
        self._opening: dict[Destination, asyncio.Task[None]] = {}
        self._waiting: dict[Destination, list[tuple[bytes, OnLeft | None]]] = {}
        self._server: asyncio.Server | None = None
        self._closed = False

    async def listen(self, host: str, port: int) -> None:
        """Accept connections. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Link(self, None), host, port)

    async def close(self) -> None:
        """Close every connection and stop accepting."""
        self._closed = True
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        for link in list(self._links.values()):
            link.close()
        if self._server is not None:
            self._server.close()
            self._server = None

    async def connect(self, destination: Destination) -> None:
        """Open a connection unless there is one. Raises `OSError`."""
        if destination not in self._links:
            await asyncio.shield(self._open(destination))
            if destination not in self._links:
                raise ConnectionRefusedError(f"no TCP connection to {destination.host}:{destination.port}")

    def send(self, data: bytes, destination: Destination, on_left: OnLeft | None = None) -> None:
        """Send on the connection to `destination`, or open one and send then; call `on_left` when it is written."""
        link = self._links.get(destination)
        if link is not None:
            if link.write(data) and on_left is not None:
                on_left()
        elif not self._closed:
            waiting = self._waiting.setdefault(destination, [])
            if len(waiting) < _MAX_WAITING:
                waiting.append((data, on_left))
            self._open(destination)

    def _open(self, destination: Destination) -> asyncio.Task[None]:
        """Begin to open a connection, or join whoever is at it."""
        if destination not in self._opening:
            self._opening[destination] = asyncio.get_running_loop().create_task(self._connect(destination))
        return self._opening[destination]

    async def _connect(self, destination: Destination) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await loop.create_connection(lambda: _Link(self, destination), destination.host, destination.port)
        except OSError as error:
            log.warning("no TCP connection to %s:%d: %s", destination.host, destination.port, error)
        finally:
            del self._opening[destination]
        waiting = self._waiting.pop(destination, [])
        if destination not in self._links:
            self._on_unreachable(destination)
        for data, on_left in waiting if destination in self._links else []:
            self.send(data, destination, on_left)

    def link_made(self, link: "_Link", destination: Destination) -> None:
        """Register a connection."""
        self._links[destination] = link

    def link_heard(self, link: "_Link") -> None:
        """Note that others use a connection of theirs, and close the quietest when there are too many."""
        self._accepted.pop(link, None)
        if len(self._accepted) >= _MAX_ACCEPTED:
            quietest = next(iter(self._accepted))
            del self._accepted[quietest]
            quietest.close()
        self._accepted[link] = None

    def link_lost(self, link: "_Link", destination: Destination) -> None:
        """Drop a connection; requests that got no response on it have failed."""
        self._accepted.pop(link, None)
        if self._links.get(destination) is link:
            del self._links[destination]
            if not self._closed:
                self._on_unreachable(destination)

    def received(self, data: bytes, source: Destination) -> None:
        """Hand one message up."""
        self._on_message(data, source)


class _Link(asyncio.Protocol):
    """One connection. `destination` is None for one that the far end opened, until its address is known."""

    def __init__(self, connections: TcpConnections, destination: Destination | None) -> None:
        self._connections = connections
        self._destination = destination
        self._is_accepted = destination is None
        self._stream = MessageStream()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not inherit from it.
        peer, sock = self._transport.get_extra_info("peername"), self._transport.get_extra_info("socket")
        if peer is None or sock is None:
            self._transport.abort()  # Gone already, as port scanners are.
            return
        for level, option, value in _SOCKET_OPTIONS:
            sock.setsockopt(level, option, value)
        self._destination = self._destination or Destination("tcp", *peer[:2])
        self._connections.link_made(self, self._destination)
        if self._is_accepted:
            self._connections.link_heard(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._destination is not None:
            self._connections.link_lost(self, self._destination)

    def data_received(self, data: bytes) -> None:
        if self._destination is None:
            return
        if self._is_accepted:
            self._connections.link_heard(self)
        if data == _KEEPALIVE:
            self.write(b"\r\n")  # The pong of RFC 5626 section 4.4.1.
        try:
            messages = self._stream.feed(data)
        except StreamError as error:
            log.info("closed the connection of %s:%d: %s", self._destination.host, self._destination.port, error)
            self.close()
            return
        for message in messages:
            self._connections.received(message, self._destination)

    def write(self, data: bytes) -> bool:
        """Send; False when that cannot be. A far end that does not read is cut off."""
        if self._transport is None or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() > _MAX_BUFFER_BYTES:
            self._transport.abort()
            return False
        self._transport.write(data)
        return True

    def close(self) -> None:
        """Close after what is buffered has left."""
        if self._transport is not None:
            self._transport.close()
