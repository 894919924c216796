"""100 clients stop 600 live calls one by one, each as fast as it can, while others go on making calls.

The server and the far end are processes of their own. The clock of a stop starts before its request's first byte is
given to the kernel and ends when the kernel has the BYE at the far end's socket. An idle server is asked first: one
stop at a time. Where 100 clients ask at once, a stop waits for at most 99 others: the figure is the storm's p99 as a
share of 100 idle stops (p50). Each call must have ended once, for its own stop.
"""

import statistics
import threading
import time

from benchmarks.bulk_stop import fill
from benchmarks.child import Child, child
from benchmarks.far_end import Ports, Report
from benchmarks.http import Connection
from benchmarks.machine import load, scratch
from benchmarks.server import Server, server
from benchmarks.stop_to_bye import stop_us
from benchmarks.verdict import Verdict, finish

CLIENTS = 100
MAKERS = 2
IDLE_STOPS = 60
GATE = 1.5
MAKE_EVERY_S = 0.02


def measure() -> Verdict:
    """Stop some calls one at a time, then all at once."""
    with scratch() as directory, child("far_end") as far_end:
        ports = far_end.hear(Ports)
        with server(directory / "data", ports.sip) as onhook:
            idle = [_idle_stop_us(onhook, far_end) for _ in range(IDLE_STOPS)]
            calls = fill(onhook)
            storm = _storm(onhook, far_end, calls)
            ended_twice = [call_id for call_id in calls if onhook.count(call_id, "call.ended") != 1]
    if ended_twice:
        raise RuntimeError(f"{len(ended_twice)} calls did not end exactly once")
    one, p99 = statistics.median(idle), statistics.quantiles(storm, n=100)[-1]
    return Verdict(
        "stop_storm",
        f"p99 {p99 / (CLIENTS * one):.2f} x {CLIENTS} idle stops",
        f"<= {GATE:g} x",
        p99 / (CLIENTS * one) / GATE,
        (
            f"{len(storm)} stops by {CLIENTS} clients: p50 {statistics.median(storm) / 1000:.0f} ms, "
            f"p99 {p99 / 1000:.0f} ms; an idle stop {one / 1000:.1f} ms; p99 ratio to idle {p99 / one:.0f}",
            load(),
        ),
    )


def _idle_stop_us(onhook: Server, far_end: Child) -> float:
    call_id = onhook.place()
    return stop_us(onhook, far_end, call_id, onhook.end_call(call_id))


def _storm(onhook: Server, far_end: Child, calls: dict[str, str]) -> list[float]:
    """Stop the calls (SIP Call-IDs by id); return how long each took until its BYE, in us."""
    began: dict[str, int] = {}
    made: list[int] = []
    stopped = threading.Event()
    ids = list(calls)
    clients = [
        threading.Thread(target=_stop_all, args=(onhook, ids[place::CLIENTS], began)) for place in range(CLIENTS)
    ]
    makers = [threading.Thread(target=_make_calls, args=(onhook, stopped, made)) for _ in range(MAKERS)]
    for thread in (*makers, *clients):
        thread.start()
    for client in clients:
        client.join()
    stopped.set()
    for maker in makers:
        maker.join()
    if set(made) != {201}:
        raise RuntimeError(f"the others could not make calls: {made}")
    byes = far_end.ask("report", Report).byes
    return [(byes[sip_call_id] - began[call_id]) / 1000 for call_id, sip_call_id in calls.items()]


def _stop_all(onhook: Server, calls: list[str], began: dict[str, int]) -> None:
    connection = Connection(onhook.port)
    for call_id in calls:
        request = onhook.end_call(call_id)
        began[call_id] = time.time_ns()
        status, body = connection.exchange(request)
        if status != 200:
            raise RuntimeError(f"end-call: {status} {body.decode()}")
    connection.close()


def _make_calls(onhook: Server, stopped: threading.Event, made: list[int]) -> None:
    """Make calls until told to stop; note what each was answered."""
    connection = Connection(onhook.port)
    while not stopped.wait(MAKE_EVERY_S):
        status, _ = connection.exchange(onhook.create_call())
        made.append(status)
    connection.close()


if __name__ == "__main__":
    finish(measure)
