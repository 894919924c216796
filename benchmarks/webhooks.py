"""What webhooks add: the time from an event's commit to its arrival, the CPU of a delivery, and what a crash loses.

The events are real ones (calls created in a SQLite store, fsynced on a real disk), the bodies are our own dialect's,
signed; the receiver is a process of its own. The store and the courier run in this process as they do in the node, in
one loop with the producer.

- Latency at 50 events a second, from the moment at which the commit was acknowledged; then once more with a second
  endpoint that never answers, in turns.
- CPU of this process for deliveries that were queued before it was started, per delivery, over that of a bare POST by
  the same HTTP client in the same run: CPU time is no constant on a machine whose cores are shared. The gate is
  400 us where a bare POST takes 56 us.
- A producer with its courier, killed three times at 100 events a second: what was committed and never arrived.
"""

import asyncio
import base64
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import uvloop

from benchmarks.child import Child, child
from benchmarks.machine import scratch
from benchmarks.stores import new_call, now_ms
from benchmarks.verdict import Verdict, finish
from benchmarks.webhook_receiver import Arrival
from onhook.api.native.payloads import wants
from onhook.api.renderers import renderers
from onhook.calls.call import Dialect
from onhook.clock import SystemClock
from onhook.store.outbox import WebhookEndpoint
from onhook.store.secrets import SecretBox
from onhook.store.sqlite import SqliteStore
from onhook.webhooks.courier import Courier, Limits
from onhook.webhooks.guard import Guard
from onhook.webhooks.http_transport import HttpTransport
from onhook.webhooks.requests import RequestMaker
from onhook.webhooks.retries import NATIVE_RETRIES
from onhook.webhooks.signatures import new_webhook_secret
from onhook.webhooks.transport import Request

RATE = 50
EVENTS = 200
TURNS = 2
BURST = 2000
KILLS = 3
KILL_RATE = 100
LIFE_S = 1.0
GATE_P50_MS = 10.0
GATE_P99_MS = 50.0
GATE_CPU = 7.1
"""400 us over the 56 us of a bare POST."""
GATE_HANGING = 2.0
BOX = SecretBox(base64.urlsafe_b64encode(bytes(32)))
"""All zeros: it guards nothing here, and reading a secret costs the same."""
ALL_ARRIVED_S = 30.0
POLL_S = 0.1
POSTED = b'{"call_id":"none","seq":0,"padding":"' + b"x" * 1200 + b'"}'
"""As long as the body of an event."""


class Latencies(msgspec.Struct):
    """Milliseconds from the commit to the arrival, with every endpoint well and with one that hangs."""

    well: list[float]
    hanging: list[float]


def measure() -> Verdict:
    """Measure all three."""
    with scratch() as directory, child("webhook_receiver") as receiver:
        port = receiver.hear(int)
        latencies = uvloop.run(_latencies(directory, receiver, port))
        cpu_us, post_us = uvloop.run(_cpu_us(directory, port)), uvloop.run(_post_us(port))
        committed, lost, twice = _killed(directory / "killed", receiver, port)
    p50, p99, beside = statistics.median(latencies.well), _p99(latencies.well), _p99(latencies.hanging)
    shares = (p50 / GATE_P50_MS, p99 / GATE_P99_MS, cpu_us / post_us / GATE_CPU, beside / p99 / GATE_HANGING)
    return Verdict(
        "webhooks",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {cpu_us / post_us:.1f} x a POST's CPU, {lost} lost",
        f"<= {GATE_P50_MS:g} ms, {GATE_P99_MS:g} ms, {GATE_CPU:g} x, 0",
        max(*shares, 2.0 if lost else 0.0),
        (
            f"latency at {RATE} events a second; CPU of a delivery {cpu_us:.0f} us, of a bare POST {post_us:.0f} us",
            f"p99 beside an endpoint that hangs {beside:.1f} ms, {beside / p99:.2f} x (gate {GATE_HANGING:g} x)",
            f"kill -9, {KILLS} times: {committed} committed, {lost} lost, {twice} came twice",
        ),
    )


@contextlib.asynccontextmanager
async def delivering(store: SqliteStore) -> AsyncIterator[None]:
    """Run a courier on an open store, which is closed at the end."""
    clock = SystemClock()
    async with HttpTransport(Guard(allow_private=True)) as transport:
        requests = RequestMaker(store, BOX.decrypt, clock, "X-TalkOver-Signature")
        courier = Courier(store, transport, requests, renderers(), clock)
        await courier.start()
        try:
            yield
        finally:
            await courier.close()
            await store.close()


