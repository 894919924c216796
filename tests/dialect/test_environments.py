"""Two environments of one server, made by the operator: neither finds out what the other has, through any API."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dialect.cli_sandbox import CALL_LIMIT_S, Sandbox, running_sandbox
from typer.testing import CliRunner, Result

from onhook.cli import app
from onhook.provision import SANDBOX_PASSWORD, SANDBOX_USERNAME

pytestmark = pytest.mark.dialect

CALLER, CALLEE = "+12025550188", "+12025550100"
"""Both environments have the same number, and call the same one."""

READS = [
    "/v1/agents/{agent}",
    "/v1/calls/{ended}",
    "/v1/calls/{ended}/timeline",
    "/v1/calls/{ended}/transcript",
    "/v1/calls/{ended}/recording",
    "/get-agent/{agent}",
    "/v2/get-call/{ended}",
    "/api/v1/agents/{agent}",
    "/api/v1/agents/{agent}/calls",
    "/api/v1/agents/{quiet}/active-call/%2B12025550100",
]
CHANGES = [
    ("POST", "/v1/calls/{live}/stop", {}),
    ("DELETE", "/v1/calls/{ended}/recording", None),
    ("DELETE", "/v1/agents/{agent}", None),
    ("DELETE", "/v1/trunks/{trunk}", None),
    ("DELETE", "/v1/numbers/{number}", None),
    ("POST", "/v2/stop-call/{live}", None),
    ("DELETE", "/v2/delete-call/{ended}", None),
    ("DELETE", "/delete-agent/{agent}", None),
    ("POST", "/api/v1/agents/{quiet}/end-call", {"call_sid": "{live}"}),
    ("POST", "/api/v1/agents/{agent}/call", {"to": CALLEE}),
    ("DELETE", "/api/v1/agents/{agent}", None),
]
LISTS = [
    ("GET", "/v1/agents"),
    ("GET", "/v1/numbers"),
    ("GET", "/v1/trunks"),
    ("GET", "/v1/calls"),
    ("GET", "/v1/events"),
    ("GET", "/v1/audit"),
    ("GET", "/list-agents"),
    ("POST", "/v3/list-calls"),
    ("GET", "/api/v1/agents"),
    ("GET", "/api/v1/calls"),
    ("GET", "/api/v1/phone-numbers"),
]


class Tenant:
    """An environment that was set up on the command line, with a call that is over and recorded, and a live one."""

    def __init__(self, sandbox: Sandbox, environment: str) -> None:
        def made(*arguments: str) -> str:
            done = sandbox.here(*arguments, "--environment", environment)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        carrier = sandbox.here("trunks", "list").stdout.splitlines()[-1].split()[1]
        account = ("--username", SANDBOX_USERNAME, "--password", SANDBOX_PASSWORD)
        trunk = made("trunks", "add", "carrier", carrier, *account)
        agent = made("agents", "create", "Ada", "--message", "Hello.", "--record")
        number = made("numbers", "add", CALLER, "--trunk", trunk, "--agent", agent)
        quiet = made("agents", "create", "Quiet", "--kind", "silence")
        self.token = made("keys", "create")
        self.client = httpx.Client(base_url=sandbox.url, headers={"Authorization": f"Bearer {self.token}"})
        self.ids = {"trunk": trunk, "agent": agent, "quiet": quiet, "number": number, "ended": self.call(agent)}
        self.client.post(f"/v1/calls/{self.ids['ended']}/stop", json={})
        self.until(self.ids["ended"], "ended")
        self.ids["live"] = self.call(quiet)

    def call(self, agent: str) -> str:
        """Place a call with an agent; return its id once it is answered."""
        order = {"from_number": CALLER, "to_number": CALLEE, "agent_id": agent}
        placed = self.client.post("/v1/calls", json=order)
        assert placed.status_code == 201, placed.text
        call_id: str = placed.json()["call_id"]
        self.until(call_id, "answered")
        return call_id

    def until(self, call_id: str, state: str) -> None:
        deadline = time.monotonic() + CALL_LIMIT_S
        while self.client.get(f"/v1/calls/{call_id}").json()["state"] != state:
            assert time.monotonic() < deadline, f"{call_id} did not become {state}"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def tenants(sandbox: Sandbox) -> Iterator[list[Tenant]]:
    assert sandbox.here("environments", "add", "acme").returncode == 0
    with ExitStack() as stack:
        both = [Tenant(sandbox, "default"), Tenant(sandbox, "acme")]
        for one in both:
            stack.callback(one.client.close)
        yield both
        for one in both:
            one.client.post("/v1/stops", json={"selector": {"all": True}})


@pytest.fixture(params=[False, True], ids=["the default one's", "the new one's"])
def sides(request: pytest.FixtureRequest, tenants: list[Tenant]) -> list[Tenant]:
    """Whose it is, and who else asks for it."""
    return tenants[::-1] if request.param else tenants


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def once(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])

    return once


def unknown(ids: dict[str, str]) -> dict[str, str]:
    """Return ids of the same looks that nobody has."""
    return {name: one[:-1] + ("1" if one[-1] == "0" else "0") for name, one in ids.items()}


def answer(asks: Tenant, ids: dict[str, str], method: str, path: str, body: dict[str, str] | None) -> tuple[int, str]:
    """Return status and body of what is answered, without the ids that were asked for."""
    filled = {name: text.format(**ids) for name, text in body.items()} if body is not None else None
    response = asks.client.request(method, path.format(**ids), json=filled)
    text = response.text
    for name, one in ids.items():
        text = text.replace(one, name)
    return response.status_code, text


# --- what the other one has ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", READS)
def test_what_another_environment_has_looks_like_what_nobody_has(sides: list[Tenant], path: str) -> None:
    owner, other = sides
    assert owner.client.get(path.format(**owner.ids)).status_code == 200
    refused = answer(other, owner.ids, "GET", path, None)
    assert refused[0] in (404, 422)
    assert refused == answer(other, unknown(owner.ids), "GET", path, None)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=[f"{method} {path}" for method, path, _ in CHANGES])
def test_what_another_environment_has_cannot_be_changed(
    sides: list[Tenant], method: str, path: str, body: dict[str, str] | None
) -> None:
    owner, other = sides
    refused = answer(other, owner.ids, method, path, body)
    assert refused[0] in (404, 422)
    assert refused == answer(other, unknown(owner.ids), method, path, body)
    there = ("/v1/agents/{agent}", "/v1/calls/{ended}/recording", "/v1/calls/{live}")
    assert [owner.client.get(one.format(**owner.ids)).status_code for one in there] == [200, 200, 200]
    assert owner.client.get(f"/v1/calls/{owner.ids['live']}").json()["state"] == "answered"


@pytest.mark.parametrize(("method", "path"), LISTS)
def test_a_list_holds_nothing_of_another_environment(sides: list[Tenant], method: str, path: str) -> None:
    owner, other = sides
    listed = owner.client.request(method, path, json={} if method == "POST" else None)
    assert listed.is_success, listed.text
    assert [one for one in owner.ids.values() if one in listed.text]
    assert [one for one in other.ids.values() if one in listed.text] == []


def test_an_order_to_stop_all_ends_the_calls_of_its_own_environment_alone(
    sandbox: Sandbox, tenants: list[Tenant]
) -> None:
    first, second = tenants
    assert sandbox.here("stop", "--all", "--yes", "--token", second.token).returncode == 0
    second.until(second.ids["live"], "ended")
    assert first.client.get(f"/v1/calls/{first.ids['live']}").json()["state"] == "answered"
    second.ids["live"] = second.call(second.ids["quiet"])


# --- the command line ----------------------------------------------------------------------------------


def test_environments_are_listed_and_the_default_one_is_always_there(run: Any) -> None:
    added = run("environments", "add", "acme-2")
    assert (added.exit_code, added.output) == (0, "")
    listed = run("environments", "list").stdout.splitlines()
    assert sorted(line.split()[0] for line in listed) == ["acme-2", "default"]


def test_the_audit_log_of_an_environment_says_who_made_it_and_what_is_in_it(run: Any) -> None:
    run("environments", "add", "acme")
    agent = run("agents", "create", "Ada", "--environment", "acme").stdout.strip()
    run("keys", "create", "--environment", "acme")
    entries = json.loads(run("audit", "list", "--environment", "acme", "--json").stdout)["items"]
    assert [(one["actor"], one["action"]) for one in entries] == [
        ("operator", "environment.create"),
        ("operator", "agent.create"),
        ("operator", "key.create"),
    ]
    assert [one["target"] for one in entries][:2] == ["acme", agent]
    assert json.loads(run("audit", "list", "--json").stdout)["items"] == []


@pytest.mark.parametrize("kind", ["keys", "agents", "trunks", "numbers"])
def test_the_lists_are_those_of_one_environment(run: Any, kind: str) -> None:
    run("environments", "add", "acme")
    trunk = run("trunks", "add", "carrier", "sip:192.0.2.1", "--environment", "acme").stdout.strip()
    for made in (("keys", "create"), ("agents", "create", "Ada"), ("numbers", "add", CALLER, "--trunk", trunk)):
        assert run(*made, "--environment", "acme").exit_code == 0
    assert len(run(kind, "list", "--environment", "acme").stdout.splitlines()) == 1
    assert run(kind, "list").stdout == ""


@pytest.mark.parametrize(
    "command",
    [
        ("keys", "create"),
        ("keys", "list"),
        ("agents", "create", "Ada"),
        ("trunks", "add", "carrier", "sip:192.0.2.1"),
        ("numbers", "add", CALLER),
    ],
)
def test_an_environment_that_nobody_added_is_refused(run: Any, command: tuple[str, ...]) -> None:
    refused = run(*command, "--environment", "acme")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == "onhook: no environment acme; `onhook environments list` names them\n"


def test_a_number_cannot_have_the_trunk_or_the_agent_of_another_environment(run: Any) -> None:
    run("environments", "add", "acme")
    theirs = run("trunks", "add", "carrier", "sip:192.0.2.1").stdout.strip()
    agent = run("agents", "create", "Ada").stdout.strip()
    add = ("numbers", "add", CALLER, "--environment", "acme")
    assert f"no trunk {theirs} in acme" in run(*add, "--trunk", theirs).stderr
    trunk = run("trunks", "add", "carrier", "sip:192.0.2.1", "--environment", "acme").stdout.strip()
    assert f"no agent {agent}" in run(*add, "--trunk", trunk, "--agent", agent).stderr


@pytest.mark.parametrize("name", ["default", "acme"])
def test_a_name_that_is_taken_is_refused(run: Any, name: str) -> None:
    run("environments", "add", "acme")
    refused = run("environments", "add", name)
    assert (refused.exit_code, refused.stderr) == (1, f"onhook: {name} is there already\n")


@pytest.mark.parametrize("name", ["", "Acme", "a/b", "../x", "-a", "a" * 64, "ä", "acme\n"])
def test_a_name_that_is_no_name_is_refused(run: Any, name: str) -> None:
    refused = run("environments", "add", "--", name)
    assert refused.exit_code != 0
    assert "no environment" in run("keys", "create", f"--environment={name}").stderr
