"""A clock that stands still until told to move."""

import heapq
import itertools
from collections.abc import Callable


class ManualTimer:
    """A callback waiting on a `ManualClock`."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the callback."""
        self.callback = None


class ManualClock:
    """A `Clock` whose time moves only by `advance`; timers run in order of their moment."""

    def __init__(self, start_ms: int = 1_800_000_000_000) -> None:
        self._start_ms = start_ms
        self._elapsed = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, ManualTimer]] = []

    def now_ms(self) -> int:
        """Return the wall time in ms since the epoch."""
        return self._start_ms + round(self._elapsed * 1000)

    def monotonic(self) -> float:
        """Return the seconds that `advance` has passed so far."""
        return self._elapsed

    def call_later(self, delay: float, callback: Callable[[], None]) -> ManualTimer:
        """Run `callback` when `advance` reaches `delay` seconds from now."""
        timer = ManualTimer(callback)
        heapq.heappush(self._timers, (self._elapsed + max(0.0, delay), next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Move time forward, running each timer at its own moment, those it sets included."""
        end = self._elapsed + seconds
        while self._timers and self._timers[0][0] <= end + 1e-9:
            moment, _, timer = heapq.heappop(self._timers)
            self._elapsed = max(self._elapsed, moment)
            if timer.callback is not None:
                timer.callback()
        self._elapsed = end

    @property
    def pending(self) -> int:
        """How many timers still wait."""
        return sum(1 for _, _, timer in self._timers if timer.callback is not None)
