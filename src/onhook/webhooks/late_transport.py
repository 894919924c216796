"""The transport of a node: aiohttp, loaded when the first delivery is due.

Its import takes a tenth of a second, which the start of a server does not wait for, and 10 MB, which a node whose
events nobody wants never takes. It happens in a thread, since the event loop carries the audio of live calls.
"""

import asyncio
from typing import TYPE_CHECKING

from onhook.webhooks.guard import Guard
from onhook.webhooks.transport import Answer, Request

if TYPE_CHECKING:
    from onhook.webhooks.http_transport import HttpTransport


class LateTransport:
    """An `HttpTransport` from the first request on. Use as an asynchronous context manager."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._opening: asyncio.Task[HttpTransport] | None = None

    async def __aenter__(self) -> "LateTransport":
        """Open nothing yet."""
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close what was opened."""
        if self._opening is not None:
            transport = await self._opening
            await transport.__aexit__(*exception)

    async def send(self, request: Request) -> Answer:
        """Return the answer, whatever its status. Raises `NoAnswerError`."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        transport = await asyncio.shield(self._opening)
        return await transport.send(request)

    async def _open(self) -> "HttpTransport":
        kind = await asyncio.to_thread(_load)
        return await kind(self._guard).__aenter__()


def _load() -> "type[HttpTransport]":
    from onhook.webhooks.http_transport import HttpTransport  # noqa: PLC0415

    return HttpTransport
