"""How loud a sound must be to count: louder than the line's noise, and than what comes back of our own voice."""

from array import array
from collections import deque
from functools import cache
from itertools import pairwise
from math import log10

from onhook.lines.media.g711 import mulaw_to_linear

_QUIETEST_DB = -70.0
"""No line is taken to be quieter."""
_NOISIEST_START_DB = -45.0
"""No line is taken to be noisier from its first window, which may be speech already."""
_STANDS_OUT_DB = 3.0
_FALLS = 0.5
_RISES = 0.06
"""How much of the way the noise floor goes to a quieter window, and to a louder one in which nobody speaks."""

_DELAYS = 25
"""How late what we sent may come back, in ticks: 500 ms. A delay between two ticks spreads over both."""
_UNKNOWN_DB = -6.0
"""What is assumed to come back at a delay that nothing is known of, relative to what we sent; never more."""
_LEARN_DB = 1.0
"""How much less may come back with each tick that proves it; no single tick proves much, for echoes smear."""
_FORGET_DB = 0.04
"""How much more may come back with each tick that says nothing: 2 dB each second."""
_MARGIN_DB = 4.0
_SILENT_DB = -55.0
"""What we send below this level makes no echo that matters."""
_COARSE_DB = -62.0
"""Below this level mu-law is too coarse to carry an echo faithfully."""
_BAR_TICKS = 3
"""Ticks that a window of the model may touch."""

_SILENCE = b"\xff" * 160
_FLOOR_DB = -100.0


class NoiseFloor:
    """Follows the noise of one line."""

    def __init__(self) -> None:
        self._level: float | None = None

    def loud(self, level: float) -> bool:
        """Say whether a window of this level stands out of the noise heard before."""
        return level > self._before(level) + _STANDS_OUT_DB

    def hear(self, level: float, *, silent: bool) -> None:
        """Take a window; one in which somebody may speak says nothing of the noise, unless it is quieter."""
        before = self._before(level)
        step = max(level, _QUIETEST_DB) - before
        share = _FALLS if step < 0 else _RISES * silent
        self._level = before + step * share

    def _before(self, level: float) -> float:
        return min(max(level, _QUIETEST_DB), _NOISIEST_START_DB) if self._level is None else self._level


class EchoBar:
    """Bounds the echo of what one call sends, tick by tick. Nothing is cancelled.

    For each delay it keeps how much at most can come back: an echo at that delay is never louder than what was heard
    at that time. A delay at which there is no echo is so ruled out by the first ticks in which we talk into a silent
    line, and the true one settles at the true loss.
    """

    def __init__(self) -> None:
        self._sent: deque[float] = deque([_FLOOR_DB] * (_DELAYS + 1), maxlen=_DELAYS + 1)
        self._returns = [_UNKNOWN_DB] * _DELAYS
        self._bars: deque[float] = deque([_FLOOR_DB], maxlen=_BAR_TICKS)

    def hear(self, sent: bytes, heard: bytes) -> None:
        """Take what was sent and what was heard in one tick."""
        self._sent.appendleft(level_of(sent))
        if not self.up:
            self._bars.append(_FLOOR_DB)
            return
        level = max(level_of(heard), _COARSE_DB)
        pairs = list(pairwise(self._sent))
        self._bars.append(max(max(pair) + part for pair, part in zip(pairs, self._returns, strict=True)) + _MARGIN_DB)
        self._returns = [
            max(part - _LEARN_DB, min(part + _FORGET_DB, level - min(pair), _UNKNOWN_DB))
            for pair, part in zip(pairs, self._returns, strict=True)
        ]

    @property
    def up(self) -> bool:
        """True while what we sent may come back."""
        return max(self._sent) > _SILENT_DB

    @property
    def level(self) -> float:
        """Return the level in dBFS that only the caller's own voice exceeds."""
        return max(self._bars)

    def doubt(self) -> None:
        """Learn again: what was taken for the caller may have been an echo, for it stopped when we did."""
        self._returns = [_UNKNOWN_DB] * _DELAYS


def level_of(mulaw: bytes) -> float:
    """Return the RMS level of mu-law audio in dB relative to full scale; -100 for digital silence."""
    if mulaw == _SILENCE:
        return _FLOOR_DB
    return 10 * log10(sum(map(_squares().__getitem__, mulaw)) / len(mulaw) + 1e-10)


@cache
def _squares() -> tuple[float, ...]:
    """Return the power of each mu-law code; full scale is 1."""
    return tuple((sample / 32768) ** 2 for sample in array("h", mulaw_to_linear(bytes(range(256)))))
