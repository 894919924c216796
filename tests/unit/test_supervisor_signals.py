"""A signal may come between any two steps of the supervisor; none is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onhook.settings import Settings
from onhook.supervisor import Supervisor

pytestmark = pytest.mark.unit


class Child:
    """A node that lives until it is told to go, or has crashed already."""

    def __init__(self, *, crashed: bool = False) -> None:
        self._over = crashed
        self.terminated = False

    def terminate(self) -> None:
        self._over = self.terminated = True

    def wait(self, timeout: float | None = None) -> int:
        if not self._over:
            raise AssertionError("waits for ever for a node that nobody told to go")
        return 1


def supervise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[Supervisor], Child]) -> int:
    settings = Settings(data_dir=tmp_path, http_bind="127.0.0.1:1", sip_bind="127.0.0.1:1")
    supervisor = Supervisor(settings, None, sandbox=False)

    def child(_command: list[str], _environment: dict[str, str]) -> Child:
        return start(supervisor)

    monkeypatch.setattr("onhook.supervisor._start", child)
    monkeypatch.setattr("onhook.supervisor.signal.signal", lambda *_: None)
    return supervisor.run()


def test_a_signal_that_comes_while_the_node_is_being_started_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Child()

    def start(supervisor: Supervisor) -> Child:
        supervisor._stop()
        return node

    assert supervise(tmp_path, monkeypatch, start) == 0
    assert node.terminated


def test_a_signal_that_comes_between_two_lives_of_the_node_starts_no_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Child] = []

    def start(supervisor: Supervisor) -> Child:
        monkeypatch.setattr("onhook.supervisor.time.sleep", lambda _s: supervisor._stop())
        started.append(Child(crashed=True))
        return started[-1]

    assert supervise(tmp_path, monkeypatch, start) == 0
    assert len(started) == 1
