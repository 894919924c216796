"""The jitter buffer: packets come when they like, frames of 20 ms leave on the clock.

One figure rules it: the *wait* of a packet, how many frames the clock still has to play before it. A packet that waits
less than nothing came too late, so the clock is set back and all that follows waits longer; when for a while every
packet waited longer than needed, the clock is set forward by a frame. Delay, jitter and a far end whose clock runs
fast or slow are all met by that.
"""

from array import array
from functools import cache

from onhook.lines.media.g711 import linear_to_mulaw, mulaw_to_linear
from onhook.lines.media.session import FRAME_BYTES, SILENCE

START_WAIT = 2
"""Frames that the first packet waits."""

SPARE_WAIT = 1
"""Frames that a packet should wait at least; more, for `CALM_TICKS`, is a frame too many."""

MAX_WAIT = 8
"""Frames that a packet may wait; what a burst brings beyond is dropped, oldest first."""

CALM_TICKS = 150
"""How long, in ticks of 20 ms, the waits are watched before a frame is left out."""

JUMP_FRAMES = 50
"""A step of the timestamps that no network makes: the far end has set its clock anew."""

MAX_CONCEALED = 3
"""Frames that a loss is covered for; then silence."""

_SEEN_PACKETS = 64
_MAX_MISORDER = 100
_MAX_DROPOUT = 3000
_GAINS = (0.7, 0.4, 0.2)
_QUIET_CODE = 0x5A
"""Codes of mu-law, without the sign, are the higher the quieter; from this one on, below -43 dBFS."""


class Sequence:
    """Which packets of one stream came, by their 16-bit sequence numbers (limits of RFC 3550 appendix A.1)."""

    __slots__ = ("_newest", "_seen")

    def __init__(self, first: int) -> None:
        self._newest = first
        self._seen = 1

    def take(self, number: int) -> int | None:
        """Note a packet; return how far it is ahead of all others (negative: behind), or None for a repeated one.

        A step that no network makes returns 0: the sender has begun anew.
        """
        ahead = (number - self._newest) & 0xFFFF
        if 0 < ahead <= _MAX_DROPOUT:
            self._seen = (self._seen << ahead | 1) & (1 << _SEEN_PACKETS) - 1 if ahead < _SEEN_PACKETS else 1
            self._newest = number
            return ahead
        behind = -ahead & 0xFFFF
        if behind > _MAX_MISORDER:
            self._newest, self._seen = number, 1
            return 0
        if behind >= _SEEN_PACKETS or self._seen >> behind & 1:
            return None
        self._seen |= 1 << behind
        return -behind

    def has(self, number: int) -> bool:
        """Return True when this packet, a recent one, came."""
        behind = (self._newest - number) & 0xFFFF
        return behind < _SEEN_PACKETS and bool(self._seen >> behind & 1)


