"""The transport over aiohttp. Imported late (see `late_transport`): it is the largest import of the courier."""

import asyncio

import aiohttp

from onhook.webhooks.guard import Guard
from onhook.webhooks.transport import TIMED_OUT, Answer, NoAnswerError, Request

TEXT_MAX = 4096
"""How much of an answer's body, and of its headers, is kept."""
PER_HOST = 32
KEEP_ALIVE_S = 30.0


class HttpTransport:
    """Keeps connections open between deliveries. Use as an asynchronous context manager."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "HttpTransport":
        """Open the pool of connections."""
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=PER_HOST,
            keepalive_timeout=KEEP_ALIVE_S,
            use_dns_cache=False,
            socket_factory=self._guard.socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    async def send(self, request: Request) -> Answer:
        """Return the answer, whatever its status. Raises `NoAnswerError`."""
        if self._session is None:
            raise NoAnswerError("the transport is closed")
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.timeout_s),
            ) as response:
                return Answer(response.status, _headers(response), await _beginning(response))
        except TimeoutError as error:
            raise NoAnswerError(TIMED_OUT) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(_storable(str(error)) or type(error).__name__) from error


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """Return the beginning of the body. The status has been given: a body that breaks off changes nothing."""
    received = bytearray()
    try:
        while len(received) < TEXT_MAX and (chunk := await response.content.read(TEXT_MAX - len(received))):
            received += chunk
    except (TimeoutError, asyncio.IncompleteReadError, aiohttp.ClientError):
        pass
    return received.decode(errors="replace")


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the answer's headers as far as they are to be kept."""
    kept: dict[str, str] = {}
    size = 0
    for name, value in ((name, _storable(value)) for name, value in response.headers.items()):
        size += len(name) + len(value)
        if size > TEXT_MAX:
            break
        kept[name] = value
    return kept


def _storable(text: str) -> str:
    """Return text that can be written as UTF-8: aiohttp turns bytes that are not UTF-8 into lone surrogates."""
    return text.encode(errors="replace").decode()
