"""The caller's words, cut out of the caller's audio."""

from collections import deque

_FRAMES_BEFORE = 30
"""600 ms are kept from before we learn that the caller speaks: the line notices after up to 300 ms, and the recogniser
wants some 300 ms of the line's silence before the words."""
_MOST_FRAMES = 200
"""What does not fit into 4 s is no answer anyway."""


class UtteranceCutter:
    """Keeps what came last while the caller is silent, and all of it while the caller speaks."""

    def __init__(self) -> None:
        self._before: deque[bytes] = deque(maxlen=_FRAMES_BEFORE)
        self._frames: list[bytes] | None = None

    def add(self, frame: bytes) -> None:
        """Take 20 ms."""
        if self._frames is None:
            self._before.append(frame)
        elif len(self._frames) < _MOST_FRAMES:
            self._frames.append(frame)

    def begin(self) -> None:
        """The caller has begun to speak."""
        if self._frames is None:
            self._frames = list(self._before)
            self._before.clear()

    def end(self) -> bytes:
        """The caller has stopped: return the utterance."""
        frames, self._frames = self._frames or [], None
        return b"".join(frames)
