"""What the supervisor makes of the ways in which a node can leave."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from onhook.settings import Settings
from onhook.supervisor import CANNOT_START, MAX_SHORT_LIVES, Supervisor

pytestmark = pytest.mark.unit


class Node:
    """A child that leaves at once with `code`."""

    def __init__(self, code: int) -> None:
        self._code = code

    def wait(self) -> int:
        return self._code

    def terminate(self) -> None:
        """It has left already."""


def outcome(monkeypatch: pytest.MonkeyPatch, directory: Path, codes: Iterable[int]) -> tuple[int, int]:
    """Return the supervisor's exit code and how many lives its node had."""
    left, lives = iter(codes), []

    def start(_command: list[str], _environment: dict[str, str]) -> Node:
        lives.append(Node(next(left)))
        return lives[-1]

    monkeypatch.setattr("onhook.supervisor._start", start)
    monkeypatch.setattr("onhook.supervisor.time.sleep", lambda _seconds: None)
    monkeypatch.setattr("onhook.supervisor.signal.signal", lambda *_: None)
    settings = Settings(data_dir=directory, http_bind="127.0.0.1:0", sip_bind="127.0.0.1:0")
    return Supervisor(settings, None, sandbox=False).run(), len(lives)


def test_a_node_that_cannot_start_the_first_time_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert outcome(monkeypatch, tmp_path, [CANNOT_START]) == (CANNOT_START, 1)


def test_a_node_that_has_lived_is_started_again_whatever_keeps_it_from_starting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    codes = [-9] + [CANNOT_START] * MAX_SHORT_LIVES
    assert outcome(monkeypatch, tmp_path, codes) == (1, MAX_SHORT_LIVES), "the calls of its last life need it"