class JitterBuffer:
    """One leg's heard audio between the network and the clock. `push` what comes, `pop` once per tick."""

    __slots__ = (
        "_calm_ticks",
        "_concealed",
        "_frames",
        "_last",
        "_least_wait",
        "_now",
        "_played",
        "_position",
        "_sequence",
        "_shrinks",
        "_ssrc",
        "_timestamp",
    )

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._sequence = Sequence(0)
        self._timestamp = 0
        self._position = 0
        self._now = 0
        self._played = 0
        self._frames: dict[int, tuple[int, bytes | bytearray]] = {}
        self._last = SILENCE
        self._concealed = MAX_CONCEALED
        self._least_wait: int | None = None
        self._calm_ticks = 0
        self._shrinks = False

    def push(self, ssrc: int, sequence: int, timestamp: int, mulaw: bytes) -> None:
        """Take a packet as it came, of any packet time; one that is no audio (a key) without its payload."""
        if ssrc != self._ssrc:
            self._ssrc, self._sequence = ssrc, Sequence(sequence)
            step: int | None = 0
        else:
            step = self._sequence.take(sequence)
        if step is None or not mulaw:
            return
        wait = self._locate(timestamp)
        if step == 0 or abs(wait) > JUMP_FRAMES:
            self._begin_anew()
        elif step > 0:
            self._adapt(wait)
        elif wait < 0 and max(self._frames, default=self._now) - self._now < MAX_WAIT:
            self._set_clock(self._now - 1)
        self._store(sequence, mulaw)

    def pop(self) -> tuple[bytes, bool]:
        """Return the 160-byte frame of this tick, and True if it came; else it covers a loss, or is silence."""
        if self._ssrc is None:
            return SILENCE, False
        self._watch()
        found = self._frames.pop(self._now, None)
        if self._shrinks and (found is None or _is_quiet(found[1])):
            self._shrinks = False
            self._now += 1
            found = self._frames.pop(self._now, found)
        self._now += 1
        if found is None:
            return self._conceal(), False
        self._concealed = 0
        self._played = self._now
        self._last = bytes(found[1])
        return self._last, True

    def _locate(self, timestamp: int) -> int:
        """Set the position, in samples, by the 32-bit timestamp of a packet; return how many frames it has to wait."""
        step = (timestamp - self._timestamp) & 0xFFFFFFFF
        self._position += step - (step >> 31 << 32)
        self._timestamp = timestamp
        return self._position // FRAME_BYTES - self._now

    def _begin_anew(self) -> None:
        """Let the packet that was just located be the first."""
        self._frames.clear()
        self._position = (self._now + START_WAIT) * FRAME_BYTES
        self._played = self._now
        self._set_clock(self._now)

    def _adapt(self, wait: int) -> None:
        """Set the clock by a packet that is ahead of all others."""
        if wait < 0:
            self._set_clock(self._now + wait - SPARE_WAIT)
        elif wait > MAX_WAIT:
            self._set_clock(self._now + wait - MAX_WAIT)
        elif self._least_wait is None or wait < self._least_wait:
            self._least_wait = wait

    def _set_clock(self, now: int) -> None:
        """Play this frame next, drop what is older, and begin to watch."""
        self._now = now
        self._frames = {index: frame for index, frame in self._frames.items() if index >= now}
        self._least_wait = None
        self._calm_ticks = 0
        self._shrinks = False

    def _watch(self) -> None:
        """Have a frame left out when all packets waited too long: a quiet one, or any when none comes in time."""
        self._calm_ticks += 1
        if self._calm_ticks < CALM_TICKS:
            return
        if self._shrinks:
            self._set_clock(self._now + 1)
        else:
            self._shrinks = self._least_wait is not None and self._least_wait > SPARE_WAIT
            self._least_wait, self._calm_ticks = None, 0

    def _store(self, sequence: int, mulaw: bytes) -> None:
        index, offset = divmod(self._position, FRAME_BYTES)
        if not offset and len(mulaw) == FRAME_BYTES:
            if index >= self._now:
                self._frames[index] = sequence, mulaw
            return
        taken = 0
        while taken < len(mulaw):
            piece = mulaw[taken : taken + FRAME_BYTES - offset]
            if index >= self._now:
                _, frame = self._frames.get(index, (0, b""))
                if not isinstance(frame, bytearray):
                    frame = bytearray(frame or SILENCE)
                frame[offset : offset + len(piece)] = piece
                self._frames[index] = sequence, frame
            taken += len(piece)
            index, offset = index + 1, 0

    def _conceal(self) -> bytes:
        """Repeat what was heard last, ever fainter, unless the far end has paused."""
        if self._concealed >= MAX_CONCEALED or self._has_paused():
            self._concealed = MAX_CONCEALED
            return SILENCE
        fainter = self._last.translate(_fainter()[self._concealed])
        self._concealed += 1
        return fainter

    def _has_paused(self) -> bool:
        """Return True when no packet is missing before the next, and the clock was not set back behind the last."""
        if not self._frames or self._now <= self._played:
            return False
        sequence, _ = self._frames[min(self._frames)]
        return self._sequence.has((sequence - 1) & 0xFFFF)


@cache
def _fainter() -> tuple[bytes, ...]:
    """Return a table per frame of a loss that makes mu-law fainter."""
    linear = array("h", mulaw_to_linear(bytes(range(256))))
    return tuple(linear_to_mulaw(array("h", (int(s * gain) for s in linear)).tobytes()) for gain in _GAINS)


def _is_quiet(mulaw: bytes | bytearray) -> bool:
    return min(mulaw.translate(_WITHOUT_SIGN)) >= _QUIET_CODE


_WITHOUT_SIGN = bytes(code & 0x7F for code in range(256))
