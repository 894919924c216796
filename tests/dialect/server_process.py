"""onhook as a user runs it: real processes on free ports of loopback, in a directory of their own."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from onhook import supervisor

NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
READY = "onhook is ready at "
START_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0
COMMAND_LIMIT_S = 60.0


def free_port() -> int:
    """Return a port that is free for UDP and TCP."""
    return supervisor.free_port("127.0.0.1", *supervisor.SIP_SOCKETS)


def bare_environment() -> dict[str, str]:
    """Return this process's environment without settings of onhook, wide enough to print on one line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONHOOK_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}


def local_environment() -> dict[str, str]:
    """Return an environment in which a server listens on free ports of loopback."""
    binds = {name: f"127.0.0.1:{free_port()}" for name in ("ONHOOK_HTTP_BIND", "ONHOOK_SIP_BIND")}
    return bare_environment() | binds


def onhook(arguments: Sequence[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "onhook", *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        check=False,
    )


@contextmanager
def running(command: Sequence[str], sign: str, cwd: Path, environment: dict[str, str]) -> Iterator[list[str]]:
    """Run a command that stays up; enter once a line with `sign` is printed, leave by SIGTERM. Gives its lines."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    lines: list[str] = []
    up = threading.Event()
    reader = threading.Thread(target=_read, args=(process, lines, sign, up))
    reader.start()
    try:
        assert up.wait(START_LIMIT_S), f"{' '.join(command)} did not start"
        assert any(sign in line for line in lines), f"{' '.join(command)} died:\n{''.join(lines)}"
        yield lines
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        finally:
            process.kill()
            reader.join(STOP_LIMIT_S)


def _read(process: subprocess.Popen[str], lines: list[str], sign: str, up: threading.Event) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if sign in line:
            up.set()
    up.set()


@contextmanager
def serving(cwd: Path, environment: dict[str, str], *arguments: str) -> Iterator[list[str]]:
    """Run `onhook serve` in `cwd`."""
    with running([sys.executable, "-m", "onhook", "serve", *arguments], READY, cwd, environment) as lines:
        yield lines
