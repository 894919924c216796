"""Messages to a peer that may read slowly, or not at all: whoever puts them in never waits."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_AUDIO = 50
"""Frames of 20 ms that wait at most: one second. What is older than that helps nobody in a conversation."""
MAX_OTHERS = 1000
"""Other messages that wait at most."""


class Outgoing(NamedTuple):
    """A message by its event's name, without what is the same in all of them."""

    event: str
    body: Mapping[str, Any]
    is_audio: bool = False


class SendQueue:
    """Keeps the order. The oldest audio gives way to the newest; other messages are never dropped."""

    def __init__(self) -> None:
        self._waiting: deque[Outgoing] = deque()
        self._audio = 0
        self._filled = asyncio.Event()

    def put(self, message: Outgoing) -> bool:
        """Append a message; False, and nothing appended, when too many that are not audio wait."""
        if message.is_audio:
            self._audio += 1
            if self._audio > MAX_AUDIO:
                self._drop_oldest_audio()
        elif len(self._waiting) - self._audio >= MAX_OTHERS:
            return False
        self._waiting.append(message)
        self._filled.set()
        return True

    async def get(self) -> Outgoing:
        """Take the first message, once there is one. For one reader."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        message = self._waiting.popleft()
        self._audio -= message.is_audio
        return message

    def _drop_oldest_audio(self) -> None:
        oldest = next(place for place, one in enumerate(self._waiting) if one.is_audio)
        del self._waiting[oldest]
        self._audio -= 1
