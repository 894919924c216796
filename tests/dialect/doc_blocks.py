"""The documentation's command blocks, and a shell that runs them as a reader would.

`sh` blocks are commands; `console` blocks are commands after `$ ` with the output that they must print; `python`
blocks are programs. A command that serves (`onhook serve`, `onhook phone`) stays up until the page ends, as in a
reader's other terminal. Addresses of the pages stand for free ports of this machine; the carrier's for a phone.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple, Self

from tests.dialect.server_process import START_LIMIT_S, STOP_LIMIT_S, bare_environment, free_port

from onhook.lines.sandbox.numbers import NUMBERS

ROOT = Path(__file__).parents[2]
RUNNABLE = ("sh", "console", "python")
SIGNS = {
    "onhook serve": "onhook is ready at",
    "onhook phone": f"  +120255501{NUMBERS[-1].digits}",
    "python examples/webhook_receiver.py": "waiting for webhooks at",
}
"""Commands that stay up, and what they print once they are."""
COMMAND_LIMIT_S = 60.0

VOLATILE = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"\b(agent|block|bulk|call|hook|key|msg|number|talq|trunk)_[0-9a-f]{12,48}\b", r"\1_ID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME"),
    (r" +\d+ ms", " N ms"),
    (r" +\d+\.\d s\b", " N s"),
    (r"RTP \d+ sent, \d+ received", "RTP N sent, N received"),
    (r"\d[\d,]* bytes", "N bytes"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\.\.\.[0-9a-f]{4}\b", "...LAST"),
    (r"data in \S+", "data in DIR"),
)
"""What differs from run to run, and nothing else."""


class Block(NamedTuple):
    """A fenced block: its page (relative to the repository), its language and its text."""

    page: str
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.splitlines()[0]


class Command(NamedTuple):
    """A command, and the lines that it must print (None: any)."""

    text: str
    output: list[str] | None


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [Block(page, language, text) for language, text in found]


def commands(block: Block) -> list[Command]:
    """Return the commands of a block, in order."""
    if block.language == "python":
        return [Command(f"python - <<'END_OF_PROGRAM'\n{block.text}END_OF_PROGRAM", None)]
    if block.language == "sh":
        return [Command(block.text, None)]
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        elif found[-1].output is not None:
            found[-1].output.append(line)
    return found


def normal(lines: list[str]) -> list[str]:
    """Return lines with everything volatile replaced."""
    text = "\n".join(line.rstrip() for line in lines)
    for pattern, word in VOLATILE:
        text = re.sub(pattern, word, text)
    return text.split("\n")


class Shell:
    """One bash for a whole page: variables and servers last until the page ends."""

    def __init__(self, cwd: Path) -> None:
        self._cwd = cwd
        (cwd / "examples").symlink_to(ROOT / "examples")
        self._carrier = f"127.0.0.1:{free_port()}"
        http, sip = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self._stand_ins = {
            "sip.example.com:5060": self._carrier,
            "127.0.0.1:8080": http,
            "127.0.0.1:9000": f"127.0.0.1:{free_port()}",
            "0.0.0.0:5060": sip,
            "127.0.0.1:5060": sip,
            "203.0.113.7": "127.0.0.1",
            "/opt/onhook": str(ROOT),
        }
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-euo", "pipefail"],
            cwd=cwd,
            env=bare_environment() | {"ONHOOK_HTTP_BIND": http, "ONHOOK_SIP_BIND": sip},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._servers: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in reversed(self._servers):
            self._stop(pid)
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        try:
            self._bash.wait(STOP_LIMIT_S)
        finally:
            self._bash.kill()

    def follow(self, block: Block) -> None:
        """Run the commands of a block; each must succeed and print what the page says."""
        for command in commands(block):
            start = next((sign for sign in SIGNS if command.text.startswith(sign)), None)
            lines = self.serve(command.text.strip(), SIGNS[start]) if start else self.run(command.text)
            if command.output is not None:
                assert normal(lines) == normal(command.output), f"{block.page}: {command.text}"

    def start_carrier(self) -> None:
        """Let a phone stand in for the carrier of the pages."""
        port = self._carrier.rpartition(":")[2]
        self.serve(f"onhook phone --port {port}", SIGNS["onhook phone"])

    def serve(self, command: str, sign: str) -> list[str]:
        """Start a command that stays up; return what it has printed once its sign is there."""
        log = self._cwd / f"server-{len(self._servers)}.log"
        (pid,) = self.run(f"{command} >{shlex.quote(str(log))} 2>&1 & echo $!")
        self._servers.append(int(pid))
        deadline = time.monotonic() + START_LIMIT_S
        while not log.exists() or sign not in log.read_text():
            assert time.monotonic() < deadline, f"{command} did not start: {log.read_text()}"
            time.sleep(0.05)
        return self._as_written(log.read_text().splitlines())

    def run(self, command: str) -> list[str]:
        """Run a command to its end; return the lines it printed. Each of its lines must succeed."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        for written, real in self._stand_ins.items():
            command = command.replace(written, real)
        self._bash.stdin.write(f"{{ {command.rstrip()}\n}} </dev/null; echo; echo END-OF-COMMAND\n")
        self._bash.stdin.flush()
        limit = threading.Timer(COMMAND_LIMIT_S, self._bash.kill)
        limit.start()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line == "END-OF-COMMAND\n":
                limit.cancel()
                return self._as_written(lines[:-1] if not lines[-1] else lines)
            lines.append(line.rstrip("\n"))
        limit.cancel()
        self._bash.wait(STOP_LIMIT_S)
        raise AssertionError(f"failed, or took too long: {command}\n" + "\n".join(lines))

    def _stop(self, pid: int) -> None:
        """Stop a server of the page, even if the bash that started it has died of a command that failed."""
        if self._bash.poll() is None:
            self.run(f"kill {pid}; wait {pid} || true")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _as_written(self, lines: list[str]) -> list[str]:
        """Return output with the pages' addresses in it."""
        text = "\n".join(lines)
        for written, real in self._stand_ins.items():
            if ":" in written:
                text = text.replace(real, written)
        return text.split("\n") if text else []
