"""Answers that go on: how many there may be, and their end when the server stops."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Streams:
    """The streams that are open. Each keeps a connection for as long as its client likes, so there is a `limit`."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._open: set[asyncio.Event] = set()
        self._closed = False

    @property
    def full(self) -> bool:
        """True when no more may be opened."""
        return len(self._open) >= self._limit

    @property
    def closed(self) -> bool:
        """True when all are to end."""
        return self._closed

    @contextmanager
    def entered(self) -> Iterator[asyncio.Event]:
        """Count a stream while the context is open; the event is set when it is to end."""
        wake = asyncio.Event()
        self._open.add(wake)
        try:
            yield wake
        finally:
            self._open.discard(wake)

    def close(self) -> None:
        """Have all streams end: the server stops."""
        self._closed = True
        for wake in self._open:
            wake.set()
