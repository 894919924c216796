"""onhook as its own process, as it is run for real, with a far end of ours as its carrier."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.http import Connection, request
from onhook.provision import SandboxFile, read_sandbox

START_LIMIT_S = 20.0
ANSWER_LIMIT_S = 30.0


class Server:
    """A running server and what is needed to call its API."""

    def __init__(self, process: subprocess.Popen[bytes], sandbox: SandboxFile) -> None:
        self.pid = process.pid
        self.port = int(sandbox.base_url.rpartition(":")[2])
        self.connection = Connection(self.port)
        self._sandbox = sandbox
        self._silent = self.create_agent("silence")

    def create_agent(self, kind: str, **settings: Any) -> str:
        """Make an agent; return its id."""
        body = {"name": kind, "kind": kind, "settings": settings, "published": True}
        agent_id: str = self.ask("POST", "/v1/agents", body)["id"]
        return agent_id

    def place(self, agent_id: str | None = None) -> str:
        """Place a call by an agent (a silent one) and wait until its row says that it is answered; return its id."""
        call_id: str = self.ask("POST", "/v1/calls", self._order(agent_id))["call_id"]
        self._wait(lambda: self.ask("GET", f"/v1/calls/{call_id}")["state"] == "answered")
        return call_id

    def create_call(self) -> bytes:
        """Compose the request that makes a call of a silent agent."""
        return request("POST", "/v1/calls", self._sandbox.token, self._order())

    def create_calls(self, count: int, per_s: float) -> dict[str, str]:
        """Make calls of a silent agent at a steady pace; return their SIP Call-IDs by their ids."""
        made: dict[str, str] = {}
        for _ in range(count):
            call = self.ask("POST", "/v1/calls", self._order())
            made[call["call_id"]] = call["sip_call_id"]
            time.sleep(1 / per_s)
        return made

    def count(self, call_id: str, event: str) -> int:
        """Return how often an event is in a call's log."""
        events = self.ask("GET", f"/v1/calls/{call_id}/timeline")["events"]
        return [one["type"] for one in events].count(event)

    def wait_for(self, call_id: str, event: str) -> None:
        """Wait until an event is in a call's log."""
        path = f"/v1/events?call_id={call_id}"
        self._wait(lambda: event in [one["type"] for one in self.ask("GET", path)["items"]])

    def end_call(self, call_id: str, agent_id: str | None = None) -> bytes:
        """Compose the request that ends a call of an agent (the silent one)."""
        path = f"/api/v1/agents/{agent_id or self._silent}/end-call"
        return request("POST", path, self._sandbox.token, {"call_sid": call_id})

    def stop_all(self) -> bytes:
        """Compose the request that ends every call, and waits for the proofs."""
        return request("POST", "/v1/stops", self._sandbox.token, {"selector": {"all": True}, "wait_ms": 5000})

    def _order(self, agent_id: str | None = None) -> dict[str, str]:
        numbers = {"to_number": "+12025550100", "from_number": self._sandbox.from_number}
        return numbers | {"agent_id": agent_id or self._silent}

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Look every 2 ms. Raises `TimeoutError`."""
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so within {ANSWER_LIMIT_S:g} s")
            time.sleep(0.002)

    def sip_call_id(self, call_id: str) -> str:
        """Return the SIP Call-ID of a call."""
        found: str = self.ask("GET", f"/v1/calls/{call_id}")["sip_call_id"]
        return found

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the JSON that a request is answered with. Raises `RuntimeError` for an error."""
        status, answer = self.connection.exchange(request(method, path, self._sandbox.token, body))
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer.decode()}")
        found: dict[str, Any] = json.loads(answer)
        return found


def environment(data_dir: Path) -> dict[str, str]:
    """Return an environment in which a server takes free ports and keeps its data in `data_dir`."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ONHOOK_")}
    return clean | {
        "ONHOOK_DATA_DIR": str(data_dir),
        "ONHOOK_HTTP_BIND": "127.0.0.1:0",
        "ONHOOK_SIP_BIND": "127.0.0.1:0",
        "ONHOOK_LOG_LEVEL": "WARNING",
    }


@contextlib.contextmanager
def server(data_dir: Path, sip_port: int) -> Iterator[Server]:
    """Run a node whose calls all go to the far end at `sip_port`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "onhook.node", "--carrier", f"sip:127.0.0.1:{sip_port};transport=udp"],
        env=environment(data_dir),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield Server(process, _ready(process, data_dir))
    finally:
        process.terminate()
        process.wait()


def _ready(process: subprocess.Popen[bytes], data_dir: Path) -> SandboxFile:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        sandbox = read_sandbox(data_dir)
        if sandbox is not None:
            return sandbox
        time.sleep(0.02)
    raise RuntimeError("the server did not start")
