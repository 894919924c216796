"""How long things took, counted into buckets. Cheap enough for any path: one observation takes half a microsecond."""

from bisect import bisect_left
from collections.abc import Iterator

STOP_BOUNDS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""For the end of a call: from what loopback takes to 64*T1, after which SIP gives up."""

TALK_BOUNDS_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""For what people wait for in a conversation."""

TICK_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0)
"""For the clock of the media path, which ticks every 20 ms."""


class Histogram:
    """Counts per bucket, as Prometheus has them: a value belongs to the first bound that is not below it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; it has the unit of the bounds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Yield each bound, `+Inf` at last, and how many values were not above it."""
        count = 0
        for bound, here in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            count += here
            yield bound, count
