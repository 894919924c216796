"""Bounds on what clients may take: the size of a body, requests served at once, requests in a minute."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onhook.clock import Clock

STOP_PATH = re.compile(
    r"/v2/stop-call/.*|/api/v1/agents/[^/]+/end-call|/v1/calls/[^/]+/stop|/2010-04-01/Accounts/[^/]+/Calls/[^/]+\.json",
    re.DOTALL,
)
"""The paths of requests that end a call."""
EMERGENCY_PATH = re.compile(r"/v1/(stops|dial-blocks)(/[^/]*)?|/v1/calls/[^/]+/stop-at", re.DOTALL)
"""The paths of requests about many calls at once: to end them, to keep more from beginning, to see what came of it.

And of those about the moment at which a call is to end.
"""


def is_stop(scope: Scope) -> bool:
    """Say whether a request wants to end calls, or is about such a request."""
    if scope["type"] != "http":
        return False
    path: str = scope["path"]
    if EMERGENCY_PATH.fullmatch(path) is not None:
        return True
    return scope["method"] == "POST" and STOP_PATH.fullmatch(path) is not None


BULK_PATHS = frozenset({"/create-batch-call"})
"""The paths of requests that say in one what others say in a thousand."""
BULK = 16
"""How many times as long as others their bodies may be."""


class BodyLimit:
    """Raises the HTTP error 413 where a body of more than `max_bytes` is read, however it is framed.

    Those of `BULK_PATHS` may be `BULK` times as long.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        most = self._max_bytes * (BULK if scope["path"] in BULK_PATHS else 1)
        announced = next((value for name, value in scope.get("headers", ()) if name == b"content-length"), b"0")
        too_large = not announced.isdigit() or int(announced) > most
        read = 0

        async def bounded() -> Message:
            nonlocal read
            if too_large:
                raise HTTPException(413)
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
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


WINDOW_S = 60
ALLOWANCE = "onhook.allowance"
"""Where a request's scope holds its `Allowance`, for `AllowanceHeaders` to tell."""


@dataclass(frozen=True)
class Allowance:
    """What is left of a key's requests: `limit` in a window, `remaining` of them until `reset_at` (s since the epoch).

    Where not `granted`, the request is to be refused; `retry_after_s` is how long the window still lasts.
    """

    granted: bool
    limit: int
    remaining: int
    reset_at: int
    retry_after_s: int

    def headers(self) -> dict[str, str]:
        """Return what a response tells of this."""
        told = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_at),
        }
        return told if self.granted else told | {"Retry-After": str(self.retry_after_s)}


class RateLimit:
    """Grants each key `per_minute` requests in every minute of the clock. Stops are granted always, and not counted."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._limit = per_minute
        self._clock = clock
        self._window = 0
        self._taken: Counter[str] = Counter()

    def take(self, key_id: str, scope: Scope) -> Allowance:
        """Count one request of a key, and say whether it is granted."""
        now_s = self._clock.now_ms() // 1000
        window = now_s // WINDOW_S
        if window != self._window:
            self._window = window
            self._taken.clear()
        granted = is_stop(scope) or self._taken[key_id] < self._limit
        if granted and not is_stop(scope):
            self._taken[key_id] += 1
        reset_at = (window + 1) * WINDOW_S
        return Allowance(granted, self._limit, self._limit - self._taken[key_id], reset_at, reset_at - now_s)


class AllowanceHeaders:
    """Tells on every response, whatever its status, what is left of the key's requests (see `ALLOWANCE`)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def told(message: Message) -> None:
            allowance = scope.get(ALLOWANCE)
            if message["type"] == "http.response.start" and isinstance(allowance, Allowance):
                added = [(name.lower().encode(), value.encode()) for name, value in allowance.headers().items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, told)
