"""Closing a socket so that the other end learns of it even when it reads nothing."""

import asyncio
import contextlib
import socket
import struct

from aiohttp import AddrInfoType

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing drops what is unsent and resets the connection (RFC 9293 section 3.10.5)."""


def abort_transport(transport: asyncio.WriteTransport) -> None:
    """Cut a connection now. An orderly end would queue behind data that a stuck peer never takes."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError, ValueError):  # closed already, in the words of asyncio and uvloop
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class ResettingSockets:
    """Makes sockets that reset their connection when they close, and remembers them in order to cut them."""

    def __init__(self) -> None:
        self._made: list[socket.socket] = []

    def make(self, address: AddrInfoType) -> socket.socket:
        """Return a socket to connect to an address."""
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._made = [one for one in self._made if one.fileno() != -1]
        self._made.append(made)
        return made

    def cut(self) -> None:
        """Shut all down, so that a write that waits fails and its transport closes."""
        for made in self._made:
            with contextlib.suppress(OSError):  # closed already, or never connected
                made.shutdown(socket.SHUT_RDWR)
        self._made.clear()
