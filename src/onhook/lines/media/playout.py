"""What one leg still has to play: frames of 20 ms, keys between them, and marks that tell how far it is."""

from collections import deque

from onhook.lines.media.dtmf import END_PACKETS, PAUSE_FRAMES, UPDATES, check_digits
from onhook.lines.media.session import FRAME_BYTES, FRAME_MS, SILENCE

MAX_QUEUED_FRAMES = 15_000
"""Five minutes; more is dropped, for an agent that never stops must not eat the memory."""

MAX_QUEUED_MARKS = 3_000
"""One for each tenth of a second; more come back at once, as cleared. All may come back in one turn, too."""

_FRAMES_PER_DIGIT = UPDATES + END_PACKETS - 1 + PAUSE_FRAMES


class Digit(str):
    """A key in the queue."""

    __slots__ = ()


class Mark(str):
    """A place in the queue, by its name."""

    __slots__ = ()


class Playout:
    """A queue that is filled at any pace and emptied one frame per tick.

    `echoes` collects the marks that were reached, and those that were dropped (True), until somebody takes them.
    A mark behind a frame that is not full yet waits for that frame and does not cut it short.
    """

    __slots__ = ("_digits", "_dropped", "_items", "_marks", "_tail", "_tail_marks", "echoes")

    def __init__(self) -> None:
        self.echoes: list[tuple[str, bool]] = []
        self._items: deque[bytes | Digit | Mark] = deque()
        self._marks: deque[Mark] = deque()
        """Those among the items, in their order."""
        self._dropped = self._items
        self._tail = b""
        self._tail_marks: list[Mark] = []
        self._digits = 0

    def play(self, mulaw: bytes) -> None:
        """Append mu-law of any length; what does not fill a frame waits for more, or for its turn."""
        data = self._tail + mulaw if self._tail else mulaw
        whole = len(data) - len(data) % FRAME_BYTES
        if whole and self._tail_marks:
            self._append(data[:FRAME_BYTES])
            self._release_tail_marks()
            data, whole = data[FRAME_BYTES:], whole - FRAME_BYTES
        self._tail = data[whole:]
        self._append(data[:whole])

    def press(self, digits: str) -> None:
        """Append keys. Raises `ValueError` for one that no phone has."""
        keys = [Digit(digit) for digit in check_digits(digits)]
        self._end_frame()
        self._items += keys
        self._digits += len(keys)

    def mark(self, name: str) -> None:
        """Append a mark."""
        if len(self._marks) + len(self._tail_marks) >= MAX_QUEUED_MARKS:
            self.echoes.append((name, True))
            return
        self._tail_marks.append(Mark(name))
        if not self._tail:
            self._release_tail_marks()

    def insert(self, frames: tuple[bytes, ...]) -> None:
        """Put frames before all others."""
        self._items.extendleft(reversed(frames))

    def next(self) -> bytes | Digit:
        """Take the next 160-byte frame or key, and the marks around it; silence when there is nothing to say.

        A mark behind a key is only taken with what follows: a key takes longer than a frame to send.
        """
        while self._items or self._tail:
            if not self._items:
                self._end_frame()
            item = self._items.popleft()
            if isinstance(item, Mark):
                self._reach(item)
                continue
            if isinstance(item, Digit):
                self._digits -= 1
            elif self._marks:
                self.reach_marks()
            return item
        return SILENCE

    def reach_marks(self) -> None:
        """Take the marks that nothing is before any more."""
        while self._items and isinstance(mark := self._items[0], Mark):
            self._items.popleft()
            self._reach(mark)

    def flush(self) -> int:
        """Drop all audio and its marks, keep the keys; return the ms of audio dropped, a begun frame as a whole one."""
        self._end_frame()
        dropped = len(self._items) - self._digits - len(self._marks)
        self._drop_marks()
        self._items = deque(item for item in self._items if isinstance(item, Digit))
        return dropped * FRAME_MS

    def clear(self) -> None:
        """Drop everything, in no time: the end of a call waits for this, and for no agent that has much to say."""
        self._end_frame()
        self._drop_marks()
        self._dropped, self._items = self._items, deque()  # To free thousands of frames would take time, too.
        self._digits = 0

    @property
    def queued_ms(self) -> int:
        """How long the queue will take to play, in ms."""
        frames = len(self._items) - self._digits - len(self._marks) + bool(self._tail)
        return (frames + self._digits * _FRAMES_PER_DIGIT) * FRAME_MS

    def _reach(self, mark: Mark) -> None:
        self._marks.popleft()
        self.echoes.append((mark, False))

    def _append(self, frames: bytes) -> None:
        room = max(0, MAX_QUEUED_FRAMES - len(self._items) + len(self._marks)) * FRAME_BYTES
        self._items += [frames[at : at + FRAME_BYTES] for at in range(0, min(len(frames), room), FRAME_BYTES)]

    def _end_frame(self) -> None:
        if self._tail:
            self._items.append(self._tail.ljust(FRAME_BYTES, SILENCE[:1]))
            self._tail = b""
            self._release_tail_marks()

    def _release_tail_marks(self) -> None:
        self._items += self._tail_marks
        self._marks += self._tail_marks
        self._tail_marks.clear()

    def _drop_marks(self) -> None:
        self.echoes += [(mark, True) for mark in self._marks]
        self._marks.clear()
