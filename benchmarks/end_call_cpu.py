"""CPU of an end-call request over that of the cheapest ASGI application.

The request measured is the second end-call of an ended call (409): it takes the whole path of a stop, that is the key's
look-up, JSON and its validation, the store's urgent transaction in the writer thread, the dialect's answer, and leaves
out what is not the request's (SIP, and the disk). A first end-call, with its BYE, its proof and both records, is told
as a detail. Both servers run as processes of their own and are driven over 32 connections; the floor is stock uvicorn.

They are driven in turns, in short rounds, and the cheapest round of each counts: what a neighbour's caches and
interrupts add to a process's CPU time is not its own.
"""

from benchmarks.child import child
from benchmarks.far_end import Ports
from benchmarks.http import drive
from benchmarks.machine import cpu_ns, scratch
from benchmarks.server import Server, server
from benchmarks.verdict import Verdict, finish

ROUNDS = 8
REQUESTS = 500
FLOOR_REQUESTS = 3000
CONNECTIONS = 32
LIVE_CALLS = 100
GATE = 10.0


def measure() -> Verdict:
    """Drive both servers in turns, and compare the CPU per request."""
    costs: list[float] = []
    floors: list[float] = []
    with scratch() as directory, child("far_end") as far_end, child("cheapest_asgi") as cheapest:
        floor_port = cheapest.hear(int)
        with server(directory, far_end.hear(Ports).sip) as onhook:
            call_id = onhook.place()
            request = onhook.end_call(call_id)
            onhook.connection.exchange(request)
            for _ in range(ROUNDS):
                costs.append(_cpu_us(onhook.pid, onhook.port, [request] * REQUESTS, 409))
                floors.append(_cpu_us(cheapest.pid, floor_port, [request] * FLOOR_REQUESTS, 200))
            first = _first_stops_us(onhook)
    cost, floor = min(costs), min(floors)
    return Verdict(
        "end_call_cpu",
        f"{cost / floor:.1f} x the cheapest ASGI app's CPU",
        f"<= {GATE:g} x",
        cost / floor / GATE,
        (
            f"end-call (409) {cost:.0f} us, cheapest ASGI {floor:.0f} us, {CONNECTIONS} connections",
            f"first end-call with BYE, proof and both records: {first:.0f} us",
        ),
    )


def _first_stops_us(onhook: Server) -> float:
    """Return the CPU of ending live calls, their audio included."""
    requests = [onhook.end_call(onhook.place()) for _ in range(LIVE_CALLS)]
    return _cpu_us(onhook.pid, onhook.port, requests, 200)


def _cpu_us(pid: int, port: int, requests: list[bytes], expected: int) -> float:
    """Return the CPU time that a server takes per request, in us. Raises `RuntimeError` for another answer."""
    before = cpu_ns(pid)
    statuses = drive(port, requests, CONNECTIONS)
    spent = cpu_ns(pid) - before
    if statuses != {expected: len(requests)}:
        raise RuntimeError(f"expected {expected}, got {statuses}")
    return spent / len(requests) / 1000


if __name__ == "__main__":
    finish(measure)
