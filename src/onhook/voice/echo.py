"""How loud what comes back of our own voice can be. Needs numpy, so it is imported late."""

from collections import deque
from math import log10

import numpy as np
import numpy.typing as npt

from onhook.lines.media.g711 import mulaw_to_linear

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

_SQUARES = (np.frombuffer(mulaw_to_linear(bytes(range(256))), np.int16) / 32768) ** 2
"""The power of each mu-law code; full scale is 1."""

_Levels = npt.NDArray[np.float64]


class EchoBar:
    """Bounds the echo of what one call sends, tick by tick. Nothing is cancelled.

    For each delay it keeps how much at most can come back: an echo at that delay is never louder than what was heard
    at that time. A delay at which there is no echo is so ruled out by the first ticks in which we talk into a silent
    line, and the true one settles at the true loss.
    """

    def __init__(self) -> None:
        self._sent = np.full(_DELAYS + 1, _FLOOR_DB)
        self._returns = _unknown()
        self._bars: deque[float] = deque([_FLOOR_DB], maxlen=_BAR_TICKS)
        self._silent_for = _DELAYS + 1

    def hear(self, sent: bytes, heard: bytes) -> None:
        """Take what was sent and what was heard in one tick."""
        level = level_of(sent)
        self._silent_for = self._silent_for + 1 if level <= _SILENT_DB else 0
        self._sent[1:] = self._sent[:-1]
        self._sent[0] = level
        self._bars.append(self._learn(level_of(heard)) if self.up else _FLOOR_DB)

    @property
    def up(self) -> bool:
        """True while what we sent may come back."""
        return self._silent_for <= _DELAYS

    @property
    def level(self) -> float:
        """Return the level in dBFS that only the caller's own voice exceeds."""
        return max(self._bars)

    def doubt(self) -> None:
        """Learn again: what was taken for the caller may have been an echo, for it stopped when we did."""
        self._returns = _unknown()

    def _learn(self, heard_db: float) -> float:
        """Return how loud an echo can be now, and take the bounds down to what was heard."""
        now, before = self._sent[:-1], self._sent[1:]
        bar = float((np.maximum(now, before) + self._returns).max()) + _MARGIN_DB
        most = np.minimum(self._returns + _FORGET_DB, max(heard_db, _COARSE_DB) - np.minimum(now, before))
        self._returns = np.maximum(self._returns - _LEARN_DB, np.minimum(most, _UNKNOWN_DB))
        return bar


def level_of(mulaw: bytes) -> float:
    """Return the RMS level of mu-law audio in dB relative to full scale; -100 for digital silence."""
    if mulaw == _SILENCE:
        return _FLOOR_DB
    power = float(_SQUARES[np.frombuffer(mulaw, np.uint8)].sum()) / len(mulaw)
    return 10 * log10(power + 1e-10)


def _unknown() -> _Levels:
    return np.full(_DELAYS, _UNKNOWN_DB)
