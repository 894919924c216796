"""`onhook doctor`: tells whether this machine is ready to place and end calls."""

import msgspec

from onhook.cli.probes import busy_ports, is_loopback, is_serving, probe_server, probe_trunk, trunk_address
from onhook.cli.remote import local_url
from onhook.provision import CONFIGURED_TRUNK, SANDBOX_TRUNK, read_sandbox
from onhook.settings import Settings
from onhook.store.sqlite import SqliteStore
from onhook.store.store import ApiKey, Number, StoreError, TrunkRecord


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at; `text` says what to do when it is not good."""

    part: str
    good: bool
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Look at all that a server needs, changing nothing but an empty database."""
    trunks: list[TrunkRecord] = []
    return [
        _configuration(settings),
        *await _database(settings, trunks),
        *_server(settings),
        *_trunks(settings, trunks),
    ]


def _configuration(settings: Settings) -> Finding:
    limit = f"; no more than {settings.max_calls} calls at once" if settings.max_calls else ""
    return Finding("configuration", True, f"data in {settings.data_dir.absolute()}{limit}")


async def _database(settings: Settings, trunks: list[TrunkRecord]) -> list[Finding]:
    """Look at the database and what is in it; add the trunks found to `trunks`."""
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
        trunks += await store.find(TrunkRecord, None)
    except StoreError as error:
        return [Finding("database", False, f"{error}; is the disk full?")]
    finally:
        await store.close()
    return [
        Finding("database", True, f"{settings.database_path} takes durable writes"),
        Finding("keys", bool(keys), f"{len(keys)} good" if keys else "none; run `onhook keys create`"),
        _numbers(numbers),
    ]


def _numbers(numbers: list[Number]) -> Finding:
    if not numbers:
        return Finding("numbers", False, "none; run `onhook numbers add`")
    unbound = [number.number for number in numbers if number.agent_id is None and number.inbound_agent_id is None]
    note = f"; without an agent of their own: {', '.join(unbound)}" if unbound else ""
    return Finding("numbers", True, f"{len(numbers)}{note}")


def _server(settings: Settings) -> list[Finding]:
    """Ask the server that runs on this data, or see whether one could start."""
    if is_serving(settings.data_dir):
        sandbox = read_sandbox(settings.data_dir)
        return [Finding("server", *probe_server(sandbox.base_url if sandbox else local_url(settings)))]
    busy = [Finding("ports", False, text) for text in busy_ports(settings)]
    (http_host, http_port), (sip_host, sip_port) = settings.http_address, settings.sip_address
    free = f"{http_host}:{http_port} (HTTP) and {sip_host}:{sip_port} (SIP) are free"
    return busy or [Finding("ports", True, free)]


def _trunks(settings: Settings, stored: list[TrunkRecord]) -> list[Finding]:
    """Ask each trunk but the sandbox's whether it answers."""
    uris = {one.name: one.uri for one in stored if one.id not in (CONFIGURED_TRUNK, SANDBOX_TRUNK)}
    if settings.trunk_uri is not None:
        uris = {"ONHOOK_TRUNK_URI": settings.trunk_uri} | uris
    if not uris:
        return [Finding("trunks", True, "none; add one with `onhook trunks add`, or use `onhook serve --sandbox`")]
    return [_trunk(name, uri, settings.sip_address[0]) for name, uri in uris.items()]


def _trunk(name: str, uri: str, own_host: str) -> Finding:
    part = f"trunk {name}"
    if is_loopback(own_host) and not is_loopback(trunk_address(uri)[0]):
        text = f"{uri} cannot be called from {own_host}; set ONHOOK_SIP_BIND=0.0.0.0:5060"
        return Finding(part, False, text)
    return Finding(part, *probe_trunk(uri))
