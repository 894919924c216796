"""600 live calls with audio, stopped by one HTTP request.

The server is a process of its own, as it is run for real, and so is the far end. The client is this process: a raw
socket on a connection that is kept alive. The clock starts before the request's first byte is given to the kernel; a
BYE counts when the kernel has it at the far end's socket, a confirmation when its 2xx was taken by the server's SIP
engine, as the ledger in the answer says. The limits are those of `stop_600`; a line that is not in the ledger misses by
far.
"""

import json
import time
from datetime import datetime
from typing import Any

from benchmarks.child import Child, child
from benchmarks.far_end import Ports, Report
from benchmarks.machine import load, scratch
from benchmarks.server import Server, server
from benchmarks.stop_600 import CALLS, TALK_S, Stopped
from benchmarks.verdict import Verdict, finish

PLACED_PER_S = 150
SET_UP_LIMIT_S = 20.0


def measure() -> Verdict:
    """Place the calls, let them talk, stop them."""
    with scratch() as directory, child("far_end") as far_end:
        ports = far_end.hear(Ports)
        with server(directory / "data", ports.sip) as onhook:
            fill(onhook)
            time.sleep(TALK_S)
            stopped = _stop(onhook, far_end)
    return stopped.verdict("bulk_stop", f"the answer came after {stopped.committed:.0f} ms; {load()}")


def fill(onhook: Server) -> dict[str, str]:
    """Place the calls of a silent agent, wait until all are answered; return their SIP Call-IDs by their ids."""
    calls = onhook.create_calls(CALLS, PLACED_PER_S)
    deadline = time.monotonic() + SET_UP_LIMIT_S
    while len(onhook.ask("GET", "/v1/calls?state=answered&limit=1000")["items"]) < CALLS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all {CALLS} calls are answered")
        time.sleep(0.2)
    return calls


def _stop(onhook: Server, far_end: Child) -> Stopped:
    request = onhook.stop_all()
    began = time.time_ns()
    status, body = onhook.connection.exchange(request)
    answered = (time.time_ns() - began) / 1e6
    if status != 200:
        raise RuntimeError(f"stops: {status} {body.decode()}")
    items = json.loads(body)["items"]
    byes = [(at - began) / 1e6 for at in far_end.ask("report", Report).byes.values()]
    confirmed = [_ms(item) - began / 1e6 for item in items if item["first"] and item["result"] == "confirmed"]
    return Stopped(byes, confirmed, answered)


def _ms(item: dict[str, Any]) -> float:
    return datetime.fromisoformat(item["confirmed_at"]).timestamp() * 1000


if __name__ == "__main__":
    finish(measure)
