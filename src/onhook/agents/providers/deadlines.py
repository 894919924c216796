"""How long a provider may take, and what enforces it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec

from onhook.agents.providers.environment import ProviderError

Item = TypeVar("Item")


class Limits(msgspec.Struct, frozen=True):
    """Seconds: to connect and be accepted; until the first piece of an answer; between pieces; for a good-bye."""

    connect: float = 3.0
    first: float = 10.0
    stall: float = 5.0
    close: float = 0.35


USUAL = Limits()


async def paced(stream: AsyncGenerator[Item, None], who: str, limits: Limits) -> AsyncGenerator[Item, None]:
    """Pass on what a provider streams. Raises `ProviderError` when the first or the next piece takes too long."""
    limit = limits.first
    async with aclosing(stream):
        while True:
            try:
                async with asyncio.timeout(limit):
                    item = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise ProviderError(f"{who} sent nothing for {limit:g} s") from error
            yield item
            limit = limits.stall


class Deadline:
    """One deadline that moves: `passed` is called, once, when it was neither moved nor lifted in time."""

    def __init__(self, passed: Callable[[float], None]) -> None:
        self._passed = passed
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Begin anew."""
        self.lift()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._passed, seconds)

    def lift(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
