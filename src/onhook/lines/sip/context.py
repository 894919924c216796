"""What every part of the user agent shares: settings, the network, and the ports around it."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

import msgspec

from onhook.clock import Clock
from onhook.lines.engine import LineEvents, SnapshotJournal
from onhook.lines.media.session import MediaPort
from onhook.lines.sip.address import Destination, bracketed
from onhook.lines.sip.layer import TransactionLayer
from onhook.lines.sip.machine import OnLeft

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"

COMMIT_WAIT_S = 0.2
"""How long an ACK waits for the dialog to be durable; the far end would repeat its 2xx after T1."""


class SipSettings(msgspec.Struct, frozen=True):
    """How the user agent presents itself.

    `bind_port` 0 picks a free port. `advertised_address` is the host that others reach us at, for Via, Contact
    and SDP; without it the bound address is used, or for a wildcard the one that leads to the far end. `media_host`
    is another host for SDP. With `max_legs` legs live, callers are answered 503. `t1`, `t2`, `t4` are the base times of
    RFC 3261 section 17.1.1.1 and `watch` is how long a Call-ID whose end is unconfirmed is kept under watch, all in
    seconds.
    """

    bind_host: str = "127.0.0.1"
    bind_port: int = 5060
    advertised_address: str | None = None
    user_agent: str = "onhook/0.1.0"
    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    watch: float = 180.0
    media_host: str | None = None
    max_legs: int = 2000


class Network(Protocol):
    """The sockets, or a fake of them."""

    @property
    def address(self) -> tuple[str, int]:
        """The bound host and port."""
        ...

    def send(self, data: bytes, destination: Destination, on_left: OnLeft | None = None) -> None:
        """Send one message to a numeric destination; failures come back as `unreachable`.

        `on_left` is called when the message is with the kernel.
        """
        ...

    async def connect(self, destination: Destination) -> Destination:
        """Resolve a destination and open what it needs, so that `send` is immediate. Raises `OSError`."""
        ...

    def resolved(self, destination: Destination) -> Destination | None:
        """Return the numeric form of a destination if it is known; a name that is not is being looked up then."""
        ...

    def local_host(self, destination: Destination) -> str:
        """Return the address of ours that leads to a destination."""
        ...


Credentials = Callable[[str], tuple[str, str] | None]
"""Finds the user name and password of a trunk by its id, for legs of an earlier life."""


@dataclass(frozen=True, slots=True)
class Context:
    """The services of one user agent, handed to its legs."""

    settings: SipSettings
    clock: Clock
    network: Network
    layer: TransactionLayer
    journal: SnapshotJournal
    events: LineEvents
    media: MediaPort
    spawn: Callable[[Coroutine[None, None, None]], None]

    def local_host(self, destination: Destination) -> str:
        """Return the host to name in Via and Contact."""
        return self.settings.advertised_address or self.network.local_host(destination)

    def sent_by(self, destination: Destination) -> str:
        """Return host and port as Via and Contact name them."""
        return f"{bracketed(self.local_host(destination))}:{self.network.address[1]}"

    def media_host(self, destination: Destination) -> str:
        """Return the host to name in SDP."""
        return self.settings.media_host or self.local_host(destination)
