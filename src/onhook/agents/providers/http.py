"""HTTP to providers, for one call: streamed answers, one retry, and a close that cannot be held up."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from onhook.agents.providers.deadlines import Limits
from onhook.agents.providers.environment import ProviderError
from onhook.agents.providers.retries import PAUSE_S, pause_after
from onhook.agents.providers.sockets import ResettingSockets

MAX_IDLE_S = 30.0
"""How long a connection waits for the next request; a new one costs a TLS handshake in the middle of a talk."""

log = logging.getLogger(__name__)


class Request(msgspec.Struct, frozen=True):
    """A POST to the provider `who`: with `json`, or with what `form` makes, anew for each try."""

    who: str
    url: str
    headers: Mapping[str, str]
    json: Any = None
    form: Callable[[], aiohttp.FormData] | None = None


class ProviderHttp:
    """The HTTP connections of one call, to whichever providers."""

    def __init__(self, limits: Limits) -> None:
        self._is_over = False
        self._sockets = ResettingSockets()
        self._connector = aiohttp.TCPConnector(socket_factory=self._sockets.make, keepalive_timeout=MAX_IDLE_S)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect),
            headers={"User-Agent": "onhook"},
            trust_env=True,
        )

    @asynccontextmanager
    async def post(self, request: Request, *, retry: bool = True) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and give its answer, to be read inside. Raises `ProviderError`, also while it is read.

        With `retry` one that fails before its answer begins is sent once more, if that may help.
        """
        try:
            async with await self._answer(request, retry=retry) as answer:
                if answer.status != 200:
                    raise ProviderError(f"{request.who} refused: HTTP {answer.status}")
                yield answer
        except aiohttp.ClientError as error:
            raise ProviderError(f"{request.who} was lost: {type(error).__name__}") from error

    async def close(self) -> None:
        """Cut all connections. Nothing is left when it returns."""
        self.abort()
        await self._session.close()

    def abort(self) -> None:
        """Cut all connections now."""
        self._is_over = True
        self._sockets.cut()

    async def _answer(self, request: Request, *, retry: bool) -> aiohttp.ClientResponse:
        """Return the answer to a request: the last try's. Raises `aiohttp.ClientError`, `ProviderError`."""
        try:
            answer = await self._send(request)
        except aiohttp.ClientError as error:
            failure, pause = type(error).__name__, _pause_after(error)
            if pause is None or not retry or self._is_over:
                raise
        else:
            failure, pause = f"HTTP {answer.status}", pause_after(answer.status, answer.headers.get("Retry-After"))
            if pause is None or not retry or self._is_over:
                return answer
            answer.close()
        log.warning("%s: %s; it is asked once more in %g s", request.who, failure, pause)
        await asyncio.sleep(pause)
        if self._is_over:
            raise ProviderError(f"{request.who}: stopped before it was asked once more")
        return await self._answer(request, retry=False)

    async def _send(self, request: Request) -> aiohttp.ClientResponse:
        form = None if request.form is None else request.form()
        return await self._session.post(
            request.url, headers=request.headers, json=request.json, data=form, allow_redirects=False
        )


def _pause_after(error: aiohttp.ClientError) -> float | None:
    """Return when to try again after an error before the answer: no server was reached, or its connection was lost."""
    is_lost = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    return PAUSE_S if is_lost and not isinstance(error, aiohttp.ClientSSLError) else None
