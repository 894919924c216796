"""What one leg still has to play: frames of 20 ms, and keys between them."""

from collections import deque

from onhook.lines.media.dtmf import END_PACKETS, PAUSE_FRAMES, UPDATES, check_digits
from onhook.lines.media.session import FRAME_BYTES, FRAME_MS, SILENCE

MAX_QUEUED_FRAMES = 15_000
"""Five minutes; more is dropped, for an agent that never stops must not eat the memory."""

_FRAMES_PER_DIGIT = UPDATES + END_PACKETS - 1 + PAUSE_FRAMES


class Digit(str):
    """A key in the queue."""

    __slots__ = ()


class Playout:
    """A queue that is filled at any pace and emptied one frame per tick."""

    __slots__ = ("_digits", "_items", "_tail")

    def __init__(self) -> None:
        self._items: deque[bytes | Digit] = deque()
        self._tail = b""
        self._digits = 0

    def play(self, mulaw: bytes) -> None:
        """Append mu-law of any length; what does not fill a frame waits for more, or for its turn."""
        data = self._tail + mulaw if self._tail else mulaw
        whole = len(data) - len(data) % FRAME_BYTES
        self._tail = data[whole:]
        room = max(0, MAX_QUEUED_FRAMES - len(self._items)) * FRAME_BYTES
        self._items += [data[start : start + FRAME_BYTES] for start in range(0, min(whole, room), FRAME_BYTES)]

    def press(self, digits: str) -> None:
        """Append keys. Raises `ValueError` for one that no phone has."""
        keys = [Digit(digit) for digit in check_digits(digits)]
        self._end_frame()
        self._items += keys
        self._digits += len(keys)

    def insert(self, frames: tuple[bytes, ...]) -> None:
        """Put frames before all others."""
        self._items.extendleft(reversed(frames))

    def next(self) -> bytes | Digit:
        """Take the next 160-byte frame or key; silence when there is nothing to say."""
        if not self._items:
            if not self._tail:
                return SILENCE
            self._end_frame()
        item = self._items.popleft()
        if isinstance(item, Digit):
            self._digits -= 1
        return item

    def flush(self) -> int:
        """Drop all audio, keep the keys; return the ms of audio dropped, the last begun frame as a whole one."""
        self._end_frame()
        dropped = len(self._items) - self._digits
        self._items = deque(item for item in self._items if isinstance(item, Digit))
        return dropped * FRAME_MS

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()
        self._tail = b""
        self._digits = 0

    @property
    def queued_ms(self) -> int:
        """How long the queue will take to play, in ms."""
        frames = len(self._items) - self._digits + bool(self._tail)
        return (frames + self._digits * _FRAMES_PER_DIGIT) * FRAME_MS

    def _end_frame(self) -> None:
        if self._tail:
            self._items.append(self._tail.ljust(FRAME_BYTES, SILENCE[:1]))
            self._tail = b""
