"""How much 64 stops at once gain over one after another, in one store.

Every stop is durable when it returns. One after another each pays a flush of the disk; at once they share it. Both
kinds alternate in one run, on the same store and disk, and the ratio of the rates counts.
"""

import asyncio
import statistics
import time

import uvloop

from benchmarks.machine import scratch
from benchmarks.stores import answered_calls, stop_order
from benchmarks.verdict import Verdict, finish
from onhook.store.sqlite import SqliteStore

AT_ONCE = 64
ROUNDS = 25
GATE = 3.0


def measure() -> Verdict:
    """Alternate both ways of stopping 64 calls."""
    with scratch() as directory:
        store = SqliteStore(directory / "onhook.db")
        alone, together = uvloop.run(_compare(store))
    ratio = alone / together
    return Verdict(
        "group_commit",
        f"{ratio:.1f} x the rate of one by one, {AT_ONCE} at once",
        f">= {GATE:g} x",
        GATE / ratio,
        (f"per stop: {alone / AT_ONCE * 1e6:.0f} us one by one, {together / AT_ONCE * 1e6:.0f} us at once",),
    )


async def _compare(store: SqliteStore) -> tuple[float, float]:
    """Return the median time of stopping 64 calls one by one, and at once, in s."""
    alone: list[float] = []
    together: list[float] = []
    await store.open()
    try:
        for _ in range(ROUNDS):
            orders = [stop_order(call_id) for call_id in await answered_calls(store, 2 * AT_ONCE)]
            began = time.perf_counter()
            for order in orders[:AT_ONCE]:
                await store.request_stop(order)
            alone.append(time.perf_counter() - began)
            began = time.perf_counter()
            await asyncio.gather(*(store.request_stop(order) for order in orders[AT_ONCE:]))
            together.append(time.perf_counter() - began)
    finally:
        await store.close()
    return statistics.median(alone), statistics.median(together)


if __name__ == "__main__":
    finish(measure)
