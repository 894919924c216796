"""Keys heard as tones (ITU-T Q.23, Q.24): for peers that do not send them as RFC 4733 events.

Every 11 ms the last 22 ms are compared with the eight tones, each also a little flat and sharp. A key is one tone of
each group, both where they belong, about as loud as each other, and with nearly all of the power: speech is spread
over its harmonics and seldom passes once, hardly ever twice in a row.
"""

import math

import numpy as np
import numpy.typing as npt

from onhook.lines.media.dtmf import COLUMNS, KEYPAD, ROWS
from onhook.lines.media.g711 import mulaw_to_linear

WINDOW, HOP = 180, 90
"""Samples that are looked at together, and from one look to the next."""

HITS = 2
"""Looks in a row that must agree; a tone of 40 ms has at least that many."""

MISSES = 2
"""Looks without the key that end it; a pause of 40 ms has at least that many."""

_DETUNING = np.arange(-6, 7) * 0.0075
"""Steps of the search, +-4.5 %: half-way to the next tone."""
_MAX_STEPS_OFF = 3
"""Up to 2.25 % off is the tone; Q.24 wants 1.5 % accepted and 3.5 % refused."""
_LEAST_SHARE = 0.8
"""Of the power, what both tones must have."""
_MAX_TWIST = 10**0.9
"""How much louder one tone may be: 9 dB."""
_LEAST_POWER = (32_768 * 10 ** (-38 / 20)) ** 2
"""-38 dBFS."""

_FLOATS = npt.NDArray[np.float32]
_LINEAR = np.frombuffer(mulaw_to_linear(bytes(range(256))), dtype=np.int16).astype(np.float32)


def _waves() -> _FLOATS:
    """Return cosine and sine of each tone in each detuning, one per row, such that a match squares to its power."""
    hertz = np.outer((*ROWS, *COLUMNS), 1 + _DETUNING).reshape(-1, 1)
    angles = 2 * np.pi * hertz * np.arange(WINDOW) / 8000
    waves = np.concatenate((np.cos(angles), np.sin(angles))) * math.sqrt(2) / WINDOW
    return waves.astype(np.float32)


_WAVES = _waves()

_COARSE_WAVES = np.ascontiguousarray(_WAVES.reshape(2, 8, -1, WINDOW)[:, :, 4:9:2]).reshape(-1, WINDOW)
"""The same for a first look: each tone as it is, 1.5 % flat and 1.5 % sharp."""
_LEAST_COARSE_SHARE = 0.6
"""Of the power, what the nearest of these have at least in a key that is as far off as may be."""

_QUIET = bytes(code for code in range(256) if _LINEAR[code] ** 2 < _LEAST_POWER)
"""The codes below the least power: where there are no others there is no key."""


class InbandDtmf:
    """Finds the keys in one leg's heard audio; each press is reported once, when it is over."""

    __slots__ = ("_hits", "_key", "_misses", "_samples")

    def __init__(self) -> None:
        self._samples = np.zeros(0, dtype=np.float32)
        self._key: str | None = None
        self._hits = 0
        self._misses = 0

    def receive(self, mulaw: bytes) -> list[tuple[str, int]]:
        """Take audio of any length; return the presses that are over now, as digit and duration in ms."""
        if self._key is None and len(mulaw.translate(None, _QUIET)) == 0:
            self.skip()
            return []
        self._samples = np.concatenate((self._samples, _LINEAR[np.frombuffer(mulaw, dtype=np.uint8)]))
        over: list[tuple[str, int]] = []
        while len(self._samples) >= WINDOW:
            over += self._look(find_key(self._samples[:WINDOW]))
            self._samples = self._samples[HOP:]
        return over

    def skip(self) -> None:
        """Leave a gap out: what is before and what is behind it are not looked at together."""
        self._samples = self._samples[:0]

    def _look(self, key: str | None) -> list[tuple[str, int]]:
        if key is not None and key == self._key:
            self._hits += 1
            self._misses = 0
            return []
        if key is None and self._key is not None and (misses := self._misses + 1) < MISSES:
            self._misses = misses
            return []
        over = [(self._key, (self._hits + 1) * HOP // 8)] if self._key is not None and self._hits >= HITS else []
        self._key, self._hits, self._misses = key, 1, 0
        return over


def find_key(window: _FLOATS) -> str | None:
    """Return the key whose tones these `WINDOW` linear samples are, or None."""
    power = float(np.dot(window, window)) / WINDOW
    if power < _LEAST_POWER or not _may_be_a_key(window, power):
        return None
    cosines, sines = (_WAVES @ window).reshape(2, 8, -1)
    powers = cosines**2 + sines**2
    row, column = int(powers[:4].max(axis=1).argmax()), int(powers[4:].max(axis=1).argmax())
    tones = powers[(row, 4 + column), :]
    low, high = tones.max(axis=1).tolist()
    in_tune = bool((abs(tones.argmax(axis=1) - len(_DETUNING) // 2) <= _MAX_STEPS_OFF).all())
    if not in_tune or low + high < _LEAST_SHARE * power or not 1 / _MAX_TWIST <= high / low <= _MAX_TWIST:
        return None
    return KEYPAD[4 * row + column]


def _may_be_a_key(window: _FLOATS, power: float) -> bool:
    """Say whether one tone of each group has so much of the power that a closer look is worth it; speech seldom has."""
    cosines, sines = (_COARSE_WAVES @ window).reshape(2, 2, -1)
    strongest = (cosines**2 + sines**2).max(axis=1)
    return float(strongest.sum()) >= _LEAST_COARSE_SHARE * power
