"""`onhook doctor`: tells whether this machine is ready to place and end calls."""

import contextlib
import secrets
import socket
from collections.abc import Iterator

import msgspec

from onhook.settings import Settings
from onhook.store.sqlite import SqliteStore
from onhook.store.store import ApiKey, Number, StoreError


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at; `text` says what to do when it is not good."""

    part: str
    good: bool
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Look at all that a server needs, changing nothing but an empty database."""
    return [
        Finding("configuration", True, f"data in {settings.data_dir}"),
        *await _database(settings),
        _port("HTTP port", settings.http_address, socket.SOCK_STREAM, "ONHOOK_HTTP_BIND"),
        _port("SIP port", settings.sip_address, socket.SOCK_DGRAM, "ONHOOK_SIP_BIND"),
        _trunk(settings),
    ]


async def _database(settings: Settings) -> list[Finding]:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = SqliteStore(settings.database_path)
        await store.open()
    except (StoreError, OSError) as error:
        return [Finding("database", False, f"{error}; check the directory and its owner")]
    try:
        await store.check()
        keys = [key for key in await store.find(ApiKey, None) if key.revoked_at is None]
        numbers = await store.find(Number, None)
    except StoreError as error:
        return [Finding("database", False, f"{error}; is the disk full?")]
    finally:
        await store.close()
    return [
        Finding("database", True, f"{settings.database_path} takes durable writes"),
        Finding("keys", bool(keys), f"{len(keys)} good" if keys else "none; run `onhook keys create`"),
        Finding("numbers", bool(numbers), str(len(numbers)) if numbers else "none; run `onhook numbers add`"),
    ]


def _port(part: str, address: tuple[str, int], kind: socket.SocketKind, name: str) -> Finding:
    host, port = address
    with _socket(kind) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(
                part, False, f"{host}:{port} cannot be bound ({error.strerror}); set {name}, or is a server up?"
            )
    return Finding(part, True, f"{host}:{port} is free")


def _trunk(settings: Settings) -> Finding:
    """Ask the trunk for its OPTIONS; any SIP answer will do (RFC 3261 section 11)."""
    if settings.trunk_uri is None:
        return Finding("trunk", True, "none set (ONHOOK_TRUNK_URI); trunks can be added with `onhook trunks add`")
    return Finding("trunk", *probe_trunk(settings.trunk_uri))


@contextlib.contextmanager
def _socket(kind: socket.SocketKind) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, kind) as opened:
        if kind is socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield opened


def probe_trunk(uri: str, seconds: float = 2.0) -> tuple[bool, str]:
    """Send one OPTIONS to `uri` and say whether anything answers."""
    target, _, parameters = uri.removeprefix("sip:").partition(";")
    host, _, port = target.rpartition("@")[2].partition(":")
    kind = socket.SOCK_STREAM if "transport=tcp" in parameters else socket.SOCK_DGRAM
    with _socket(kind) as probe:
        probe.settimeout(seconds)
        try:
            probe.connect((host, int(port or 5060)))
            own_host, own_port = probe.getsockname()
            probe.send(_options(uri, own_host, own_port, "TCP" if kind is socket.SOCK_STREAM else "UDP"))
            status = probe.recv(4096).split(b"\r\n")[0].decode(errors="replace")
        except (OSError, ValueError) as error:
            return False, f"{uri} does not answer OPTIONS ({error}); check the address, a firewall, an allow-list"
    return True, f"{uri} answers OPTIONS with {status}"


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
