"""The beep of an answering machine: one steady tone that ends in silence. Needs numpy, so it is imported late."""

from collections import deque
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from onhook.lines.media.g711 import mulaw_to_linear

_RATE = 8000
_TICK_MS = 20
_SPAN_TICKS = 4
"""What is looked at together: 80 ms tell the two tones of a ringback (440 and 480 Hz) apart."""
_SPAN = _SPAN_TICKS * _TICK_MS * _RATE // 1000
_LOBE = 2
"""Bins to each side of the peak that a pure tone fills, under a Hann window."""

_LOWEST_HZ = 300.0
_HIGHEST_HZ = 2500.0
_PURITY = 0.85
"""The share of the power that a tone has in its lobe."""
_DRIFT_HZ = 8.0
_DRIFT_DB = 3.0
_AUDIBLE_DB = -45.0
_DROP_DB = 9.0
"""How far the level falls where a tone ends in silence."""

_SHORTEST_MS = 120
_LONGEST_MS = 2000
"""Anything longer is a fax machine."""
_LOW_HZ = 500.0
_LOW_LONGEST_MS = 900
"""The longest below `_LOW_HZ`, where exchanges have their tones."""
_SEEN_MS = 60
"""How long a tone has lasted when it is first seen as pure."""
_FRAYED_TICKS = 2
"""Ticks in a row in which a tone may be disturbed, or fade."""

_Floats = npt.NDArray[np.float64]


class _Tone(NamedTuple):
    hertz: float
    level: float


class BeepDetector:
    """Listens to one call."""

    def __init__(self) -> None:
        self._span: deque[_Floats] = deque([np.zeros(_SPAN // _SPAN_TICKS)] * _SPAN_TICKS, maxlen=_SPAN_TICKS)
        self._tone: _Tone | None = None
        self._lasted_ms = 0
        self._frayed = 0
        self._chained = False

    def hear(self, mulaw: bytes) -> bool:
        """Take 20 ms; return True when a beep ended in it."""
        frame = _linear()[np.frombuffer(mulaw, np.uint8)]
        self._span.append(frame)
        level = _decibels(float(np.mean(frame**2)))
        if self._tone is not None and level < self._tone.level - _DROP_DB:
            return self._end(self._tone)
        if self._tone is None and level < _AUDIBLE_DB:
            self._chained = False
            return False
        self._follow(_pure_tone(np.concatenate(self._span), level))
        return False

    def _follow(self, tone: _Tone | None) -> None:
        """Take what the last 80 ms were: the tone as before, another one, or none."""
        if self._tone is None:
            self._begin(tone)
        elif tone is not None and _alike(tone, self._tone):
            self._lasted_ms += _TICK_MS * (1 + self._frayed)
            self._frayed = 0
        else:
            self._frayed += 1
            if self._frayed > _FRAYED_TICKS:
                self._begin(tone)

    def _begin(self, tone: _Tone | None) -> None:
        """Leave a tone without a silence between: what follows belongs to a melody or a signal of several tones."""
        self._chained = self._chained or (self._tone is not None and self._lasted_ms >= _SHORTEST_MS)
        self._tone, self._lasted_ms, self._frayed = tone, _SEEN_MS, 0

    def _end(self, tone: _Tone) -> bool:
        longest_ms = _LOW_LONGEST_MS if tone.hertz < _LOW_HZ else _LONGEST_MS
        beep = not self._chained and _SHORTEST_MS <= self._lasted_ms <= longest_ms
        self._tone, self._lasted_ms, self._chained = None, 0, False
        return beep


def _alike(one: _Tone, other: _Tone) -> bool:
    return abs(one.hertz - other.hertz) < _DRIFT_HZ and abs(one.level - other.level) < _DRIFT_DB


def _pure_tone(samples: _Floats, level: float) -> _Tone | None:
    """Return the tone that the samples are, or None."""
    power = np.abs(np.fft.rfft(samples * _hann())) ** 2
    peak = int(np.argmax(power))
    hertz = _between_bins(power, peak) * _RATE / _SPAN
    if not _LOWEST_HZ <= hertz <= _HIGHEST_HZ:
        return None
    lobe = float(power[peak - _LOBE : peak + _LOBE + 1].sum())
    return _Tone(hertz, level) if lobe > _PURITY * float(power.sum()) else None


def _between_bins(power: _Floats, peak: int) -> float:
    """Return where the peak really is, by a parabola through its neighbours' levels."""
    if not 0 < peak < len(power) - 1:
        return float(peak)
    left, middle, right = (_decibels(float(value)) for value in power[peak - 1 : peak + 2])
    curve = left - 2 * middle + right
    return peak + (0.5 * (left - right) / curve if curve else 0.0)


def _decibels(power: float) -> float:
    return 10 * float(np.log10(power + 1e-12))


@cache
def _hann() -> _Floats:
    return np.asarray(np.hanning(_SPAN), np.float64)


@cache
def _linear() -> _Floats:
    """Return the sample of each mu-law code; full scale is 1."""
    codes = np.frombuffer(mulaw_to_linear(bytes(range(256))), np.int16)
    return np.asarray(codes / 32768, np.float64)
