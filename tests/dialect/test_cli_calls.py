"""`onhook calls` and `onhook events` beside a running server."""

import json
import re
from collections.abc import Iterator

import pytest
from tests.dialect.cli_sandbox import Sandbox, running_sandbox

pytestmark = pytest.mark.dialect

SCREEN_END = "\x1b[J"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Iterator[Sandbox]:
    """The server; no call of a test is left to the next one."""
    yield server
    server.post("/v1/stops", {"selector": {"all": True}})


# --- list and show -----------------------------------------------------------------------------------


def test_calls_list_show_and_stop(sandbox: Sandbox) -> None:
    talking = sandbox.call("+12025550100", "answered")
    ringing = sandbox.call("+12025550101", "ringing")
    assert sandbox.here("calls", "list", "--live", "--ids").stdout.split() == [ringing, talking]
    line = sandbox.here("calls", "list", "--limit", "1").stdout
    assert re.fullmatch(rf"[-0-9T:.]+Z  {ringing}  \*{{8}}0100 -> \*{{8}}0101  ringing    -          -\n", line)
    assert "  +12025550100 -> +12025550101  " in sandbox.here("calls", "list", "--numbers").stdout

    stopped = sandbox.here("calls", "stop", talking, ringing, "--reason", "closing time", "--wait", "10s")
    assert stopped.returncode == 0
    assert stopped.stdout == f"{talking}  ended  completed  confirmed\n{ringing}  ended  canceled  confirmed\n"
    assert sandbox.get(f"/v1/calls/{talking}").json()["cause"]["text"] == "closing time"
    assert sandbox.here("calls", "list", "--live").stdout == ""
    assert talking in sandbox.here("calls", "list").stdout

    shown = sandbox.run("calls", "show", talking).stdout.splitlines()
    assert shown[0].split()[1] == talking
    assert any(re.search(r"call\.stop_requested +api_stop by api_key:key_", line) for line in shown)
    assert re.search(r"BYE \(CSeq \d+\) sent once at \d+ ms, answered 200 at \d+ ms", shown[-1])


