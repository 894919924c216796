"""The call's side of an agent: remembers what the agent wants of it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from onhook.agents.messages import CallInfo, Word

LIMIT_S = 3.0

Wish = tuple[str, Any]


class FakeLine:
    """A `CallMedia`; `wishes` in order, the audio apart in `played`."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.played = bytearray()
        self._changed = asyncio.Event()

    def say(self, text: str) -> None:
        self._note("say", text)

    def play(self, mulaw: bytes) -> None:
        self.played += mulaw
        self._changed.set()

    def mark(self, name: str) -> None:
        self._note("mark", name)

    def clear(self) -> None:
        self._note("clear", None)

    def send_dtmf(self, digits: str) -> None:
        if set(digits) - set("0123456789*#ABCD"):
            raise ValueError(f"no such key: {digits}")
        self._note("keys", digits)

    def hang_up(self, reason: str = "", *, drain: bool = True) -> None:
        self._note("hang_up", (reason, drain))

    def heard(self, text: str, start_ms: int, end_ms: int, words: Sequence[Word] = ()) -> None:
        self._note("heard", (text, start_ms, end_ms, tuple(words)))

    def action(self, name: str, arguments: str, result: str, *, failed: bool = False) -> None:
        self._note("action", (name, arguments, result, failed))

    def consent(self, *, granted: bool) -> None:
        self._note("consent", granted)

    def notice(self, *, begins: bool) -> None:
        self._note("notice", begins)

    def fail(self, error: str) -> None:
        self._note("fail", error)

    def all(self, kind: str) -> list[Any]:
        """Return the wishes of a kind."""
        return [what for name, what in self.wishes if name == kind]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a change that makes a condition true."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def first(self, kind: str) -> Any:
        """Wait for a wish of a kind."""
        await self.until(lambda: bool(self.all(kind)))
        return self.all(kind)[0]

    def _note(self, kind: str, what: Any) -> None:
        self.wishes.append((kind, what))
        self._changed.set()


def call_for(definition: Any) -> CallInfo:
    """Return a call that has an agent of this definition."""
    return CallInfo("call_0123456789abcdef0123456789a", "sip-1", "agent_1", "outbound", "+1", "+2", definition)
