"""Who said what when, and how long the caller waited for it. Times are ms since the answer."""

from collections import deque
from statistics import median
from typing import Any, Literal

import msgspec

from onhook.agents.messages import Word
from onhook.calls.call import EventType
from onhook.metrics.histogram import Histogram
from onhook.voice.call_line import CallLine

MAX_TEXT = 10_000
"""Characters of one turn that are kept."""

_PENDING_ENDS = 8


class Turn(msgspec.Struct, frozen=True):
    """What one side said in one go.

    `interrupted` is True when the rest of it was dropped. `latency_ms` is how long the caller had waited for the first
    sound of it, None when it answered nothing. `words` are there where somebody knows them.
    """

    role: Literal["agent", "user"]
    text: str
    start_ms: int
    end_ms: int
    words: tuple[Word, ...] = ()
    interrupted: bool = False
    latency_ms: int | None = None


class Transcript:
    """Writes turns into the log, as far as the call allows, and keeps the figures of the whole.

    `replies` counts how long callers waited, in seconds, over all calls.
    """

    def __init__(self, line: CallLine, replies: Histogram) -> None:
        self._line = line
        self._replies = replies
        self._turns = 0
        self._latencies: list[int] = []
        self._caller_ends: deque[int] = deque(maxlen=_PENDING_ENDS)

    def caller_ended(self, at_ms: int) -> None:
        """Take an end of the caller's speech, which the agent may answer."""
        self._caller_ends.append(at_ms)

    def answered_after(self, start_ms: int) -> int | None:
        """Return how long the caller had waited when the agent began to speak, once for each end of the caller's."""
        latency = None
        while self._caller_ends and self._caller_ends[0] <= start_ms:
            latency = start_ms - self._caller_ends.popleft()
        if latency is not None:
            self._latencies.append(latency)
            self._replies.observe(latency / 1000)
        return latency

    def add(self, turn: Turn) -> None:
        """Enter a turn."""
        self._turns += 1
        if self._line.keeps_words:
            cut = msgspec.structs.replace(turn, text=turn.text[:MAX_TEXT])
            self._line.note(EventType.TURN, msgspec.to_builtins(cut))

    def summary(self) -> dict[str, Any]:
        """Return how many turns there were, and the median and the longest wait for the agent."""
        waits = {"p50": round(median(self._latencies)), "max": max(self._latencies)} if self._latencies else None
        return {"turns": self._turns, "reply_latency_ms": waits}
