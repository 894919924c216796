"""From what speech synthesis gives, 16-bit samples at 24 kHz, to mu-law at 8 kHz, as a stream."""

import numpy as np
from numpy.typing import NDArray

from onhook.lines.media.g711 import linear_to_mulaw

RATIO = 3
_TAPS = 95
_EDGE_HZ = 3_600
"""Half-way down. The telephone band ends at 3.4 kHz; what is above 4 kHz would fold back."""


def _low_pass() -> NDArray[np.float64]:
    """Return a windowed-sinc low-pass (Blackman), gain 1 at 0 Hz."""
    time = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = np.sinc(2 * _EDGE_HZ / 24_000 * time) * np.blackman(_TAPS)
    result: NDArray[np.float64] = taps / taps.sum()
    return result


_FILTER = _low_pass()


class Downsampler:
    """Keeps, from one chunk to the next, what the filter still needs and the half of a sample."""

    def __init__(self) -> None:
        self._bytes = b""
        self._past = np.zeros(_TAPS - 1)

    def add(self, chunk: bytes) -> bytes:
        """Return the mu-law of what `chunk` (16-bit little-endian, mono, 24 kHz) completes."""
        data = self._bytes + chunk
        whole = len(data) - len(data) % 2
        self._bytes = data[whole:]
        signal = np.concatenate([self._past, np.frombuffer(data[:whole], "<i2")])
        count = max(0, len(signal) - _TAPS + 1)
        if count == 0:
            self._past = signal
            return b""
        outputs = -(-count // RATIO)
        self._past = signal[outputs * RATIO :]
        filtered = np.convolve(signal, _FILTER, "valid")[::RATIO]
        return linear_to_mulaw(np.clip(np.rint(filtered), -32_768, 32_767).astype(np.int16).tobytes())
