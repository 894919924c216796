"""From the request to end a call to the BYE at the far end.

The server runs as its own process (SQLite, synchronous=FULL, on a real disk), and so does the far end. The client is
this process: a raw socket on a connection that is kept alive, so that neither its code nor the far end's shares an
interpreter with the server. The clock starts before the request's first byte is given to the kernel and stops when
the kernel has the BYE at the far end's socket.

The floor is what no durable server can do without: one fdatasync of one page on the same disk, and one request to
the cheapest ASGI application on stock uvicorn, by the same client, in the same rounds.
"""

import os
import statistics
import time

from benchmarks.child import Child, child
from benchmarks.far_end import Ports, Report
from benchmarks.http import Connection
from benchmarks.machine import fdatasync_us, scratch
from benchmarks.server import Server, server
from benchmarks.verdict import Verdict, finish

CALLS = 150
FLOORS_PER_CALL = 4
GATE = 3.0
PAGE = os.urandom(4096)


def measure() -> Verdict:
    """Interleave stops with both parts of the floor, and compare the medians."""
    stops: list[float] = []
    disk: list[float] = []
    trips: list[float] = []
    with scratch() as directory, child("far_end") as far_end, child("cheapest_asgi") as cheapest:
        ports = far_end.hear(Ports)
        floor = Connection(cheapest.hear(int))
        file = os.open(directory / "floor", os.O_WRONLY | os.O_CREAT)
        with server(directory / "data", ports.sip) as onhook:
            for _ in range(CALLS):
                request = onhook.end_call(call_id := onhook.place())
                stops.append(stop_us(onhook, far_end, call_id, request))
                for _ in range(FLOORS_PER_CALL):
                    disk.append(fdatasync_us(file, PAGE))
                    trips.append(_trip_us(floor, request))
        os.close(file)
    stop, flush, trip = (statistics.median(found) for found in (stops, disk, trips))
    ratio = stop / (flush + trip)
    return Verdict(
        "stop_to_bye",
        f"p50 {ratio:.2f} x (fdatasync + cheapest round trip)",
        f"<= {GATE:g} x",
        ratio / GATE,
        (
            f"request to BYE p50 {stop:.0f} us, p95 {statistics.quantiles(stops, n=20)[-1]:.0f} us, {CALLS} calls",
            f"fdatasync p50 {flush:.0f} us, cheapest ASGI round trip p50 {trip:.0f} us",
        ),
    )


def stop_us(onhook: Server, far_end: Child, call_id: str, request: bytes) -> float:
    """Send the request that ends a call; return the us from its first byte to the BYE at the far end."""
    sip_call_id = onhook.sip_call_id(call_id)
    began = time.time_ns()
    status, body = onhook.connection.exchange(request)
    if status != 200:
        raise RuntimeError(f"end-call: {status} {body.decode()}")
    return (far_end.ask("report", Report).byes[sip_call_id] - began) / 1000


def _trip_us(floor: Connection, request: bytes) -> float:
    began = time.perf_counter_ns()
    floor.exchange(request)
    return (time.perf_counter_ns() - began) / 1000


if __name__ == "__main__":
    finish(measure)
