"""The command line beside a server that says what a test wants: answers that break off, are late, or refuse."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.dialect.server_process import free_port
from typer.testing import CliRunner, Result

from onhook.cli import app

pytestmark = pytest.mark.dialect

Run = Callable[..., Result]

CALL: dict[str, Any] = {
    "call_id": "call_1",
    "state": "ending",
    "outcome": "completed",
    "cause": {"reason": "api_stop"},
    "ended_at": "2026-11-20T15:00:00.000Z",
    "stop": {"result": "pending", "farewell": None},
    "proof": [],
}
ENDED = CALL | {"state": "ended", "stop": {"result": "confirmed", "farewell": None}}
ORDER = {"type": "bulk_stop", "id": "bulk_1", "requested_at": "2026-11-20T15:00:00.000Z"}


class Api:
    """Answers requests in turn with what it was given, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.url = ""

    def answers_with(self, status: int, *bodies: object) -> None:
        """Answer the next request with lines of JSON, or with bytes as they are."""
        parts = [body if isinstance(body, bytes) else json.dumps(body).encode() + b"\n" for body in bodies]
        self.answers.append((status, b"".join(parts)))


class Handler(BaseHTTPRequestHandler):
    """One request; what is answered ends with the connection, as an answer does that breaks off."""

    api: Api

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.api.asked.append((self.command, self.path, json.loads(body) if body else None))
        status, answer = self.api.answers.pop(0) if self.api.answers else (500, b"{}")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 (the names that http.server calls)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"api": api}))
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield api
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("onhook.cli.remote.RETRY_S", 0.01)
    monkeypatch.setattr("onhook.cli.events.RETRY_S", 0.01)

    def once(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--data", str(tmp_path), "--url", api.url, "--token", "key_x"])

    return once


def event(place: int, kind: str, text: str = "") -> bytes:
    told = {"id": place, "seq": place, "at": "2026-11-20T15:00:00.000Z", "call_id": "call_1", "type": kind}
    data = json.dumps(told | {"data": {"role": "agent", "text": text}}, ensure_ascii=False)
    return f"id: {place}\nevent: {kind}\ndata: {data}\n\n".encode()


# --- events ------------------------------------------------------------------------------------------


def test_the_tail_goes_on_after_the_last_event_that_was_whole(api: Api, run: Run) -> None:
    api.answers_with(200, b": ready\n\n", event(7, "call.ringing"), event(8, "call.answered")[:-20])
    api.answers_with(200, b": ready\n\n", event(8, "call.answered"), b"id: 9\n\n")
    api.answers_with(200, b": ready\n\n", event(10, "call.ended"))
    tailed = run("events", "tail", "--call", "call_1", "--from", "7", "--until", "call.ended", "--json")
    assert tailed.exit_code == 0
    assert [json.loads(line)["id"] for line in tailed.stdout.splitlines()] == [7, 8, 10]
    assert [path.rpartition("after=")[2] for _, path, _ in api.asked] == ["6", "7", "9"]


def test_a_text_with_other_line_ends_is_one_line_of_the_stream(api: Api, run: Run) -> None:
    api.answers_with(200, event(1, "call.turn", "one\u2028two\x85three"))
    tailed = run("events", "tail", "--until", "call.turn", "--json")
    assert json.loads(tailed.stdout)["data"]["text"] == "one\u2028two\x85three"


def test_the_tail_leaves_where_it_is_refused(api: Api, run: Run) -> None:
    api.answers_with(200, event(1, "call.created"))
    api.answers_with(401, {"detail": "Send a valid API key."})
    tailed = run("events", "tail", "--json")
    assert (tailed.exit_code, tailed.stderr) == (1, "onhook: 401: Send a valid API key.\n")
    assert len(tailed.stdout.splitlines()) == 1


def test_the_tail_does_not_wait_for_a_server_that_was_never_there(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    tailed = CliRunner().invoke(app, ["events", "tail", "--data", str(tmp_path), "--url", url, "--token", "key_x"])
    assert tailed.exit_code == 1
    assert tailed.stderr.startswith(f"onhook: no server answers at {url} (")


# --- stops -------------------------------------------------------------------------------------------


def test_a_ledger_that_breaks_off_says_where_the_rest_is(api: Api, run: Run) -> None:
    api.answers_with(200, ORDER)
    stopped = run("stop", "--all", "--yes")
    assert stopped.exit_code == 1
    assert stopped.stderr == "onhook: the answer broke off. The stop goes on: `onhook stops show bulk_1` tells\n"


def test_an_unconfirmed_call_of_many_exits_with_3(api: Api, run: Run) -> None:
    order = ORDER | {"matched": 2, "dry_run": False, "held": 0, "dial_block_id": None}
    result = {"type": "result", "confirmed": 1, "pending": 0, "unconfirmed": 1, "already_ended": 0}
    api.answers_with(200, order, result)
    stopped = run("stop", "--agent", "a", "--yes")
    assert (stopped.exit_code, stopped.stdout) == (3, "bulk_1: 2 calls: 1 confirmed, 1 unconfirmed\n")


def test_a_stop_waits_longer_than_the_server_does(api: Api, run: Run) -> None:
    for answer in (CALL, CALL, ENDED):
        api.answers_with(200, answer)
    stopped = run("calls", "stop", "call_1", "--wait", "20s")
    assert (stopped.exit_code, stopped.stdout) == (0, "call_1  ended  completed  confirmed\n")
    assert api.asked == [
        ("POST", "/v1/calls/call_1/stop", {"wait_ms": 5000}),
        ("GET", "/v1/calls/call_1", None),
        ("GET", "/v1/calls/call_1", None),
    ]


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ((), {"wait_ms": 1000}),
        (("--reason", "late", "--wait", "250ms"), {"reason": "late", "wait_ms": 250}),
        (("--graceful", ""), {"mode": "graceful", "deadline_ms": 5000, "wait_ms": 5000}),
        (
            ("--graceful", "Bye.", "--deadline", "2s"),
            {"mode": "graceful", "farewell": "Bye.", "deadline_ms": 2000, "wait_ms": 3000},
        ),
    ],
)
def test_the_options_of_a_stop_are_what_is_asked_for(
    api: Api, run: Run, options: tuple[str, ...], body: dict[str, Any]
) -> None:
    api.answers_with(200, ENDED)
    assert run("calls", "stop", "call/1", *options).exit_code == 0
    assert api.asked == [("POST", "/v1/calls/call%2F1/stop", body)]


