"""Which bots may be connected to. The URL comes from whoever may make agents, and we are inside the network."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from onhook.agents.definition import DefinitionError

_PORTS = {"wss": 443, "ws": 80}
_ODD = re.compile(r"[^\x21-\x7e]|[\\#]")
"""White space, control characters, what is not ASCII, and two that programs read differently."""


class BotAddress(NamedTuple):
    """Where a bot is, in a form that can be compared."""

    scheme: str
    host: str
    port: int
    path: str


def check_bot_url(url: str, allowed: tuple[str, ...], *, allow_private: bool) -> None:
    """Raise `DefinitionError` unless `url` is a websocket URL that begins as one of `allowed` does.

    An entry is an origin with or without the beginning of a path: `wss://bots.example.com/voice/`. Scheme, host and
    port must be the same; the path must go on where a segment of the entry's ends. With `allow_private` any bot on
    loopback is allowed, too, for a sandbox.
    """
    bot = _address(url)
    if allow_private and _is_loopback(bot.host):
        return
    if not any(_covers(_address(entry), bot) for entry in allowed):
        raise DefinitionError(f"url: bots at {bot.scheme}://{bot.host} are not allowed here; see agent_url_allow")


def check_allowed(entry: str) -> str:
    """Return an entry of the list, or raise `DefinitionError` when nothing could ever match it."""
    _address(entry)
    return entry


def _address(url: str) -> BotAddress:
    if _ODD.search(url):
        raise DefinitionError("url: has characters that do not belong into a URL")
    try:
        parts = urlsplit(url)
        host, port = _host(parts), parts.port
    except ValueError as error:
        raise DefinitionError(f"url: cannot be read: {error}") from error
    if parts.scheme not in _PORTS or not host:
        raise DefinitionError("url: must begin with wss://host or ws://host")
    if "@" in parts.netloc:
        raise DefinitionError("url: must not hold a user name; bots check our signature")
    if any(_climbs(unquote(segment)) for segment in parts.path.split("/")):
        raise DefinitionError("url: its path must be plain, without dot segments")
    return BotAddress(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, parts.path or "/")


def _host(parts: SplitResult) -> str:
    """Return the host in lower case, without the dot of the root; an IP address in its one short form."""
    host = (parts.hostname or "").removesuffix(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _climbs(segment: str) -> bool:
    """Say whether a decoded segment of a path may lead out of the folder that it seems to be in."""
    return segment in {".", ".."} or "/" in segment or "\\" in segment


def _covers(entry: BotAddress, bot: BotAddress) -> bool:
    folder = entry.path if entry.path.endswith("/") else entry.path + "/"
    return entry[:3] == bot[:3] and (bot.path == entry.path or bot.path.startswith(folder))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