def endpoint(name: str, port: int) -> WebhookEndpoint:
    """Return an endpoint of the receiver, which wants everything. `hanging` never answers."""
    return WebhookEndpoint(
        id=name,
        environment_id="default",
        dialect=Dialect.NATIVE,
        name=name,
        url=f"http://127.0.0.1:{port}/{name}",
        created_at=now_ms(),
        updated_at=now_ms(),
        wants=wants(),
        secret=BOX.encrypt(new_webhook_secret()),
        max_retries=NATIVE_RETRIES,
    )


async def through(store: SqliteStore) -> None:
    """Wait until nothing waits to be delivered."""
    for _ in range(round(ALL_ARRIVED_S / POLL_S)):
        backlog = await store.backlog()
        if not backlog.due + backlog.inflight:
            return
        await asyncio.sleep(POLL_S)
    raise TimeoutError("not everything was delivered")


async def _latencies(directory: Path, receiver: Child, port: int) -> Latencies:
    store = SqliteStore(directory / "latency.db")
    await store.open()
    hanging, found = endpoint("hanging", port), Latencies([], [])
    await store.put(endpoint("well", port))
    async with delivering(store):
        for _ in range(TURNS):
            found.well += await _paced(store, receiver)
            await store.put(hanging)
            found.hanging += await _paced(store, receiver)
            await store.delete(WebhookEndpoint, hanging.id, None)
    return found


async def _paced(store: SqliteStore, receiver: Child) -> list[float]:
    """Make events at the rate; return how long each took from its commit to its arrival, in ms."""
    committed: dict[str, int] = {}
    for _ in range(EVENTS):
        call = new_call()
        await store.create_call(call)
        committed[f"{call.id} 1"] = time.time_ns()
        await asyncio.sleep(1 / RATE)
    deadline = time.monotonic() + ALL_ARRIVED_S
    while not committed.keys() <= (arrivals := _report(receiver)).keys():
        if time.monotonic() > deadline:
            raise TimeoutError("not everything arrived")
        await asyncio.sleep(0.02)
    return [max(0, arrivals[name].first - at) / 1e6 for name, at in committed.items()]


async def _post_us(port: int) -> float:
    """Return the CPU that a bare POST takes, as many at once as the courier has to one endpoint."""
    request = Request("POST", f"http://127.0.0.1:{port}/well", {"content-type": "application/json"}, POSTED, 30.0)

    async def posting(transport: HttpTransport) -> None:
        for _ in range(BURST // Limits.per_endpoint):
            await transport.send(request)

    async with HttpTransport(Guard(allow_private=True)) as transport:
        await transport.send(request)
        before = time.process_time_ns()
        await asyncio.gather(*(posting(transport) for _ in range(Limits.per_endpoint)))
        return (time.process_time_ns() - before) / BURST / 1000


async def _cpu_us(directory: Path, port: int) -> float:
    """Return the CPU that one delivery of a burst takes, all threads."""
    store = SqliteStore(directory / "burst.db")
    await store.open()
    await store.put(endpoint("well", port))
    await asyncio.gather(*(store.create_call(new_call()) for _ in range(BURST)))
    before = time.process_time_ns()
    async with delivering(store):
        await through(store)
        return (time.process_time_ns() - before) / BURST / 1000


def _killed(directory: Path, receiver: Child, port: int) -> tuple[int, int, int]:
    """Kill a producer with its courier again and again; return what was committed, lost, and came twice."""
    directory.mkdir()
    uvloop.run(_prepared(directory, port))
    for _ in range(KILLS):
        with child("webhook_load", str(directory), str(KILL_RATE)) as load:
            load.hear(bool)
            time.sleep(LIFE_S)
    with child("webhook_load", str(directory), "0") as load:
        load.hear(bool)
        load.hear(bool)
    committed = uvloop.run(_committed(directory))
    arrivals = _report(receiver)
    counts = [arrivals[name].count if name in arrivals else 0 for name in committed]
    return len(counts), counts.count(0), sum(count - 1 for count in counts if count > 1)


async def _prepared(directory: Path, port: int) -> None:
    store = SqliteStore(directory / "onhook.db")
    await store.open()
    await store.put(endpoint("well", port))
    await store.close()


async def _committed(directory: Path) -> list[str]:
    store = SqliteStore(directory / "onhook.db")
    await store.open()
    events: list[str] = []
    position = 0
    while (feed := await store.events_after("default", position)).position > position:
        events += [f"{one.event.call_id} {one.event.seq}" for one in feed.events]
        position = feed.position
    await store.close()
    return events


def _report(receiver: Child) -> dict[str, Arrival]:
    return receiver.ask("report", dict[str, Arrival])


def _p99(found: list[float]) -> float:
    return statistics.quantiles(found, n=100)[98]


if __name__ == "__main__":
    finish(measure)