def test_what_answers_without_being_a_server_of_ours_is_told(api: Api, run: Run) -> None:
    api.answers_with(502, b"<html>Bad gateway</html>")
    refused = run("stops", "list")
    assert (refused.exit_code, refused.stderr) == (1, f"onhook: what answers at {api.url} is not an onhook server\n")


# --- what is no command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("stop",), "say which calls, or --all"),
        (("stop", "--all", "--prefix", "+44"), "--all goes with no other choice"),
        (("stop", "--metadata", "campaign"), "--metadata is written as name=value"),
        (("stop", "--metadata", "a=1", "--metadata", "a=2"), "--metadata names something twice"),
        (("stop", "--older-than", "long"), "'long' is no span of time"),
        (("stop", "--state", "ended"), "'--state'"),
        (("dial-blocks", "add"), "say which calls, or --all"),
        (("calls", "stop"), "Missing argument"),
        (("calls", "stop", "call_1", "--deadline", "5s"), "--deadline goes with --graceful"),
        (("calls", "stop", "call_1", "--wait", "1 minute"), "'1 minute' is no span of time"),
        (("calls", "stop-at", "call_1"), "say when, or --cancel"),
        (("calls", "stop-at", "call_1", "+5m", "--cancel"), "say when, or --cancel"),
        (("calls", "stop-at", "call_1", "noon"), "'noon' is no moment"),
        (("calls", "stop-at", "call_1", "2026-11-20T15:00:00"), "needs a time zone"),
        (("events", "tail", "--type", "call.over"), "'call.over' is no type of events"),
        (("events", "tail", "--from", "0"), "'--from'"),
    ],
)
def test_it_exits_with_2_and_asks_no_server(
    api: Api, run: Run, arguments: tuple[str, ...], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert complaint in refused.stderr
    assert api.asked == []
