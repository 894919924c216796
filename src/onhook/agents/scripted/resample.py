"""Sample rates, for whole utterances. Needs numpy, so it is imported only where audio is made or recognised."""

import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

_TAPER = 0.85
"""From this share of the band on, the low-pass falls to nothing: a sharper edge would ring."""
_PAD_S = 0.02


def resample(samples: Samples, source: int, target: int) -> Samples:
    """Return `samples` (at `source` Hz) at `target` Hz, low-pass filtered against aliases.

    Works on the spectrum of the whole signal, which is exact for any ratio of rates and needs no filter design.
    """
    step = source // math.gcd(source, target)
    padded = len(samples) + int(_PAD_S * source)
    padded += -padded % step
    length = padded * target // source
    spectrum = np.fft.rfft(samples, padded)
    kept = min(padded, length) // 2 + 1
    edge = int(kept * _TAPER)
    spectrum = spectrum[:kept]
    spectrum[edge:] *= np.cos(np.linspace(0, np.pi / 2, kept - edge)) ** 2
    result: Samples = np.fft.irfft(spectrum, length) * (target / source)
    return result[: math.ceil(len(samples) * target / source)]
