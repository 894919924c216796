"""Minutes of the soak: conversations and calls that go wrong, stopped at random moments, leave nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]
MINUTES, TALKING, WAVE_S = 3, 60, 3
LIMIT_S = 480


def test_minutes_of_60_conversations_at_a_time_leave_nothing_behind() -> None:
    """Waves that have begun are finished, so it takes half a minute more; they are short, so that there are enough."""
    size = ["--minutes", str(MINUTES), "--talking", str(TALKING), "--wave", str(WAVE_S)]
    command = [sys.executable, "-m", "benchmarks.soak", *size]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("PASS")
