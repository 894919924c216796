"""How loud a sound must be to count: louder than the line's noise, and than what comes back of our own voice.

No echo is cancelled; it is bounded by its level. It is at most so much below what we sent in the last half second,
and how much that is on this line is learned while only we speak.
"""

from array import array
from collections import deque
from functools import cache
from math import log10

from onhook.lines.media.g711 import mulaw_to_linear

_TAIL_TICKS = 25
"""How long what we sent may come back: 500 ms of ticks."""

_LEARN_WINDOWS = 31
"""Windows, about a second, without a louder sound that prove a lower echo."""

_CAUTIOUS_DB = -10.0
"""The echo that is assumed of a line not known yet, relative to what we sent."""

_LOUDEST_DB = 0.0
_STEP_DB = 3.0
"""How much louder the echo is assumed to be after each doubt."""

_MARGIN_DB = 4.0
_SILENT_DB = -55.0
"""What we send below this level makes no echo that matters."""

_QUIETEST_DB = -70.0
"""No line is taken to be quieter."""
_STANDS_OUT_DB = 6.0
_FALLS = 0.5
_RISES = 0.03
"""How much of the way the noise floor goes to a quieter window, and to a louder one without voice."""

_SILENCE = b"\xff" * 160
_FLOOR_DB = -100.0


class NoiseFloor:
    """Follows the noise of one line."""

    def __init__(self) -> None:
        self._level = _QUIETEST_DB

    def loud(self, level: float) -> bool:
        """Say whether a window of this level stands out of the noise."""
        return level > self._level + _STANDS_OUT_DB

    def hear(self, level: float, *, voiced: bool) -> None:
        """Take a window; one with voice says nothing of the noise, unless it is quieter."""
        step = max(level, _QUIETEST_DB) - self._level
        if step < 0 or not voiced:
            self._level += step * (_FALLS if step < 0 else _RISES)


class EchoBar:
    """Follows what one call sends and hears."""

    def __init__(self) -> None:
        self._sent: deque[float] = deque(maxlen=_TAIL_TICKS)
        self._peak = _FLOOR_DB
        self._returned: deque[float] = deque(maxlen=_LEARN_WINDOWS)
        self._coupling = _CAUTIOUS_DB

    def sent(self, mulaw: bytes) -> None:
        """Take the 20 ms that were sent."""
        self._sent.append(level_of(mulaw))
        self._peak = max(self._sent)

    @property
    def up(self) -> bool:
        """True while what we sent may come back."""
        return self._peak > _SILENT_DB

    def level(self) -> float:
        """Return the level in dBFS that only the caller's own voice exceeds."""
        return self._peak + self._coupling + _MARGIN_DB if self.up else _FLOOR_DB

    def heard(self, level: float) -> None:
        """Take the level of a window, to learn how much comes back: never more than the loudest of a second."""
        if not self.up:
            return
        self._returned.append(level - self._peak)
        if len(self._returned) == _LEARN_WINDOWS:
            self._coupling = min(self._coupling, max(self._returned))

    def doubt(self) -> None:
        """Be more careful: what was taken for the caller may have been an echo, for it stopped when we did."""
        self._returned.clear()
        self._coupling = min(_LOUDEST_DB, max(_CAUTIOUS_DB, self._coupling + _STEP_DB))


def level_of(mulaw: bytes) -> float:
    """Return the RMS level of mu-law audio in dB relative to full scale; -100 for digital silence."""
    if mulaw == _SILENCE:
        return _FLOOR_DB
    return 10 * log10(sum(map(_squares().__getitem__, mulaw)) / len(mulaw) + 1e-10)


@cache
def _squares() -> tuple[float, ...]:
    """Return the power of each mu-law code; full scale is 1."""
    return tuple((sample / 32768) ** 2 for sample in array("h", mulaw_to_linear(bytes(range(256)))))
