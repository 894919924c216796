"""One call per idempotency key, for an hour, within one life of the server."""

import asyncio
from collections.abc import Awaitable, Callable

from onhook.calls.call import Call
from onhook.clock import Clock

VALID_S = 3600.0
MAX_KEYS = 10_000
"""Beyond this the oldest keys are forgotten early."""


class RecentCalls:
    """Remembers which idempotency key placed which call. Nothing is remembered over a restart."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._placed: dict[tuple[str, str], tuple[float, asyncio.Future[Call]]] = {}

    async def once(self, api_key_id: str, idempotency_key: str, place: Callable[[], Awaitable[Call]]) -> Call:
        """Return the call that `place` makes, or the one that it made before under the same keys.

        Requests that arrive while the first is still placing wait for it. A refusal is not remembered.
        """
        self._forget_old()
        name = (api_key_id, idempotency_key)
        if name not in self._placed:
            self._placed[name] = (self._clock.monotonic() + VALID_S, asyncio.ensure_future(place()))
        _, placing = self._placed[name]
        try:
            return await asyncio.shield(placing)
        finally:
            if placing.done() and (placing.cancelled() or placing.exception() is not None):
                self._placed.pop(name, None)

    def _forget_old(self) -> None:
        now = self._clock.monotonic()
        while self._placed:
            oldest = next(iter(self._placed))
            if self._placed[oldest][0] > now and len(self._placed) < MAX_KEYS:
                return
            del self._placed[oldest]
