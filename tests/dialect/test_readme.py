"""The README is true: its transcript is what the demo prints, and its commands work."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.dialect.doc_blocks import ROOT, Shell, blocks, normal
from tests.dialect.server_process import NEEDS_CURL, bare_environment

pytestmark = [pytest.mark.dialect, pytest.mark.timing]

DEMO = "$ make demo ARGS=--exit"
SET_UP = (
    "make demo   # set up, hold a conversation over real SIP on loopback, end calls, prove it; then it is yours to try"
)
NOT_RUN = {DEMO: "compared with a run of the demo below", SET_UP: "CI runs it (.ci/run)"}


def test_the_transcript_is_what_the_demo_prints(tmp_path: Path) -> None:
    (transcript,) = (block for block in blocks("README.md") if block.first_line == DEMO)
    demo = subprocess.run(
        [sys.executable, "-m", "onhook", "demo", "--exit"],
        cwd=tmp_path,
        env=bare_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert demo.returncode == 0, demo.stderr
    assert normal(demo.stdout.splitlines()) == normal(transcript.text.splitlines()[1:]), (
        "put the output of `onhook demo --exit` into the README"
    )


@NEEDS_CURL
def test_the_commands_for_real_use_work_with_a_phone_for_a_carrier(tmp_path: Path) -> None:
    todo = [block for block in blocks("README.md") if block.first_line not in NOT_RUN]
    assert len(todo) == 3
    with Shell(tmp_path) as shell:
        shell.start_carrier()
        for block in todo:
            shell.follow(block)
        shown = shell.run("onhook calls list")
    assert len(shown) == 2
    assert all("  ended      " in line and line.endswith("  api_stop") for line in shown)


def test_the_first_line_names_what_is_needed() -> None:
    first = (ROOT / "README.md").read_text().splitlines()[0]
    assert "make" in first
    assert "Python >= 3.11" in first
    assert "venv" in first
