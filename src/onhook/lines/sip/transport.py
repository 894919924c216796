"""The sockets of the user agent: UDP and TCP on one port. Only this file, `udp` and `tcp` touch the network."""

import asyncio
import logging
import socket
from collections.abc import Callable

from onhook.lines.sip.address import Destination
from onhook.lines.sip.machine import OnLeft
from onhook.lines.sip.tcp import TcpConnections
from onhook.lines.sip.udp import UdpSocket

log = logging.getLogger(__name__)

_PORT_TRIES = 20
_MAX_NAMES = 1024
"""Names kept; far ends choose them, so there must be an end."""

_WILDCARDS = ("0.0.0.0", "::")


class Transport:
    """Implements `context.Network`. Messages go to `on_message`, dead destinations to `on_unreachable`."""

    def __init__(
        self,
        bind_host: str,
        bind_port: int,
        on_message: Callable[[bytes, Destination], None],
        on_unreachable: Callable[[Destination], None],
    ) -> None:
        self._bind = (bind_host, bind_port)
        self._address = self._bind
        self._names: dict[str, str] = {}
        self._look_ups: dict[str, asyncio.Task[None]] = {}
        self._local_hosts: dict[str, str] = {}
        self._udp = UdpSocket(on_message, on_unreachable)
        self._tcp = TcpConnections(on_message, on_unreachable)

    @property
    def address(self) -> tuple[str, int]:
        """The bound host and port."""
        return self._address

    async def start(self) -> None:
        """Bind UDP and TCP to the same port; port 0 picks one that is free for both. Raises `OSError`."""
        host, port = self._bind
        for attempt in range(_PORT_TRIES):
            bound = self._udp.open(host, port)
            try:
                await self._tcp.listen(host, bound)
            except OSError:
                self._udp.close()
                if port or attempt == _PORT_TRIES - 1:
                    raise
            else:
                self._address = (host, bound)
                return

    async def close(self) -> None:
        """Close the sockets."""
        for look_up in list(self._look_ups.values()):
            look_up.cancel()
        self._udp.close()
        await self._tcp.close()

    def send(self, data: bytes, destination: Destination, on_left: OnLeft | None = None) -> None:
        """Send one message; over UDP it is with the kernel when this returns. `on_left` is called when it is."""
        (self._udp if destination.transport == "udp" else self._tcp).send(data, destination, on_left)

    async def connect(self, destination: Destination) -> Destination:
        """Resolve a destination and open its connection. Raises `OSError`."""
        if not destination.is_numeric:
            destination = await self._resolve(destination)
        if destination.transport == "tcp":
            await self._tcp.connect(destination)
        return destination

    def resolved(self, destination: Destination) -> Destination | None:
        """Return the numeric form of a destination if it is known; else begin to look it up for the next time."""
        if destination.is_numeric:
            return destination
        host = self._names.get(destination.host.lower())
        if host is None:
            self._begin_look_up(destination)
            return None
        return Destination(destination.transport, host, destination.port)

    def local_host(self, destination: Destination) -> str:
        """Return the bound host, or for a wildcard the address that leads to `destination`."""
        if self._address[0] not in _WILDCARDS:
            return self._address[0]
        if destination.host not in self._local_hosts:
            self._local_hosts[destination.host] = _route_to(destination)
        return self._local_hosts[destination.host]

    def _begin_look_up(self, destination: Destination) -> None:
        name = destination.host.lower()
        if name not in self._look_ups and len(self._names) < _MAX_NAMES:
            task = asyncio.get_running_loop().create_task(self._look_up(destination))
            self._look_ups[name] = task
            task.add_done_callback(lambda _: self._look_ups.pop(name, None))

    async def _look_up(self, destination: Destination) -> None:
        try:
            await self._resolve(destination)
        except (OSError, UnicodeError) as error:  # A label may be too long for the DNS.
            log.warning("the far end's host %s cannot be resolved: %s", destination.host, error)

    async def _resolve(self, destination: Destination) -> Destination:
        family = socket.AF_INET6 if ":" in self._bind[0] else socket.AF_INET
        found = await asyncio.get_running_loop().getaddrinfo(
            destination.host, destination.port, family=family, type=socket.SOCK_DGRAM
        )
        host = str(found[0][4][0])
        self._names[destination.host.lower()] = host
        return Destination(destination.transport, host, destination.port)


def _route_to(destination: Destination) -> str:
    """Ask the kernel which of our addresses leads to a destination; a connected UDP socket sends nothing."""
    family = socket.AF_INET6 if ":" in destination.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((destination.host, destination.port))
        return str(probe.getsockname()[0])
