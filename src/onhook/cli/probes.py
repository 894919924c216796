"""Small questions to this machine and to the network: is a port free, does a server run, does a trunk answer."""

import contextlib
import fcntl
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from onhook.settings import Settings

TRUNK_LIMIT_S = 2.0


def busy_ports(settings: Settings) -> list[str]:
    """Return, in words, which addresses of the settings cannot be bound and what to do."""
    wanted = (
        ("HTTP", settings.http_address, (socket.SOCK_STREAM,), "ONHOOK_HTTP_BIND"),
        ("SIP", settings.sip_address, (socket.SOCK_DGRAM, socket.SOCK_STREAM), "ONHOOK_SIP_BIND"),
    )
    return [
        f"the {name} address {host}:{port} cannot be bound ({error}); is another server up? {setting} names another"
        for name, (host, port), kinds, setting in wanted
        if (error := _cannot_bind(host, port, kinds))
    ]


def is_serving(data_dir: Path) -> bool:
    """True when a server holds the data directory."""
    try:
        with (data_dir / "server.lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def probe_server(url: str) -> tuple[bool, str]:
    """Ask a running server whether it is ready."""
    import httpx  # noqa: PLC0415 (a server starts without it)

    try:
        answer = httpx.get(f"{url}/readyz", timeout=5)
    except httpx.TransportError as error:
        return False, f"runs on this data directory but does not answer at {url} ({error})"
    if answer.is_error:
        return False, f"runs at {url} but is not ready: {answer.text}"
    return True, f"runs at {url} and is ready"


def trunk_address(uri: str) -> tuple[str, int]:
    """Return the host and port that a trunk's URI names. Raises `ValueError`."""
    target = uri.removeprefix("sip:").partition(";")[0]
    host, _, port = target.rpartition("@")[2].partition(":")
    return host, int(port or 5060)


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can be reached at."""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def probe_trunk(uri: str, seconds: float = TRUNK_LIMIT_S) -> tuple[bool, str]:
    """Send one OPTIONS to `uri` and say whether anything answers; any answer will do (RFC 3261 section 11)."""
    kind = socket.SOCK_STREAM if "transport=tcp" in uri else socket.SOCK_DGRAM
    with _socket(socket.AF_INET, kind) as probe:
        probe.settimeout(seconds)
        try:
            probe.connect(trunk_address(uri))
            own_host, own_port = probe.getsockname()
            probe.send(_options(uri, own_host, own_port, "TCP" if kind is socket.SOCK_STREAM else "UDP"))
            status = probe.recv(4096).split(b"\r\n")[0].decode(errors="replace")
        except (OSError, ValueError) as error:
            return False, f"{uri} does not answer OPTIONS ({error}); check the address, a firewall, an allow-list"
    return True, f"{uri} answers OPTIONS with {status}"


def _cannot_bind(host: str, port: int, kinds: tuple[socket.SocketKind, ...]) -> str | None:
    """Return why one of the sockets cannot be bound, or None."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in kinds:
        with _socket(family, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                return error.strerror or str(error)
    return None


@contextlib.contextmanager
def _socket(family: socket.AddressFamily, kind: socket.SocketKind) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as opened:
        if kind is socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield opened


def _options(uri: str, host: str, port: int, transport: str) -> bytes:
    token = secrets.token_hex(8)
    lines = [
        f"OPTIONS {uri} SIP/2.0",
        f"Via: SIP/2.0/{transport} {host}:{port};branch=z9hG4bK{token};rport",
        "Max-Forwards: 70",
        f"From: <sip:doctor@{host}>;tag={token}",
        f"To: <{uri}>",
        f"Call-ID: {token}@onhook",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()
