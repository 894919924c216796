"""`onhook phone --call` as people use it: what it prints, and the exit code."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.dialect.server_process import bare_environment, free_port, local_environment, onhook, running

pytestmark = pytest.mark.dialect

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command to its end."""
    return lambda *arguments: onhook(arguments, tmp_path, local_environment())


def test_phone_calls_and_says_how_it_went(run: Run, tmp_path: Path) -> None:
    port = free_port()
    with running(["onhook", "phone", "--port", str(port)], "listens on", tmp_path, bare_environment()):
        ended = run("phone", "--call", f"sip:+12025550104@127.0.0.1:{port}", "--from", "+12025550155")
        busy = run("phone", "--call", f"sip:+12025550102@127.0.0.1:{port}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[-1] for line in ended.stdout.splitlines()] == [
        "INVITE",
        "100",
        "180",
        "200",
        "ACK",
        "BYE",
        "200",
    ]
    assert (busy.returncode, busy.stderr) == (1, "onhook: not answered: 486\n")


@pytest.mark.parametrize("uri", ["sip:127.0.0.1:9;transport=tcp", "sip:example.invalid", "nonsense"])
def test_phone_cannot_call_where_nobody_listens(run: Run, uri: str) -> None:
    refused = run("phone", "--tcp", "--call", uri)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"onhook: cannot call {uri}: ")
