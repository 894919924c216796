"""Keys on the phone: RFC 4733 events in and out, and their tones for peers without events."""

import math
from array import array
from functools import cache
from struct import Struct

from onhook.lines.media.g711 import linear_to_mulaw
from onhook.lines.media.session import FRAME_BYTES

DIGITS = "0123456789*#ABCD"
"""Digits by their event code (RFC 4733 section 3.2)."""

EVENT = Struct("!BBH")
"""Event code; end bit, reserved bit and volume; duration in timestamp units."""

END = 0x80
VOLUME = 10
"""Power of the tone as -dBm0, the usual value."""

UPDATES = 8
"""Packets of one key press of 160 ms, one each 20 ms."""

END_PACKETS = 3
"""How often the final state is sent, for two of three may get lost (RFC 4733 section 2.5.1.4)."""

PAUSE_FRAMES = 2
"""Silence after a key, on top of the 40 ms in which the end is repeated."""

ROWS = (697, 770, 852, 941)
COLUMNS = (1209, 1336, 1477, 1633)
KEYPAD = "123A456B789C*0#D"
_AMPLITUDE = 6_000
_SAMPLES_PER_MS = 8


def check_digits(digits: str) -> str:
    """Return the digits in capitals. Raises `ValueError` when there is no such key."""
    digits = digits.upper()
    unknown = sorted(set(digits) - set(DIGITS))
    if unknown:
        raise ValueError(f"no such DTMF key: {''.join(unknown)!r}; known are {DIGITS}")
    return digits


@cache
def event_payloads(digit: str) -> tuple[bytes, ...]:
    """Return the payloads of one key press, one per 20 ms: the duration grows, the last state comes three times."""
    code = DIGITS.index(digit)
    growing = [EVENT.pack(code, VOLUME, FRAME_BYTES * count) for count in range(1, UPDATES)]
    final = EVENT.pack(code, VOLUME | END, FRAME_BYTES * UPDATES)
    return (*growing, *[final] * END_PACKETS)


@cache
def tone_frames(digit: str) -> tuple[bytes, ...]:
    """Return the key as mu-law frames of its two tones (ITU-T Q.23)."""
    row, column = divmod(KEYPAD.index(digit), 4)
    steps = [2 * math.pi * frequency / 8000 for frequency in (ROWS[row], COLUMNS[column])]
    samples = (
        round(_AMPLITUDE * sum(math.sin(step * index) for step in steps)) for index in range(FRAME_BYTES * UPDATES)
    )
    mulaw = linear_to_mulaw(array("h", samples).tobytes())
    return tuple(mulaw[start : start + FRAME_BYTES] for start in range(0, len(mulaw), FRAME_BYTES))


class DtmfReceiver:
    """Turns the events of one stream into key presses; each press is reported once."""

    def __init__(self) -> None:
        self._timestamp: int | None = None
        self._digit = ""
        self._duration = 0
        self._ended = True

    def receive(self, payload: bytes, timestamp: int) -> list[tuple[str, int]]:
        """Take one event payload; return the presses that are over now, as digit and duration in ms.

        A press is over with its first end packet, or with the next press when all three were lost. Codes
        that are no keys, and broken payloads, are ignored.
        """
        if len(payload) < EVENT.size:
            return []
        code, flags, duration = EVENT.unpack_from(payload)
        if code >= len(DIGITS):
            return []
        over: list[tuple[str, int]] = []
        if timestamp != self._timestamp:
            over += self._finish()
            self._timestamp, self._digit, self._ended = timestamp, DIGITS[code], False
        self._duration = duration
        if flags & END:
            over += self._finish()
        return over

    def _finish(self) -> list[tuple[str, int]]:
        if self._ended:
            return []
        self._ended = True
        return [(self._digit, self._duration // _SAMPLES_PER_MS)]
