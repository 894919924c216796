"""The caller's sockets: one for datagrams, or one that listens and connections to others."""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

from onhook.lines.sandbox.uas import Address

OnMessage = Callable[[bytes, Address], None]

_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*(\d{1,5})[ \t]*\r\n", re.IGNORECASE)


class Sockets(Protocol):
    """Where messages come from and go to."""

    async def open(self, host: str) -> Address:
        """Bind to a free port; return the address. Raises `OSError`."""
        ...

    async def reach(self, to: Address) -> None:
        """Make sure that `send` finds its way to `to`. Raises `OSError`."""
        ...

    def send(self, data: bytes, to: Address) -> None:
        """Send one message; it is lost when there is no way."""
        ...

    async def close(self) -> None:
        """Close everything."""
        ...


class UdpSockets:
    """Datagrams."""

    def __init__(self, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str) -> Address:
        """Bind to a free port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._on_message), local_addr=(host, 0))
        self._transport = transport
        bound: Address = transport.get_extra_info("sockname")[:2]
        return bound

    async def reach(self, to: Address) -> None:
        """Do nothing: a datagram needs no connection."""

    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram."""
        if self._transport is not None:
            self._transport.sendto(data, to)

    async def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await asyncio.sleep(0)


class TcpSockets:
    """Connections, ours and theirs, by the far end's address."""

    def __init__(self, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._writers: dict[Address, asyncio.StreamWriter] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str) -> Address:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._take, host, 0)
        bound: Address = self._server.sockets[0].getsockname()[:2]
        return bound

    async def reach(self, to: Address) -> None:
        """Open a connection unless there is one."""
        if to not in self._writers:
            reader, writer = await asyncio.open_connection(*to)
            self._take(reader, writer)

    def send(self, data: bytes, to: Address) -> None:
        """Write one message."""
        writer = self._writers.get(to)
        if writer is not None and not writer.is_closing():
            writer.write(data)

    async def close(self) -> None:
        """Close the connections, and listen no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers.values():
            writer.close()
        for reader in list(self._readers):
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: Address = writer.get_extra_info("peername")[:2]
        self._writers[peer] = writer
        task = asyncio.get_running_loop().create_task(self._read(reader, peer))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _read(self, reader: asyncio.StreamReader, peer: Address) -> None:
        """Cut the stream into messages until it ends."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                self._on_message(head + await reader.readexactly(int(length[1]) if length else 0), peer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            self._writers.pop(peer).close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, on_message: OnMessage) -> None:
        self._on_message = on_message

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on_message(data, addr)
