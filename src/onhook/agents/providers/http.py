"""HTTP to providers, for one call: streamed answers, and a close that cannot be held up."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from onhook.agents.providers.deadlines import Limits
from onhook.agents.providers.environment import ProviderError
from onhook.agents.providers.sockets import ResettingSockets

MAX_IDLE_S = 30.0
"""How long a connection waits for the next request; a new one costs a TLS handshake in the middle of a talk."""


class ProviderHttp:
    """The HTTP connections of one call, to whichever providers."""

    def __init__(self, limits: Limits) -> None:
        self._sockets = ResettingSockets()
        self._connector = aiohttp.TCPConnector(socket_factory=self._sockets.make, keepalive_timeout=MAX_IDLE_S)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect),
            headers={"User-Agent": "onhook"},
            trust_env=True,
        )

    @asynccontextmanager
    async def post(
        self, who: str, url: str, headers: Mapping[str, str], *, json: Any = None, form: aiohttp.FormData | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and give its answer, to be read inside. Raises `ProviderError`, also while it is read."""
        try:
            async with self._session.post(url, headers=headers, json=json, data=form, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise ProviderError(f"{who} refused: HTTP {answer.status}")
                yield answer
        except aiohttp.ClientError as error:
            raise ProviderError(f"{who} was lost: {type(error).__name__}") from error

    async def close(self) -> None:
        """Cut all connections. Nothing is left when it returns."""
        self.abort()
        await self._session.close()

    def abort(self) -> None:
        """Cut all connections now."""
        self._sockets.cut()
