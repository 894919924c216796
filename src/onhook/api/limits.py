"""Bounds on what clients may take: the size of a body, and the number of requests served at once."""

import re
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STOP_PATH = re.compile(r"/v2/stop-call/.*|/api/v1/agents/[^/]+/end-call|/v1/calls/[^/]+/stop", re.DOTALL)
"""The paths of requests that end a call."""


def is_stop(scope: Scope) -> bool:
    """Say whether a request wants to end a call."""
    return scope["type"] == "http" and scope["method"] == "POST" and STOP_PATH.fullmatch(scope["path"]) is not None


class BodyLimit:
    """Raises the HTTP error 413 where a body of more than `max_bytes` is read, however it is framed."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        announced = next((value for name, value in scope.get("headers", ()) if name == b"content-length"), b"0")
        too_large = not announced.isdigit() or int(announced) > self._max_bytes
        read = 0

        async def bounded() -> Message:
            nonlocal read
            if too_large:
                raise HTTPException(413)
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise HTTPException(413)
            return message

        await self._app(scope, bounded, send)


class StopReserve:
    """Serves at most `limit` requests at once, and every stop besides.

    A server full of lists and look-ups must still end calls: stops are not counted and never refused. What is
    over the limit is answered at once by `refuse`, never queued.
    """

    def __init__(self, app: ASGIApp, limit: int, refuse: Callable[[Scope], ASGIApp]) -> None:
        self._app = app
        self._limit = limit
        self._refuse = refuse
        self._serving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if is_stop(scope):
            await self._app(scope, receive, send)
            return
        if self._serving >= self._limit:
            await self._refuse(scope)(scope, receive, send)
            return
        self._serving += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._serving -= 1
