"""`onhook stop`, `onhook stops` and `onhook dial-blocks` beside a running server."""

import json
import re
from collections.abc import Iterator

import pytest
from tests.dialect.cli_sandbox import Sandbox, running_sandbox

from onhook.cli.selection import LiveState

pytestmark = pytest.mark.dialect


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Iterator[Sandbox]:
    """The server, with no live call and no dial block before and after."""
    yield server
    for block in server.get("/v1/dial-blocks").json()["items"]:
        assert server.here("dial-blocks", "release", block["id"]).returncode == 0
    server.post("/v1/stops", {"selector": {"all": True}})


def live(sandbox: Sandbox) -> list[str]:
    pages = [sandbox.get(f"/v1/calls?state={state}").json()["items"] for state in LiveState]
    return [call["call_id"] for page in pages for call in page]


def test_a_bulk_stop_prints_its_ledger_and_its_summary(sandbox: Sandbox) -> None:
    talking = sandbox.call("+12025550100", "answered", metadata={"campaign": "spring"})
    ringing = sandbox.call("+12025550101", "ringing", metadata={"campaign": "spring"})
    other = sandbox.call("+12025550101", "ringing", metadata={"campaign": "autumn"})
    stopped = sandbox.here("stop", "--metadata", "campaign=spring", "--yes", "--reason", "wrong list")
    assert stopped.returncode == 0
    *ledger, summary = stopped.stdout.splitlines()
    assert sorted(re.sub(r" \d+ ms", " N ms", line) for line in ledger) == sorted(
        [
            f"{talking}  answered   ended     completed  confirmed after N ms",
            f"{ringing}  ringing    ended     canceled   confirmed after N ms",
        ]
    )
    assert re.fullmatch(r"bulk_\w+: 2 calls: 2 confirmed", summary)
    assert live(sandbox) == [other]
    assert sandbox.get(f"/v1/calls/{talking}").json()["cause"]["text"] == "wrong list"

    bulk_id = summary.partition(":")[0]
    shown = sandbox.here("stops", "show", bulk_id)
    assert (shown.returncode, sorted(shown.stdout.splitlines())) == (0, sorted(stopped.stdout.splitlines()))
    newest = sandbox.here("stops", "list", "--limit", "1").stdout
    meant = r"--metadata campaign=spring  wrong list"
    assert re.fullmatch(rf"[-0-9T:.]+Z  {bulk_id}      2 calls  by api_key:key_\w+  {meant}\n", newest)


def test_each_choice_narrows(sandbox: Sandbox) -> None:
    first = sandbox.call("+12025550100", "answered")
    second = sandbox.call("+12025550101", "ringing")
    agent, trunk = (sandbox.get(f"/v1/calls/{first}").json()[name] for name in ("agent_id", "trunk_id"))

    def meant(*choice: str) -> set[str]:
        return {line.split()[0] for line in sandbox.here("stop", *choice, "--dry-run").stdout.splitlines()[:-1]}

    assert meant("--agent", agent) == meant("--trunk", trunk) == meant("--all") == {first, second}
    assert meant("--prefix", "+12025550100") == meant("--state", "answered", "--agent", agent) == {first}
    assert meant("--state", "ringing", "--state", "answered", "--older-than", "0s") == {first, second}
    assert meant("--older-than", "1h") == meant("--prefix", "+44") == meant("--agent", "nobody") == set()
    assert sandbox.here("stop", "--all", "--dry-run").stdout.endswith("\n2 calls would be stopped\n")
    assert set(live(sandbox)) == {first, second}


