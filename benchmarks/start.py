"""From exec to the first 200 on /healthz, and the memory of the idle node.

`onhook serve` is started as a user would start it (the supervisor and its node), each time on an empty data directory.
Memory is the node's proportional set size once it serves; the supervisor's is told as a detail. Python keeps what it
compiled, as it does unless told otherwise: the median is a start after the first.
"""

import contextlib
import socket
import statistics
import subprocess
import sys
import time

from benchmarks.http import Connection, request
from benchmarks.machine import pss_kb, scratch
from benchmarks.server import environment
from benchmarks.verdict import Verdict, finish
from onhook.supervisor import free_port

STARTS = 5
LIMIT_S = 20.0
GATE_S = 1.0
GATE_MB = 120.0


def measure() -> Verdict:
    """Start the server several times."""
    starts = [_start() for _ in range(STARTS)]
    ready = statistics.median(one[0] for one in starts)
    memory = statistics.median(one[1] for one in starts)
    supervisor = statistics.median(one[2] for one in starts)
    return Verdict(
        "start",
        f"ready in {ready:.2f} s; idle node {memory:.0f} MB",
        f"<= {GATE_S:g} s; <= {GATE_MB:g} MB",
        max(ready / GATE_S, memory / GATE_MB),
        (f"ready in {', '.join(f'{one[0]:.2f}' for one in starts)} s; supervisor {supervisor:.0f} MB",),
    )


def _start() -> tuple[float, float, float]:
    """Start once; return the seconds until it serves, and the MB of the node and of the supervisor."""
    with scratch() as directory:
        port = free_port("127.0.0.1", socket.SOCK_STREAM)
        settings = environment(directory) | {"ONHOOK_HTTP_BIND": f"127.0.0.1:{port}", "PYTHONDONTWRITEBYTECODE": ""}
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "onhook", "serve"], env=settings, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            _until_healthy(port, began + LIMIT_S)
            ready = time.monotonic() - began
            node = int((directory / "node.pid").read_text())
            return ready, pss_kb(node) / 1024, pss_kb(process.pid) / 1024
        finally:
            process.terminate()
            process.wait()


def _until_healthy(port: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            connection = Connection(port)
            status, _ = connection.exchange(request("GET", "/healthz", "none"))
            connection.close()
            if status == 200:
                return
        time.sleep(0.005)
    raise TimeoutError("the server does not serve")


if __name__ == "__main__":
    finish(measure)
