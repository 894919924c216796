"""A leg that is listened to: what it hears, on the clock of what it says."""

from typing import TYPE_CHECKING

from onhook.lines.engine import Tick
from onhook.lines.media.jitter import JitterBuffer
from onhook.lines.media.session import SILENCE, OnDtmf, OnTick

if TYPE_CHECKING:
    from onhook.lines.media.inband import InbandDtmf

MAX_SKIPPED_TICKS = 250
"""Ticks that are reported after a stall, 5 s; a process that stood still for longer has lost the time."""


class Listening:
    """Makes the ticks of one leg, and finds keys in them; `report` hands all out."""

    __slots__ = ("_has_events", "_held", "_on_dtmf", "_on_tick", "_ticks", "_tones", "jitter")

    def __init__(self, on_tick: OnTick, on_dtmf: OnDtmf) -> None:
        self.jitter = JitterBuffer()
        self._tones: InbandDtmf | None = None
        self._has_events = False
        self._held = False
        self._on_tick = on_tick
        self._on_dtmf = on_dtmf
        self._ticks: list[Tick] = []

    def expect(self, *, held: bool, tones: bool) -> None:
        """Take what the far end has said of itself: that it sends us no audio, and that its keys are tones."""
        self._held = held
        if not tones or self._has_events:
            self._tones = None
        elif self._tones is None:
            self._tones = _new_detector()

    def has_events(self) -> None:
        """Take a sign of RFC 4733: whoever sends events needs no tones, whatever its SDP says."""
        self._has_events = True
        self._tones = None

    def tick(self, sent: bytes) -> None:
        """Note what left in this tick, and take what is heard in it."""
        heard, arrived = self.jitter.pop()
        self._ticks.append(Tick(heard, sent, arrived, self._held))

    def skip(self, ticks: int) -> None:
        """Note ticks that have passed without a packet."""
        for _ in range(min(ticks, MAX_SKIPPED_TICKS)):
            self.tick(SILENCE)

    def report(self) -> None:
        """Hand out the ticks, and the keys that were heard in them."""
        ticks, self._ticks = self._ticks, []
        for tick in ticks:
            self._on_tick(tick)
            if self._tones is not None:
                self._seek(self._tones, tick)

    def _seek(self, tones: "InbandDtmf", tick: Tick) -> None:
        if not tick.arrived and tick.heard != SILENCE:
            tones.skip()  # The cover of a loss is no sound of the far end, and would make two presses of one.
            return
        for digit, duration_ms in tones.receive(tick.heard):
            self._on_dtmf(digit, duration_ms)


def _new_detector() -> "InbandDtmf":
    from onhook.lines.media.inband import InbandDtmf  # noqa: PLC0415 (numpy takes a tenth of a second to import)

    return InbandDtmf()