def test_it_asks_first_and_takes_no_for_an_answer(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550101", "ringing")
    for answer in ("n\n", ""):
        refused = sandbox.here("stop", "--all", answer=answer)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "Stop 1 call (1 ringing)?" in refused.stderr
        assert refused.stderr.endswith("onhook: nothing was stopped; answer y, or give --yes\n")
    assert live(sandbox) == [call_id]
    agreed = sandbox.here("stop", "--all", answer="y\n")
    assert (agreed.returncode, live(sandbox)) == (0, [])


def test_what_matches_no_call_exits_with_4(sandbox: Sandbox) -> None:
    asked = sandbox.here("stop", "--all")
    assert (asked.returncode, asked.stderr) == (4, "onhook: no live call matches\n")
    assert sandbox.here("stop", "--all", "--yes").returncode == 4
    assert sandbox.here("stop", "--all", "--dry-run").returncode == 4


def test_a_call_that_is_not_confirmed_in_time_exits_with_3(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550110", "answered")
    stopped = sandbox.here("stop", "--all", "--yes", "--wait", "200ms")
    assert stopped.returncode == 3
    ledger, summary = stopped.stdout.splitlines()
    assert ledger == f"{call_id}  answered   ending    completed  pending"
    assert summary.endswith(": 1 call: 1 pending")


def test_json_is_a_line_for_the_order_each_call_and_the_result(sandbox: Sandbox) -> None:
    call_id = sandbox.call("+12025550100", "answered")
    order, item, result = map(json.loads, sandbox.here("stop", "--all", "--yes", "--json").stdout.splitlines())
    assert (order["type"], order["matched"]) == ("bulk_stop", 1)
    assert (item["type"], item["call_id"], item["result"]) == ("call", call_id, "confirmed")
    assert result == {"type": "result", "confirmed": 1, "pending": 0, "unconfirmed": 0, "already_ended": 0}
    shown = json.loads(sandbox.here("stops", "show", order["id"], "--json").stdout)
    assert [one["call_id"] for one in shown["items"]] == [call_id]
    assert order["id"] in [one["id"] for one in json.loads(sandbox.here("stops", "list", "--json").stdout)["items"]]


def test_a_stop_that_blocks_dials_says_how_to_release_them(sandbox: Sandbox) -> None:
    waiting = sandbox.call("+12025550100", "scheduled", delay_seconds=3600)
    blocked = sandbox.here("stop", "--all", "--block-dials", answer="y\n")
    assert blocked.returncode == 0, blocked.stderr
    assert "Stop 0 calls, and let no more of this kind be dialled?" in blocked.stderr
    summary, held, release = blocked.stdout.splitlines()
    assert summary.endswith(": 0 calls")
    assert held == "1 call not dialled yet, held back"
    (block_id,) = re.findall(r"onhook dial-blocks release (block_\w+)", release)
    body = {"from_number": sandbox.file["from_number"], "to_number": "+12025550100"}
    assert sandbox.post("/v1/calls", body).status_code == 429
    assert live(sandbox) == [waiting]

    assert sandbox.here("dial-blocks", "release", block_id).returncode == 0
    assert sandbox.post("/v1/calls", body).status_code == 201


def test_dial_blocks_are_added_listed_and_released(sandbox: Sandbox) -> None:
    number = "+12025550100"
    added = sandbox.here("dial-blocks", "add", "--prefix", number, "--metadata", "a=b", "--reason", "do not call")
    block_id = added.stdout.strip()
    listed = sandbox.here("dial-blocks", "list").stdout
    said = r"--prefix \*{8}0100 --metadata a=b  do not call"
    assert re.fullmatch(rf"[-0-9T:.]+Z  {block_id}  by api_key:key_\w+  {said}\n", listed)
    assert f"--prefix {number} " in sandbox.here("dial-blocks", "list", "--numbers").stdout
    as_json = json.loads(sandbox.here("dial-blocks", "list", "--json").stdout)
    assert [block["selector"]["number_prefixes"] for block in as_json["items"]] == [[number]]

    assert sandbox.here("dial-blocks", "release", block_id).returncode == 0
    again = sandbox.here("dial-blocks", "release", block_id)
    assert (again.returncode, again.stderr) == (1, "onhook: 404: There is no such dial block in this environment.\n")
    assert sandbox.here("dial-blocks", "list").stdout == ""


def test_what_the_server_does_not_take_is_told(sandbox: Sandbox) -> None:
    refused = sandbox.here("dial-blocks", "add", "--prefix", "44")
    assert refused.returncode == 1
    assert refused.stderr.startswith("onhook: 422: Some fields are not valid. selector.number_prefixes.0: ")
    aged = sandbox.here("stop", "--older-than", "1h", "--block-dials", "--yes")
    assert aged.returncode == 1
    assert "no state and no age" in aged.stderr
