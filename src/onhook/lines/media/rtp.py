"""RTP packets (RFC 3550 section 5.1): packing and reading, and putting a stream back into order."""

from struct import Struct
from typing import Generic, TypeVar

import msgspec

HEADER = Struct("!BBHII")
"""Version and flags, marker and payload type, sequence number, timestamp, SSRC."""

VERSION = 0x80
MARKER = 0x80

_PADDING, _EXTENSION, _CSRC_COUNT = 0x20, 0x10, 0x0F

_T = TypeVar("_T")


class RtpPacket(msgspec.Struct, frozen=True, gc=False):
    """One packet as it came; `payload` is without CSRCs, header extension and padding."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def pack(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False) -> bytes:
    """Return a packet without CSRCs, extension or padding; the numbers must fit their fields."""
    return HEADER.pack(VERSION, payload_type | (MARKER if marker else 0), sequence, timestamp, ssrc) + payload


def parse(data: bytes) -> RtpPacket | None:
    """Read one datagram; None for anything that is not a whole RTP packet of version 2."""
    if len(data) < HEADER.size:
        return None
    flags, kind, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    if flags == VERSION:
        payload = data[HEADER.size :]
    elif flags >> 6 != 2 or (bare := _strip(data, flags)) is None:
        return None
    else:
        payload = bare
    return RtpPacket(kind & 0x7F, kind >= MARKER, sequence, timestamp, ssrc, payload)


def _strip(data: bytes, flags: int) -> bytes | None:
    """Return the payload of a packet that has CSRCs, an extension or padding; None when they do not fit."""
    start = HEADER.size + 4 * (flags & _CSRC_COUNT)
    end = len(data)
    if flags & _EXTENSION:
        words = int.from_bytes(data[start + 2 : start + 4], "big")
        start += 4 + 4 * words
    if flags & _PADDING:
        if data[-1] == 0:
            return None
        end -= data[-1]
    return data[start:end] if start <= end else None


class ReorderBuffer(Generic[_T]):
    """Puts packets of one SSRC back into the order of their sequence numbers.

    A packet that is ahead waits until the gap before it is filled, or until `WINDOW` packets wait: then the
    missing ones count as lost and are skipped. Packets that come twice or too late are dropped. A jump that
    no network makes is a restart of the sender (limits of RFC 3550 appendix A.1).
    """

    WINDOW = 3
    MAX_DROPOUT = 3000
    MAX_MISORDER = 100

    __slots__ = ("_expected", "_waiting")

    def __init__(self) -> None:
        self._expected: int | None = None
        self._waiting: dict[int, _T] = {}

    def push(self, sequence: int, item: _T) -> list[_T]:
        """Take a packet; return those, in order, whose turn has come."""
        if self._expected is None:
            self._expected = sequence
        ahead = (sequence - self._expected) & 0xFFFF
        if ahead == 0 and not self._waiting:
            self._expected = (sequence + 1) & 0xFFFF
            return [item]
        if ahead >= 0x10000 - self.MAX_MISORDER:
            return []
        if ahead > self.MAX_DROPOUT:
            self._waiting.clear()
            self._expected = (sequence + 1) & 0xFFFF
            return [item]
        self._waiting.setdefault(sequence, item)
        return self._release(self._expected)

    def reset(self) -> None:
        """Forget the stream: another SSRC begins."""
        self._expected = None
        self._waiting.clear()

    def _release(self, expected: int) -> list[_T]:
        if len(self._waiting) >= self.WINDOW:
            expected = min(self._waiting, key=lambda sequence: (sequence - expected) & 0xFFFF)
        ready: list[_T] = []
        while expected in self._waiting:
            ready.append(self._waiting.pop(expected))
            expected = (expected + 1) & 0xFFFF
        self._expected = expected
        return ready
