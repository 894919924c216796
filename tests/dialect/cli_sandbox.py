"""A running `onhook serve --sandbox`, and the command line beside it."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
from tests.dialect.server_process import COMMAND_LIMIT_S, STOP_LIMIT_S, local_environment, onhook, serving
from typer.testing import CliRunner

from onhook.cli import app

CALL_LIMIT_S = 10.0


class Sandbox:
    """A server with the sandbox carrier, its directory and its environment."""

    def __init__(self, cwd: Path, environment: dict[str, str]) -> None:
        self.cwd = cwd
        self.environment = environment
        self.file = json.loads((cwd / "onhook-data" / "sandbox.json").read_text())
        self.url: str = self.file["base_url"]
        self.token: str = self.file["token"]
        self.quiet: str = self.post("/v1/agents", {"name": "Quiet", "kind": "silence"}).json()["id"]

    def run(self, *arguments: str) -> CompletedProcess[str]:
        """Run one command to its end."""
        return onhook(arguments, self.cwd, self.environment)

    def here(self, *arguments: str, answer: str = "") -> CompletedProcess[str]:
        """Run one command that talks to the server, in this process; `answer` is typed when it asks."""
        no_settings = {name: None for name in os.environ if name.startswith("ONHOOK_")}
        given = [*arguments, "--data", str(self.cwd / "onhook-data")]
        done = CliRunner().invoke(app, given, input=answer, env=no_settings | {"COLUMNS": "200"})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return CompletedProcess(given, done.exit_code, done.stdout, done.stderr)

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        """Ask the server itself."""
        return httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {token or self.token}"})

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Tell the server itself."""
        return httpx.post(f"{self.url}{path}", json=body, headers={"Authorization": f"Bearer {self.token}"})

    def call(self, to_number: str, state: str, **more: Any) -> str:
        """Place a call, wait until it is in `state`, return its id. Its agent says nothing and stays, unless named."""
        body = {"from_number": self.file["from_number"], "to_number": to_number, "agent_id": self.quiet} | more
        call_id: str = self.post("/v1/calls", body).json()["call_id"]
        deadline = time.monotonic() + CALL_LIMIT_S
        while self.get(f"/v1/calls/{call_id}").json()["state"] != state:
            assert time.monotonic() < deadline, f"{to_number} did not become {state}"
        return call_id

    @contextmanager
    def left_by_ctrl_c(self, *arguments: str, terminal: bool = False) -> Iterator["Output"]:
        """Run a command that goes on for ever, on a terminal or into a pipe; leave it as people do."""
        reader, writer = pty.openpty() if terminal else os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "onhook", *arguments],
            cwd=self.cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            process_group=0,
        )
        os.close(writer)
        output = Output(reader)
        try:
            yield output
            process.send_signal(signal.SIGINT)
            output.code = process.wait(STOP_LIMIT_S)
            output.drain()
        finally:
            process.kill()
            process.wait()
            os.close(reader)


class Output:
    """What a command has printed so far, and its exit code once it has left."""

    def __init__(self, reader: int) -> None:
        self._reader = reader
        self.text = ""
        self.code: int | None = None

    @property
    def printed(self) -> bool:
        """True once there is something to read."""
        return bool(select.select([self._reader], [], [], 0)[0])

    def until(self, sign: str) -> str:
        """Read until `sign` is printed; return what was printed since the last sign."""
        start, deadline = len(self.text), time.monotonic() + COMMAND_LIMIT_S
        while sign not in self.text[start:]:
            assert select.select([self._reader], [], [], deadline - time.monotonic())[0], f"no {sign!r}: {self.text}"
            assert self._read(), f"it left without {sign!r}: {self.text}"
        return self.text[start:]

    def drain(self) -> None:
        """Read what is left when the command has gone."""
        while self._read():
            pass

    def _read(self) -> bool:
        try:
            piece = os.read(self._reader, 65536)
        except OSError:  # A terminal that nobody writes to any more
            return False
        self.text += piece.decode()
        return bool(piece)


@contextmanager
def running_sandbox(cwd: Path) -> Iterator[Sandbox]:
    """Run a server with the sandbox carrier in `cwd`."""
    environment = local_environment()
    with serving(cwd, environment, "--sandbox"):
        yield Sandbox(cwd, environment)