def test_json_is_what_the_api_says(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550100", "answered")
    listed = json.loads(sandbox.here("calls", "list", "--live", "--json").stdout)
    assert [call["call_id"] for call in listed["items"]] == [call_id]
    stopped = json.loads(sandbox.here("calls", "stop", call_id, "--json", "--wait", "10s").stdout)
    assert stopped["errors"] == []
    assert stopped["items"][0]["stop"]["result"] == "confirmed"
    assert [step["method"] for step in stopped["items"][0]["proof"]] == ["BYE"]
    shown = json.loads(sandbox.here("calls", "show", call_id, "--json").stdout)
    assert shown["call"] == sandbox.get(f"/v1/calls/{call_id}").json()
    assert shown["timeline"] == sandbox.get(f"/v1/calls/{call_id}/timeline").json()


def test_an_unknown_call_is_told_with_exit_code_1(sandbox: Sandbox) -> None:
    shown = sandbox.here("calls", "show", "call_none")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == "onhook: 404: There is no such call in this environment.\n"


# --- stop --------------------------------------------------------------------------------------------


def test_a_stop_of_an_ended_call_is_no_error(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550102", "ended")
    stopped = sandbox.here("calls", "stop", call_id)
    assert (stopped.returncode, stopped.stdout) == (0, f"{call_id}  ended  busy  already_ended\n")


def test_a_stop_that_is_not_confirmed_yet_exits_with_3(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550110", "answered")
    stopped = sandbox.here("calls", "stop", call_id, "--wait", "100ms")
    assert (stopped.returncode, stopped.stdout) == (3, f"{call_id}  ending  completed  pending\n")


def test_an_unknown_call_does_not_keep_the_others_from_being_stopped(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550100", "answered")
    stopped = sandbox.here("calls", "stop", "call_none", call_id, "--json")
    assert stopped.returncode == 1
    assert stopped.stderr == "onhook: call_none: 404: There is no such call in this environment.\n"
    told = json.loads(stopped.stdout)
    assert [item["call_id"] for item in told["items"]] == [call_id]
    assert [(error["call_id"], error["status"]) for error in told["errors"]] == [("call_none", 404)]


def test_a_graceful_stop_says_what_became_of_the_farewell(sandbox: Sandbox) -> None:
    listening = sandbox.call("+12025550127", "answered", agent_id=sandbox.file["agent_id"])
    played = sandbox.here("calls", "stop", listening, "--graceful", "Good bye.", "--deadline", "20s")
    assert (played.returncode, played.stdout) == (0, f"{listening}  ended  completed  confirmed  farewell played\n")

    talking = sandbox.call("+12025550127", "answered", agent_id=sandbox.file["agent_id"])
    cut = sandbox.here(
        "calls", "stop", talking, "--graceful", "Good bye, and thank you.", "--deadline", "300ms", "--wait", "10s"
    )
    assert cut.returncode == 0
    assert re.fullmatch(rf"{talking}  ended  completed  confirmed  farewell (truncated|skipped)\n", cut.stdout)

    ringing = sandbox.call("+12025550101", "ringing")
    skipped = sandbox.here("calls", "stop", ringing, "--graceful", "Good bye.", "--wait", "10s")
    assert skipped.stdout == f"{ringing}  ended  canceled  confirmed  farewell skipped\n"


def test_a_stop_without_grace_ends_a_call_in_its_farewell(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550127", "answered", agent_id=sandbox.file["agent_id"])
    asked = sandbox.here(
        "calls", "stop", call_id, "--graceful", "A long farewell. " * 5, "--deadline", "20s", "--wait", "0"
    )
    assert (asked.returncode, asked.stdout) == (3, f"{call_id}  answered  -  winding_down\n")
    cut = sandbox.here("calls", "stop", call_id, "--wait", "10s")
    assert cut.returncode == 0
    assert re.fullmatch(rf"{call_id}  ended  completed  confirmed  farewell (truncated|skipped)\n", cut.stdout)


def test_a_stop_is_scheduled_changed_and_taken_back(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550101", "ringing")
    later = sandbox.here("calls", "stop-at", call_id, "2036-01-01T00:00:00+01:00", "--reason", "midnight")
    assert later.stdout == f"{call_id}  ringing  stop at 2035-12-31T23:00:00.000Z\n"
    assert json.loads(sandbox.here("calls", "stop-at", call_id, "+1h", "--json").stdout)["stop_at"] < "2035"
    assert sandbox.here("calls", "stop-at", call_id, "--cancel").stdout == f"{call_id}  ringing  stop at -\n"
    assert sandbox.here("calls", "stop-at", call_id, "+0s").returncode == 0
    end = sandbox.here("events", "tail", "--call", call_id, "--from", "1", "--until", "call.ended").stdout.splitlines()
    assert end[-1].endswith("scheduled_stop by timer")
    refused = sandbox.here("calls", "stop-at", call_id, "+1m")
    assert (refused.returncode, refused.stderr) == (1, "onhook: 409: The call is over.\n")


# --- watch -------------------------------------------------------------------------------------------


def test_watching_into_a_pipe_prints_a_line_for_each_change_and_the_end(sandbox: Sandbox) -> None:
    with sandbox.left_by_ctrl_c("calls", "list", "--live", "--watch", "--interval", "100ms") as output:
        call_id = sandbox.call("+12025550100", "answered")
        assert call_id in output.until("answered")
        sandbox.here("calls", "stop", call_id)
        end = output.until("  ended      completed  api_stop\n").splitlines()[-1]
    assert call_id in end
    assert output.code == 130
    assert "\x1b" not in output.text


def test_watching_with_json_prints_lines_of_json(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550101", "ringing")
    with sandbox.left_by_ctrl_c("calls", "list", "--live", "--watch", "--json") as output:
        output.until(call_id)
    seen = [json.loads(line) for line in output.text.splitlines()]
    assert {"ringing"} == {call["state"] for call in seen if call["call_id"] == call_id}
    sandbox.here("calls", "stop", call_id)


def test_watching_on_a_terminal_redraws_the_screen_and_gives_it_back(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550100", "answered")
    command = ("calls", "list", "--live", "--watch", "--interval", "100ms")
    with sandbox.left_by_ctrl_c(*command, terminal=True) as output:
        assert "1 answered" in output.until(call_id)
        assert "+12025550100" not in output.text
        sandbox.here("calls", "stop", call_id)
        assert any(call_id not in output.until(SCREEN_END) for _ in range(100))
    assert output.code == 130
    assert output.text.startswith("\x1b[?1049h")
    assert output.text.endswith("\x1b[?1049l")


# --- events ------------------------------------------------------------------------------------------


def test_the_tail_prints_what_happens_until_it_is_told_to_leave(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550102", "ended")
    tailed = sandbox.here("events", "tail", "--call", call_id, "--from", "1", "--until", "call.ended")
    assert tailed.returncode == 0
    lines = tailed.stdout.splitlines()
    assert re.fullmatch(rf" *\d+  [-0-9T:.]+Z  {call_id}  call\.created", lines[0])
    assert lines[-1].endswith("call.ended               busy by callee")
    places = [int(line.split()[0]) for line in lines]
    assert places == sorted(set(places))

    ends = ("--type", "call.ended", "--from", str(places[-1]), "--until", "call.ended")
    (only,) = sandbox.here("events", "tail", *ends, "--json").stdout.splitlines()
    assert (json.loads(only)["id"], json.loads(only)["call_id"]) == (places[-1], call_id)


def test_the_tail_begins_with_what_happens_next(sandbox: Sandbox) -> None:
    sandbox.call("+12025550102", "ended")
    with sandbox.left_by_ctrl_c("events", "tail", "--json", "--type", "call.created") as output:
        # Calls are placed until the stream is there; what it says first is of one of them.
        placed: list[str] = []
        while not output.printed:
            placed.append(sandbox.call("+12025550102", "ended"))
        first = json.loads(output.until("\n").splitlines()[0])
    assert output.code == 130
    assert first["call_id"] in placed


def test_the_tail_of_an_unknown_call_or_type_is_refused(sandbox: Sandbox) -> None:
    assert sandbox.here("events", "tail", "--call", "call_none").returncode == 1
    refused = sandbox.here("events", "tail", "--until", "call.over")
    assert refused.returncode == 2
    assert "'call.over' is no type of events" in refused.stderr
