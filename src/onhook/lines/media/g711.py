"""G.711 (ITU-T G.711): mu-law and A-law, both ways, by tables.

Linear samples are 16-bit signed in the machine's byte order. `MULAW_TO_ALAW` and `ALAW_TO_MULAW` are tables
for `bytes.translate`.
"""

from array import array
from functools import cache

_MULAW_BIAS = 132
_MULAW_CLIP = 32_635


def _decode_mulaw(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + _MULAW_BIAS << ((code >> 4) & 0x07)) - _MULAW_BIAS
    return -magnitude if code & 0x80 else magnitude


def _encode_mulaw(sample: int) -> int:
    biased = min(abs(sample), _MULAW_CLIP) + _MULAW_BIAS
    exponent = biased.bit_length() - 8
    code = (0x80 if sample < 0 else 0) | exponent << 4 | (biased >> (exponent + 3)) & 0x0F
    return ~code & 0xFF


def _decode_alaw(code: int) -> int:
    code ^= 0x55
    exponent, mantissa = (code >> 4) & 0x07, code & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 0x108) << (exponent - 1)
    return magnitude if code & 0x80 else -magnitude


def _encode_alaw(sample: int) -> int:
    magnitude = sample if sample >= 0 else ~sample
    exponent = max(0, magnitude.bit_length() - 8)
    mantissa = (magnitude >> (exponent + 3 if exponent else 4)) & 0x0F
    return (exponent << 4 | mantissa) ^ (0xD5 if sample >= 0 else 0x55)


_FROM_MULAW = [_decode_mulaw(code) for code in range(256)]
_FROM_ALAW = [_decode_alaw(code) for code in range(256)]

MULAW_TO_ALAW = bytes(_encode_alaw(sample) for sample in _FROM_MULAW)
ALAW_TO_MULAW = bytes(_encode_mulaw(sample) for sample in _FROM_ALAW)


@cache
def _to_mulaw() -> bytes:
    """Return the code of each sample, indexed by the sample's low 16 bits; made at first use (20 ms)."""
    return bytes(_encode_mulaw(index - 0x10000 if index & 0x8000 else index) for index in range(0x10000))


@cache
def _to_alaw() -> bytes:
    return bytes(_encode_alaw(index - 0x10000 if index & 0x8000 else index) for index in range(0x10000))


def linear_to_mulaw(pcm: bytes) -> bytes:
    """Encode 16-bit samples. Raises `ValueError` for an odd number of bytes."""
    return bytes(map(_to_mulaw().__getitem__, array("H", pcm)))


def linear_to_alaw(pcm: bytes) -> bytes:
    """Encode 16-bit samples. Raises `ValueError` for an odd number of bytes."""
    return bytes(map(_to_alaw().__getitem__, array("H", pcm)))


def mulaw_to_linear(mulaw: bytes) -> bytes:
    """Decode to 16-bit samples."""
    return array("h", map(_FROM_MULAW.__getitem__, mulaw)).tobytes()


def alaw_to_linear(alaw: bytes) -> bytes:
    """Decode to 16-bit samples."""
    return array("h", map(_FROM_ALAW.__getitem__, alaw)).tobytes()
