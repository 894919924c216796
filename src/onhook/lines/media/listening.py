"""A leg that is listened to: what it hears, on the clock of what it says."""

from onhook.lines.engine import Tick
from onhook.lines.media.jitter import JitterBuffer
from onhook.lines.media.session import SILENCE, OnTick

MAX_SKIPPED_TICKS = 250
"""Ticks that are reported after a stall, 5 s; a process that stood still for longer has lost the time."""


class Listening:
    """Makes the ticks of one leg; they are handed out by `report`."""

    __slots__ = ("_on_tick", "_ticks", "held", "jitter")

    def __init__(self, on_tick: OnTick, *, held: bool) -> None:
        self.jitter = JitterBuffer()
        self.held = held
        self._on_tick = on_tick
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
        """Hand out the ticks."""
        ticks, self._ticks = self._ticks, []
        for tick in ticks:
            self._on_tick(tick)
