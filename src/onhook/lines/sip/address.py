"""Where messages go: a transport, a numeric host and a port."""

from functools import lru_cache
from ipaddress import ip_address

import msgspec

from onhook.lines.sip.message import Request, parse_uri

DEFAULT_PORT = 5060


class Destination(msgspec.Struct, frozen=True):
    """The far end of one hop. `transport` is `udp` or `tcp`; `host` may be a name until it is resolved."""

    transport: str
    host: str
    port: int

    @property
    def reliable(self) -> bool:
        """True when the transport retransmits by itself."""
        return self.transport != "udp"

    @property
    def is_numeric(self) -> bool:
        """True when the host is an IP address."""
        return _is_address(self.host)


@lru_cache(maxsize=4096)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)
def destination_of(uri: str, default_transport: str = "udp") -> Destination | None:
    """Return the hop that a SIP URI names; None when it is not one that we can reach.

    Without a transport parameter the one in use is kept: the peer took our INVITE on it.
    """
    parsed = parse_uri(uri)
    if parsed is None:
        return None
    parameters = {name.lower(): value for name, value in parsed.parameters.items()}
    transport = (parameters.get("transport") or default_transport).lower()
    if transport not in ("udp", "tcp"):
        return None
    return Destination(transport, parsed.host.strip("[]"), parsed.port or DEFAULT_PORT)


def response_destination(request: Request, source: Destination) -> Destination:
    """Return where a response goes (RFC 3261 section 18.2.2, RFC 3581 section 4).

    On a stream that is the connection of the request; over UDP the address that the request came from, at the source
    port when the peer asked for `rport`, else at the port it named in its Via.
    """
    if source.reliable or "rport" in request.via.parameters:
        return source
    return Destination(source.transport, source.host, request.via.port or DEFAULT_PORT)


def reopened(request: Request, destination: Destination) -> Destination:
    """Return where a response goes once the connection of its request is gone (RFC 3261 section 18.2.2)."""
    if not destination.reliable:
        return destination
    return Destination(destination.transport, destination.host, request.via.port or DEFAULT_PORT)


def bracketed(host: str) -> str:
    """Return a host as URIs write it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
