"""The screen of a watched list, and the changes that are printed where there is no screen."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, cast

import pytest

from onhook.cli.remote import Remote, RemoteError, UnreachableError
from onhook.cli.watch import follow, screen

pytestmark = pytest.mark.unit

NOW = datetime.fromisoformat("2026-11-20T16:02:03.000Z")


def call(call_id: str, state: str, **more: Any) -> dict[str, Any]:
    started = {"created_at": "2026-11-20T15:00:00.000Z", "answered_at": "2026-11-20T15:00:03.000Z", "ringing_at": None}
    numbers = {"from_number": "+12025550100", "to_number": "+12025550101"}
    return {"call_id": call_id, "state": state, "outcome": None, "proof_result": None} | started | numbers | more


def test_the_screen_counts_the_calls_and_says_how_long_each_is_where_it_is() -> None:
    calls = [call("call_2", "answered"), call("call_1", "ringing")]
    assert screen(calls, NOW, 24, numbers=False) == [
        "16:02:03Z  2 calls: 1 answered, 1 ringing",
        "",
        "answered    1:02:00  ********0100 -> ********0101  call_2",
        "ringing     1:02:03  ********0100 -> ********0101  call_1",
    ]
    assert screen([], NOW, 24, numbers=False)[0] == "16:02:03Z  0 calls"
    assert "+12025550101" in screen(calls[:1], NOW, 24, numbers=True)[2]


def test_the_screen_never_has_more_lines_than_the_terminal() -> None:
    calls = [call(f"call_{number}", "answered") for number in range(100)]
    shown = screen(calls, NOW, 10, numbers=False)
    assert len(shown) == 10
    assert shown[-1] == "... and 93 more"


class LeftError(Exception):
    """The watcher presses Ctrl-C."""


class Server:
    """Holds the calls that are looked up one by one."""

    def __init__(self, *calls: dict[str, Any]) -> None:
        self.calls = {f"/v1/calls/{one['call_id']}": one for one in calls}

    def get(self, path: str) -> dict[str, Any]:
        if path not in self.calls:
            raise RemoteError("gone", 404)
        return self.calls[path]


def said(server: Server, look: Callable[[], list[dict[str, Any]]]) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    with pytest.raises(LeftError):
        follow(cast(Remote, server), look, 0, lambda one: told.append((one["call_id"], one["state"])))
    return told


def looks(*answers: list[dict[str, Any]] | Exception) -> Callable[[], list[dict[str, Any]]]:
    turn: Iterator[list[dict[str, Any]] | Exception] = iter((*answers, LeftError()))

    def look() -> list[dict[str, Any]]:
        answer = next(turn)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


def test_each_change_is_said_once_the_oldest_call_first() -> None:
    old, new = call("call_1", "ringing"), call("call_2", "dialing")
    moved = call("call_1", "answered")
    assert said(Server(), looks([new, old], [new, old], [new, moved])) == [
        ("call_1", "ringing"),
        ("call_2", "dialing"),
        ("call_1", "answered"),
    ]


def test_a_call_that_is_no_longer_there_is_said_a_last_time_unless_it_was_deleted() -> None:
    kept, deleted = call("call_1", "answered"), call("call_2", "answered")
    server = Server(call("call_1", "ended", outcome="completed", proof_result="confirmed"))
    assert said(server, looks([deleted, kept], [], []))[2:] == [("call_1", "ended")]


def test_a_server_that_is_away_is_waited_for_but_not_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("onhook.cli.remote.RETRY_S", 0)
    away = UnreachableError("no server answers")
    assert said(Server(), looks([], away, away, [call("call_1", "ringing")])) == [("call_1", "ringing")]
    assert capsys.readouterr().err == "onhook: no server answers; trying again for 30 s\n"
    with pytest.raises(UnreachableError):
        follow(cast(Remote, Server()), looks(away), 0, print)
