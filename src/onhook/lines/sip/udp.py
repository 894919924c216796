"""The UDP socket: sends at once, and hears the network's word that nobody is there."""

import asyncio
import errno
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable

from onhook.lines.sip.address import Destination
from onhook.lines.sip.machine import OnLeft

log = logging.getLogger(__name__)

_BATCH = 64
"""Datagrams read in one turn of the loop."""

_BACKLOG = 4096
"""Datagrams kept while the kernel's send buffer is full; SIP repeats what is lost beyond that."""

_IP_RECVERR, _IPV6_RECVERR = 11, 25
_MSG_ERRQUEUE = getattr(socket, "MSG_ERRQUEUE", 0)
_ERRNO = struct.Struct("=I")
"""How Linux's `sock_extended_err` begins."""

_UNREACHABLE = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})
"""What says that nobody is at a destination. EMSGSIZE is not among it: one message was too long, or the path's MTU has
just become known and its repetition will be sent in fragments; other calls to the same carrier must not suffer."""

_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024

OnDatagram = Callable[[bytes, Destination], None]


class UdpSocket:
    """A bound, non-blocking socket in the running loop.

    `on_datagram` takes what came, `on_unreachable` a destination that ICMP says is not there (RFC 3261 section 18.4).
    """

    def __init__(self, on_datagram: OnDatagram, on_unreachable: Callable[[Destination], None]) -> None:
        self._on_datagram = on_datagram
        self._on_unreachable = on_unreachable
        self._socket: socket.socket | None = None
        self._waiting: deque[tuple[bytes, Destination, OnLeft | None]] = deque()

    def open(self, host: str, port: int) -> int:
        """Bind; return the port. Raises `OSError`."""
        v6 = ":" in host
        sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            if _MSG_ERRQUEUE:
                level, option = (socket.IPPROTO_IPV6, _IPV6_RECVERR) if v6 else (socket.IPPROTO_IP, _IP_RECVERR)
                sock.setsockopt(level, option, 1)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)
        bound: int = sock.getsockname()[1]
        return bound

    def close(self) -> None:
        """Close; harmless when repeated."""
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._waiting.clear()

    def send(self, data: bytes, destination: Destination, on_left: OnLeft | None = None) -> None:
        """Send now if the kernel takes it, else as soon as it does; then call `on_left`."""
        if self._waiting or not self._try_send(data, destination, on_left):
            if not self._waiting and self._socket is not None:
                asyncio.get_running_loop().add_writer(self._socket.fileno(), self._writable)
            if len(self._waiting) < _BACKLOG:
                self._waiting.append((data, destination, on_left))

    def _try_send(self, data: bytes, destination: Destination, on_left: OnLeft | None) -> bool:
        """Return False when the kernel's buffer is full."""
        for _ in range(2):  # A failed send may only report the ICMP error of an earlier one.
            if self._socket is None:
                return True
            try:
                self._socket.sendto(data, (destination.host, destination.port))
            except BlockingIOError:
                return False
            except OSError as error:
                self._drain_errors()
                last = error
            else:
                if on_left is not None:
                    on_left()
                return True
        log.warning("nothing could be sent to %s:%d: %s", destination.host, destination.port, last)
        if last.errno in _UNREACHABLE - {errno.ECONNREFUSED}:  # That one stands in the error queue, with its sender.
            asyncio.get_running_loop().call_soon(self._on_unreachable, destination)
        return True

    def _writable(self) -> None:
        while self._waiting and self._try_send(*self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting and self._socket is not None:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                data, address = self._socket.recvfrom(65_535)
            except BlockingIOError:
                break
            except OSError:
                self._drain_errors()
                continue
            self._on_datagram(data, Destination("udp", address[0], address[1]))
        self._drain_errors()

    def _drain_errors(self) -> None:
        """Read the kernel's error queue: each entry names the destination that an ICMP error was about."""
        found = False
        while self._socket is not None and _MSG_ERRQUEUE:
            try:
                _, notes, _, address = self._socket.recvmsg(0, 512, _MSG_ERRQUEUE)
            except OSError:
                break
            found = True
            if any(_ERRNO.unpack_from(data)[0] in _UNREACHABLE for _, _, data in notes if len(data) >= _ERRNO.size):
                destination = Destination("udp", address[0], address[1])
                asyncio.get_running_loop().call_soon(self._on_unreachable, destination)
        if found and self._socket is not None:
            # libuv stops polling a descriptor that has reported an error.
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket.fileno())
            loop.add_reader(self._socket.fileno(), self._readable)
