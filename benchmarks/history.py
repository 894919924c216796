"""The stop of a call in a database with a million ended calls, over the same with a thousand.

The history is written straight into the tables, in one transaction, with random ids as real calls have, a row and two
events per call. Then both stores are opened as the server opens them, get the same live calls, and one stop at a time
is timed on each in turn: the same disk, the same moments. The ratio of the medians counts.
"""

import asyncio
import os
import statistics
import time
from pathlib import Path

import apsw
import uvloop

from benchmarks.machine import scratch
from benchmarks.stores import answered_calls, encoded, now_ms, stop_order
from benchmarks.verdict import Verdict, finish
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Proof, Result
from onhook.store.sqlite import SqliteStore

FEW, MANY = 1_000, int(os.environ.get("HISTORY_CALLS", "1000000"))
STOPS = 400
GATE = 1.3

_IDS = """
CREATE TEMP TABLE history AS
WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :count)
SELECT n, 'call_' || substr(lower(hex(randomblob(14))), 1, 27) AS id FROM counted ORDER BY id
"""
_CALLS = """
INSERT INTO calls (id, environment_id, agent_id, trunk_id, dialect, direction, from_number, to_number, state,
    sip_call_id, created_at, updated_at, max_duration_ms, ring_timeout_ms, deadline_at, dialed_at, ringing_at,
    answered_at, ended_at, outcome, cause, stop, proof, details, last_seq)
SELECT id, 'default', 'agent_bench', 'trunk_bench', 'native', 'outbound', '+12025550100', '+12025550123', 'ended',
    substr(id, 6) || '@onhook', :start + n, :start + n + 60000, 3600000, 60000, :start + n + 3600000, :start + n,
    :start + n + 500, :start + n + 4000, :start + n + 60000, 'completed', :cause, NULL, :proof, '{}', 2
FROM history
"""
_EVENTS = """
INSERT INTO call_events (call_id, seq, at, type, data)
SELECT id, seq, :start + n, type, '{}' FROM history,
    (SELECT 1 AS seq, 'call.created' AS type UNION ALL SELECT 2, 'call.ended')
"""


def measure() -> Verdict:
    """Make both databases, stop calls in each in turn."""
    with scratch() as directory:
        began = time.monotonic()
        paths = [directory / "few.db", directory / "many.db"]
        for path, count in zip(paths, (FEW, MANY), strict=True):
            uvloop.run(_made(path))
            _write_history(path, count)
        os.sync()  # what the kernel still has to write would be in the way of the first stops
        made = time.monotonic() - began
        few, many = uvloop.run(_compare(paths))
    ratio = many / few
    return Verdict(
        "history",
        f"p50 {ratio:.2f} x with {MANY:,} calls over {FEW:,}",
        f"<= {GATE:g} x",
        ratio / GATE,
        (f"stop p50 {few:.0f} us and {many:.0f} us, {STOPS} each; history made in {made:.0f} s",),
    )


async def _made(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()


def _write_history(path: Path, count: int) -> None:
    start = now_ms() - 365 * 86_400_000
    values = {
        "count": count,
        "start": start,
        "cause": encoded(Cause("callee", Reason.HANGUP, q850=16)),
        "proof": encoded(Proof(Result.CONFIRMED, Method.FAR_END_BYE, confirmed_at=start)),
    }
    db = apsw.Connection(str(path))
    db.pragma("cache_size", -400_000)
    with db:
        for statement in (_IDS, _CALLS, _EVENTS):
            db.execute(statement, values)
    db.close()


async def _compare(paths: list[Path]) -> tuple[float, float]:
    """Return the median time of a stop in each store, in us."""
    stores = [SqliteStore(path) for path in paths]
    times: list[list[float]] = [[], []]
    for store in stores:
        await store.open()
    try:
        calls = [await answered_calls(store, STOPS) for store in stores]
        await asyncio.sleep(0.5)  # the checkpoints of the set-up are not what is measured
        for number in range(STOPS):
            for which in (0, 1) if number % 2 else (1, 0):
                order = stop_order(calls[which][number])
                began = time.perf_counter_ns()
                await stores[which].request_stop(order)
                times[which].append((time.perf_counter_ns() - began) / 1000)
    finally:
        for store in stores:
            await store.close()
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    finish(measure)
