"""A leg that is listened to: what it hears, on the clock of what it says."""

from onhook.lines.engine import Tick
from onhook.lines.media.inband import InbandDtmf
from onhook.lines.media.jitter import JitterBuffer
from onhook.lines.media.session import SILENCE, OnDtmf, OnTick

MAX_SKIPPED_TICKS = 250
"""Ticks that are reported after a stall, 5 s; a process that stood still for longer has lost the time."""


class Listening:
    """Makes the ticks of one leg, and finds keys in them while there are `tones` to look for; `report` hands all out.

    `held` is what the ticks say of the far end.
    """

    __slots__ = ("_on_dtmf", "_on_tick", "_ticks", "held", "jitter", "tones")

    def __init__(self, on_tick: OnTick, on_dtmf: OnDtmf) -> None:
        self.jitter = JitterBuffer()
        self.tones: InbandDtmf | None = None
        self.held = False
        self._on_tick = on_tick
        self._on_dtmf = on_dtmf
        self._ticks: list[Tick] = []

    def tick(self, sent: bytes) -> None:
        """Note what left in this tick, and take what is heard in it."""
        heard, arrived = self.jitter.pop()
        self._ticks.append(Tick(heard, sent, arrived, self.held))

    def skip(self, ticks: int) -> None:
        """Note ticks that have passed without a packet."""
        for _ in range(min(ticks, MAX_SKIPPED_TICKS)):
            self.tick(SILENCE)

    def report(self) -> None:
        """Hand out the ticks, and the keys that were heard in them."""
        ticks, self._ticks = self._ticks, []
        for tick in ticks:
            self._on_tick(tick)
            if self.tones is not None:
                self._seek(self.tones, tick)

    def _seek(self, tones: InbandDtmf, tick: Tick) -> None:
        if not tick.arrived and tick.heard != SILENCE:
            tones.skip()  # The cover of a loss is no sound of the far end, and would make two presses of one.
            return
        for digit, duration_ms in tones.receive(tick.heard):
            self._on_dtmf(digit, duration_ms)
