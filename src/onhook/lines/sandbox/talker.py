"""Far ends that speak: people and machines who wait, say recorded lines, and press keys.

All is G.711 mu-law; a caller that offers A-law only hears nothing of them.
"""

import math
import secrets
import struct
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path

import msgspec

from onhook.clock import Clock, Timer
from onhook.lines.sandbox.media import KEYS, PCMU, Echo

RECORDINGS = Path(__file__).parents[2] / "data" / "sandbox"

FRAME = 160
TICK_S = 0.02
SILENCE = b"\xff" * FRAME
LOUD = 300
"""Mean magnitude of a frame (of 32,124) from which on the caller counts as speaking."""
PATIENCE_S = 15.0
"""A line whose moment does not come is said all the same after that long."""
_KEY_FRAMES = 5
_MAGNITUDE = tuple((((code & 0x0F) << 3) + 132 << (code >> 4)) - 132 for code in range(128))


class When(StrEnum):
    """The moment of a line, counted from the line before it."""

    AT_ONCE = "at_once"
    AFTER_A_PROMPT = "after_a_prompt"
    """The caller has spoken and paused."""
    OVER_A_PROMPT = "over_a_prompt"
    """The caller is speaking."""


class Line(msgspec.Struct, frozen=True):
    """Say a recording, or press keys, `wait_s` into its moment."""

    when: When
    wait_s: float
    say: str | None = None
    press: str = ""


@cache
def recording(name: str) -> tuple[bytes, ...]:
    """Return a recording as frames of 20 ms."""
    data = (RECORDINGS / f"{name}.ulaw").read_bytes()
    return tuple(data[start : start + FRAME].ljust(FRAME, SILENCE[:1]) for start in range(0, len(data), FRAME))


def loudness(mulaw: bytes) -> float:
    """Return the mean magnitude of mu-law samples, 0 to 32,124."""
    return sum(_MAGNITUDE[~code & 0x7F] for code in mulaw) / max(1, len(mulaw))


class Moment:
    """Listens to the caller, tick by tick, for the moment of a line."""

    def __init__(self) -> None:
        self._spoke = 0
        self._run = 0
        self._speaking = False
        self._ticks = 0

    def hear(self, loud: bool) -> None:
        """Take one tick of the caller's voice."""
        self._ticks += 1
        self._run = self._run + 1 if loud == self._speaking else 1
        self._speaking = loud
        self._spoke += loud

    def has_come(self, line: Line) -> bool:
        """Return True when it is time for `line`."""
        wanted = math.ceil(line.wait_s / TICK_S)
        if self._ticks * TICK_S > PATIENCE_S + line.wait_s:
            return True
        match line.when:
            case When.AT_ONCE:
                return self._ticks >= wanted
            case When.AFTER_A_PROMPT:
                return not self._speaking and self._spoke >= 10 and self._run >= wanted
            case When.OVER_A_PROMPT:
                return self._spoke >= wanted


class Talker(Echo):
    """An RTP socket with somebody at it, who speaks from `start` on and echoes nothing."""

    def __init__(self, host: str, lines: tuple[Line, ...]) -> None:
        super().__init__(host)
        self._lines: Iterator[Line] = iter(lines)
        self._line = next(self._lines, None)
        self._moment = Moment()
        self._loud = 0.0
        self._queue: deque[bytes] = deque()
        self._timestamp = secrets.randbits(32)
        self._clock: Clock | None = None
        self._timer: Timer | None = None
        self._due = 0.0

    def start(self, clock: Clock) -> None:
        """Begin to speak."""
        self._clock = clock
        self._due = clock.monotonic()
        self._tick()

    def close(self) -> None:
        """Say nothing more, and close the socket."""
        if self._timer is not None:
            self._timer.cancel()
        super().close()

    def _reply(self, marker_and_type: int, timestamp: bytes, payload: bytes) -> None:
        if marker_and_type & 0x7F == PCMU:
            self._loud = loudness(payload)

    def _tick(self) -> None:
        clock = self._clock
        if clock is None:
            return
        self._due += TICK_S
        self._timer = clock.call_later(max(0.0, self._due - clock.monotonic()), self._tick)
        self._moment.hear(self._loud > LOUD)
        self._loud = 0.0
        if not self._queue and self._line is not None and self._moment.has_come(self._line):
            self._begin(self._line)
        self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF
        if self.remote is not None and self.remote.codec == PCMU:
            self._send(PCMU, self._timestamp.to_bytes(4, "big"), self._queue.popleft() if self._queue else SILENCE)

    def _begin(self, line: Line) -> None:
        if line.say is not None:
            self._queue.extend(recording(line.say))
        for key in line.press:
            self._press(key)
        self._line = next(self._lines, None)
        self._moment = Moment()

    def _press(self, key: str) -> None:
        """Send a key as an RFC 4733 event: growing, then its end three times."""
        if self.remote is None or self.remote.event_type is None:
            return
        stamp = self._timestamp.to_bytes(4, "big")
        for count in (*range(1, _KEY_FRAMES + 1), *[_KEY_FRAMES] * 2):
            end = 0x80 if count == _KEY_FRAMES else 0
            event = struct.pack("!BBH", KEYS.index(key), end | 10, count * FRAME)
            self._send(self.remote.event_type, stamp, event)
        self._timestamp = (self._timestamp + (_KEY_FRAMES + 2) * FRAME) & 0xFFFFFFFF
