"""Who may call us: the addresses of our trunks, and networks that the operator names."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from onhook.clock import Clock
from onhook.lines.engine import Peer
from onhook.store.secrets import SecretError
from onhook.store.store import Environment, Store, StoreError, TrunkRecord

logger = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Finds the numeric addresses of a host name. Raises `OSError`."""

REFRESH_S = 5.0
"""How long a trunk that was changed may go unnoticed."""
RESOLVED_S = 60.0
"""How long the addresses of a name are taken for good."""


class TrunkAt(NamedTuple):
    """A trunk, and the account that its calls must prove to know; None asks for none."""

    id: str
    environment_id: str
    account: tuple[str, str] | None


class Peers:
    """The far ends whose calls we take. Nobody is known before the first `refresh`.

    Trunks at one address share it: as soon as one of them asks for credentials, every call from there must bring some,
    and those say whose trunk it is; a user name belongs to the oldest trunk that has it there, and to those that have
    its password, too. A network in `allow` is trusted as it stands, for the numbers of all environments.
    """

    def __init__(
        self, store: Store, clock: Clock, decrypt: Callable[[str], str], resolve: Resolve, allow: Sequence[str] = ()
    ) -> None:
        self._store = store
        self._clock = clock
        self._decrypt = decrypt
        self._resolve = resolve
        self._allow = tuple(ip_network(network) for network in allow)
        self._trunks: dict[Address, list[TrunkAt]] = {}
        self._names: dict[str, tuple[float, list[Address]]] = {}
        """Of each host when it was looked up, and where it was."""

    def find(self, host: str) -> Peer | None:
        """Return the peer at a numeric host, None for a stranger."""
        address = _address(host)
        trunks = self._trunks.get(address, ())
        if not trunks and not self._is_allowed(address):
            return None
        return Peer(dict(trunk.account for trunk in trunks if trunk.account is not None))

    async def environments(self, host: str, account: str | None) -> list[str]:
        """Return whose numbers a peer may call, the longest known first. Raises `StoreError`."""
        if account is None and self._is_allowed(_address(host)):
            return [one.id for one in reversed(await self._store.find(Environment, None))]
        return list(dict.fromkeys(trunk.environment_id for trunk in self._proven(host, account)))

    def trunk_id(self, host: str, account: str | None, environment_id: str) -> str | None:
        """Return an environment's trunk at a peer; None when the peer is not at one."""
        there = (trunk.id for trunk in self._proven(host, account) if trunk.environment_id == environment_id)
        return next(there, None)

    async def run(self) -> None:
        """Refresh every `REFRESH_S` seconds until cancelled; a store that is away is asked again."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.refresh()
            except StoreError:
                logger.exception("trunks not read; calls are taken from those known so far")

    async def refresh(self) -> None:
        """Read the trunks, and look up their names. Raises `StoreError`."""
        found: dict[Address, list[TrunkAt]] = {}
        for record in reversed(await self._store.find(TrunkRecord, None)):
            try:
                trunk = TrunkAt(record.id, record.environment_id, self._account(record))
            except SecretError:
                logger.exception("calls of trunk %s are refused: its password cannot be read", record.id)
                continue
            for address in await self._addresses(_host_of(record.uri)):
                there = found.setdefault(address, [])
                if _is_free(trunk, there):
                    there.append(trunk)
                else:
                    logger.error("calls of trunk %s are refused: its user name is another trunk's there", record.id)
        self._trunks = found

    def _proven(self, host: str, account: str | None) -> list[TrunkAt]:
        """Return the trunks that a peer has shown to be; their oldest first."""
        trunks = self._trunks.get(_address(host), [])
        return [trunk for trunk in trunks if (trunk.account[0] if trunk.account else None) == account]

    def _account(self, record: TrunkRecord) -> tuple[str, str] | None:
        """Return what the trunk's calls must prove to know. Raises `SecretError`."""
        if record.inbound_username is None:
            return None
        return record.inbound_username, self._decrypt(record.inbound_password) if record.inbound_password else ""

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self._allow)

    async def _addresses(self, host: str) -> list[Address]:
        """Return where a host is; one that cannot be looked up stays where it was."""
        known = self._names.get(host)
        if known is not None and self._clock.monotonic() - known[0] < RESOLVED_S:
            return known[1]
        try:
            addresses = [_address(text) for text in await self._resolve(host)]
        except (OSError, UnicodeError) as error:  # A label may be too long for the DNS.
            logger.warning("the trunk's host %s cannot be looked up: %s", host, error)
            addresses = known[1] if known is not None else []
        self._names[host] = (self._clock.monotonic(), addresses)
        return addresses


async def resolve(host: str) -> list[str]:
    """Return the addresses of a host. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _address(host: str) -> Address:
    """Read a numeric host; an IPv4 address that an IPv6 socket shows is still one."""
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_free(trunk: TrunkAt, there: list[TrunkAt]) -> bool:
    """Say whether nobody at an address has a trunk's user name with another password."""
    if trunk.account is None:
        return True
    taken = [one.account for one in there if one.account is not None and one.account[0] == trunk.account[0]]
    return all(account == trunk.account for account in taken)


def _host_of(uri: str) -> str:
    """Return the host of a trunk's `sip:host:port;parameters`."""
    hostport = uri.removeprefix("sip:").partition(";")[0].rpartition("@")[2]
    if hostport.startswith("["):
        return hostport[1:].partition("]")[0]
    return hostport.partition(":")[0]
