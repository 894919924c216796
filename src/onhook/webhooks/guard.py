"""Keeping deliveries out of our own network (server-side request forgery).

A receiver's URL is somebody else's text. Whatever it says, and whatever its name resolves to at that moment, the
address is judged where it is used: when the socket for it is made. So there is no second resolution to slip through.
"""

import errno
import ipaddress
import socket
from typing import Any

from yarl import URL

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that the Internet uses (RFC 4291 2.4). What is beyond it is local, or means nothing yet."""
NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/96"))
"""Addresses that a gateway turns into the IPv4 address at their end (RFC 6052, RFC 8215). In the rest of the local
range, 64:ff9b:1::/48, it may stand elsewhere: what such an address means is not known."""
COMPATIBLE = ipaddress.IPv6Network("::/96")
"""The deprecated form of an IPv4 address (RFC 4291 2.5.5.1)."""


class RefusedError(OSError):
    """An address that deliveries may not go to."""


def is_public(text: str) -> bool:
    """Say whether an IP address is one of the open Internet; an IPv4 address inside an IPv6 one counts as itself."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    inner = _embedded(address)
    if inner is not None:
        return is_public(str(inner))
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_unspecified


def check_url(text: str, *, allow_private: bool = False) -> str | None:
    """Return what is wrong with a receiver's URL before anything is resolved, or None."""
    try:
        url = URL(text)
    except ValueError:
        return "is not a URL"
    if url.scheme not in {"http", "https"} or not url.host:
        return "must begin with http:// or https://"
    if not allow_private and (_is_private_literal(url.host) or url.host.rstrip(".").lower() == "localhost"):
        return "must not be an address of a private network"
    return None


class Guard:
    """Makes the sockets that deliveries leave by. With `allow_private` every unicast address is good."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    def socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a socket for one result of `getaddrinfo`. Raises `RefusedError`."""
        family, kind, protocol, _, (host, *_) = address
        if not self.permits(host):
            raise RefusedError(errno.EACCES, f"{host} is not a public address")
        return socket.socket(family, kind, protocol)

    def permits(self, host: str) -> bool:
        """Say whether a delivery may go to this IP address."""
        return self._allow_private or is_public(host)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in COMPATIBLE or any(address in network for network in NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return False
