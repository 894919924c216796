"""The command line as people and scripts use it: what it prints, where, and the exit code."""

import asyncio
import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest
from tests.dialect.cli_sandbox import Sandbox, running_sandbox
from tests.dialect.server_process import (
    NEEDS_CURL,
    bare_environment,
    free_port,
    local_environment,
    onhook,
    running,
    serving,
)

from onhook.lines.sandbox.numbers import NUMBERS
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Agent, ApiKey, R

pytestmark = pytest.mark.dialect

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture
def run(tmp_path: Path) -> Run:
    environment = local_environment()

    def once(*arguments: str, **variables: str) -> CompletedProcess[str]:
        return onhook(arguments, tmp_path, environment | variables)

    return once


async def stored(data: Path, kind: type[R]) -> list[R]:
    store = SqliteStore(data / "onhook.db")
    await store.open()
    try:
        return await store.find(kind, None)
    finally:
        await store.close()


def shell(command: str) -> str:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True).stdout


# --- configuration objects ---------------------------------------------------------------------------


def test_keys_create_prints_the_token_alone_on_one_line(run: Run) -> None:
    created = run("keys", "create", "--name", "ci")
    assert created.returncode == 0
    assert re.fullmatch(r"key_[0-9a-f]{48}\n", created.stdout)
    assert created.stderr == ""
    assert re.fullmatch(r"talq_[0-9a-f]{48}\n", run("keys", "create", "--talkover").stdout)


def test_keys_list_shows_who_they_are_but_not_the_tokens(run: Run) -> None:
    token = run("keys", "create", "--name", "ci").stdout.strip()
    listed = run("keys", "list").stdout
    assert re.fullmatch(rf"key_[0-9a-f]{{12}}  \.\.\.{token[-4:]}  created [-0-9]+ [:0-9]+Z  ci\n", listed)
    assert token not in listed


def test_a_trunk_an_agent_and_a_number_are_made_from_nothing(run: Run) -> None:
    trunk = run("trunks", "add", "carrier", "sip:sip.example.net:5060;transport=udp", "--username", "u").stdout.strip()
    agent = run("agents", "create", "Ada", "--kind", "echo").stdout.strip()
    number = run("numbers", "add", "+1 202 555 0199", "--trunk", trunk, "--agent", agent).stdout.strip()
    assert run("trunks", "list").stdout == f"{trunk}  sip:sip.example.net:5060;transport=udp  carrier\n"
    assert run("agents", "list").stdout == f"{agent}  published  echo             Ada\n"
    assert run("numbers", "list").stdout == f"{number}  +12025550199  trunk {trunk}  agent {agent}\n"


def test_a_number_is_given_an_agent_for_its_calls_and_a_trunk_what_callers_must_know(run: Run) -> None:
    secret = {"ONHOOK_INBOUND_PASSWORD": "wonderland"}
    named = ("trunks", "add", "carrier", "sip:sip.example.net:5060")
    trunk = run(*named, "--inbound-username", "carrier", **secret).stdout.strip()
    agent = run("agents", "create", "Ada", "--kind", "echo").stdout.strip()
    add = ("numbers", "add", "+1 202 555 0199", "--trunk", trunk)
    number = run(*add, "--inbound-agent", agent).stdout.strip()
    listed = f"{number}  +12025550199  trunk {trunk}  agent -  inbound agent {agent}\n"
    assert run("numbers", "list").stdout == listed
    assert "no agent nobody" in run(*add, "--inbound-agent", "nobody").stderr
    assert "go together" in run(*named, "--inbound-username", "carrier").stderr


def test_an_agent_is_of_the_kind_it_names_else_of_the_servers_and_says_what_it_is_told(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "bye.yaml").write_text("start: end\nstates: {end: {say: Bye., hang_up: true}}\n")
    told = run("agents", "create", "Ada", "--script", "bye.yaml", "--message", "Hi", "--language", "es-ES", "--record")
    assert told.returncode == 0, told.stderr
    bot = run(
        *("agents", "create", "Bob", "--kind", "websocket", "--bot", "wss://bots.example.com/x"),
        ONHOOK_AGENT_URL_ALLOW='["wss://bots.example.com"]',
    )
    assert bot.returncode == 0, bot.stderr
    assert run("agents", "create", "Eve", ONHOOK_AGENT_KIND="echo").returncode == 0
    agents = asyncio.run(stored(tmp_path / "onhook-data", Agent))
    assert {one.name: (one.kind, one.settings) for one in agents} == {
        "Ada": (
            "scripted",
            {
                "script": {"start": "end", "states": {"end": {"say": "Bye.", "hang_up": True}}},
                "initial_message": "Hi",
                "language": "es-ES",
                "record": True,
            },
        ),
        "Bob": ("websocket", {"url": "wss://bots.example.com/x"}),
        "Eve": ("echo", {}),
    }


def test_a_key_that_signs_is_kept_encrypted(run: Run, tmp_path: Path) -> None:
    token = run("keys", "create", "--signs").stdout.strip()
    plain = run("keys", "create").stdout.strip()
    keys = asyncio.run(stored(tmp_path / "onhook-data", ApiKey))
    assert {key.last4: key.secret is not None for key in keys} == {token[-4:]: True, plain[-4:]: False}
    assert token not in str(keys)


def test_a_trunk_password_is_not_on_the_disk_in_the_clear(run: Run, tmp_path: Path) -> None:
    added = run("trunks", "add", "carrier", "sip:192.0.2.1", "--password", "correct-horse-battery")
    assert added.returncode == 0
    files = [path.read_bytes() for path in (tmp_path / "onhook-data").iterdir()]
    assert files
    assert not any(b"correct-horse-battery" in content for content in files)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("keys", "revoke", "key_none"), "no key key_none"),
        (("trunks", "add", "x", "sip.example.net"), "the URI must look like sip:host:port"),
        (("trunks", "add", "x", "sip:a@b;transport=tls"), "the URI must look like sip:host:port"),
        (("numbers", "add", "123", "--trunk", "t"), "international format"),
        (("agents", "create", "x", "--kind", "websocket"), "url: a websocket agent needs the URL of its bot"),
        (("agents", "create", "x", "--kind", "websocket", "--bot", "wss://evil.example"), "url: bots at"),
        (("agents", "create", "x", "--script", "nowhere.yaml"), "nowhere.yaml: No such file"),
        (("numbers", "add", "+12025550199", "--trunk", "trunk_none"), "no trunk trunk_none"),
        (("numbers", "add", "+12025550199"), "set ONHOOK_TRUNK_URI"),
    ],
)
def test_a_wrong_argument_is_named_and_the_exit_code_is_1(run: Run, arguments: tuple[str, ...], complaint: str) -> None:
    refused = run(*arguments)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("onhook: ")
    assert complaint in refused.stderr


def test_a_number_needs_an_agent_that_exists_and_can_be_added_once(run: Run) -> None:
    trunk = run("trunks", "add", "carrier", "sip:192.0.2.1").stdout.strip()
    add = ("numbers", "add", "+12025550199", "--trunk", trunk)
    assert "no agent nobody" in run(*add, "--agent", "nobody").stderr
    assert run(*add).returncode == 0
    again = run(*add)
    assert (again.returncode, again.stderr) == (1, "onhook: +12025550199 is there already\n")


def test_a_number_lives_on_the_trunk_of_the_settings_unless_told_otherwise(run: Run) -> None:
    uri = "sip:sip.example.net;transport=tcp"
    assert run("numbers", "add", "+12025550199", ONHOOK_TRUNK_URI=uri, ONHOOK_TRUNK_PASSWORD="p").returncode == 0
    assert run("trunks", "list").stdout == f"trunk_configured  {uri}  Configured trunk\n"


# --- what is wrong with the surroundings -------------------------------------------------------------


@pytest.mark.parametrize("command", [("serve",), ("doctor",), ("keys", "list"), ("calls", "list")])
def test_an_unknown_setting_stops_every_command_with_78(run: Run, command: tuple[str, ...]) -> None:
    refused = run(*command, ONHOOK_STOP_WAIT="5")
    assert refused.returncode == 78
    assert refused.stderr == "onhook: configuration: unknown setting in the environment: ONHOOK_STOP_WAIT\n"


def test_an_unknown_key_in_the_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "onhook.toml").write_text("stop_wait = 5\n")
    refused = run("serve", "--config", "onhook.toml")
    assert refused.returncode == 78
    assert refused.stderr == "onhook: configuration: stop_wait: there is no such setting\n"


def test_a_bad_secret_key_is_told_without_a_traceback(run: Run) -> None:
    refused = run("trunks", "add", "x", "sip:192.0.2.1", "--password", "p", ONHOOK_SECRET_KEY="short")
    assert refused.returncode == 78
    assert refused.stderr == "onhook: configuration: the secret key must be 32 bytes in URL-safe base64\n"
    assert run("serve", ONHOOK_SECRET_KEY="short").returncode == 78


def test_a_directory_that_cannot_be_is_told_without_a_traceback(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = run("keys", "create", "--data", "file/below")
    assert refused.returncode == 1
    assert refused.stderr.startswith("onhook: database file/below/onhook.db: ")


@pytest.mark.parametrize("setting", ["ONHOOK_HTTP_BIND", "ONHOOK_SIP_BIND"])
def test_serve_names_the_address_that_is_taken(run: Run, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = run("serve", **{setting: address})
    assert refused.returncode == 78
    assert f"{address} cannot be bound" in refused.stderr
    assert setting in refused.stderr


def test_no_server_is_told_with_its_address(run: Run) -> None:
    address = f"127.0.0.1:{free_port()}"
    refused = run("calls", "list", "--token", "key_x", ONHOOK_HTTP_BIND=address)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"onhook: no server answers at http://{address} (")
    assert "onhook serve" in refused.stderr


def test_calls_need_a_key(run: Run) -> None:
    refused = run("calls", "list")
    assert refused.returncode == 1
    assert "onhook keys create" in refused.stderr


# --- a running server --------------------------------------------------------------------------------


def test_a_wrong_token_is_told_with_exit_code_1(sandbox: Sandbox) -> None:
    refused = sandbox.run("calls", "list", "--token", "key_wrong")
    assert refused.returncode == 1
    assert refused.stderr.startswith("onhook: 401: Send a valid API key")


def test_a_revoked_key_is_refused_at_once_by_the_running_server(sandbox: Sandbox) -> None:
    token = sandbox.run("keys", "create", "--name", "short-lived").stdout.strip()
    assert sandbox.get("/v1/calls", token).status_code == 200
    (line,) = (line for line in sandbox.run("keys", "list").stdout.splitlines() if line.endswith("short-lived"))
    assert sandbox.run("keys", "revoke", line.split()[0]).returncode == 0
    assert sandbox.get("/v1/calls", token).status_code == 401
    assert sandbox.get("/v1/calls").status_code == 200


def test_a_second_server_on_the_same_data_is_refused(sandbox: Sandbox) -> None:
    refused = onhook(("serve",), sandbox.cwd, local_environment())
    assert refused.returncode == 78
    assert refused.stderr == "onhook: another onhook server is running on onhook-data\n"


def test_serve_says_where_it_is_and_leaves_with_0(tmp_path: Path) -> None:
    environment = local_environment()
    with serving(tmp_path, environment) as lines:
        assert lines == [f"onhook is ready at http://{environment['ONHOOK_HTTP_BIND']}\n"]
        assert httpx.get(f"http://{environment['ONHOOK_HTTP_BIND']}/healthz").status_code == 200


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
def test_serve_listens_on_ipv6(tmp_path: Path) -> None:
    environment = local_environment() | {"ONHOOK_HTTP_BIND": "[::1]:0"}
    with serving(tmp_path, environment, "--sandbox") as lines:
        url = lines[0].split()[-1]
        assert re.fullmatch(r"http://\[::1\]:\d+", url)
        assert onhook(("calls", "list"), tmp_path, environment).returncode == 0


# --- doctor and phone --------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong_with_a_running_sandbox(sandbox: Sandbox) -> None:
    checked = sandbox.run("doctor")
    assert checked.returncode == 0, checked.stdout
    assert f"ok   server: runs at {sandbox.url} and is ready\n" in checked.stdout
    assert "BAD" not in checked.stdout


def test_doctor_says_what_a_new_directory_lacks(run: Run) -> None:
    checked = run("doctor")
    assert checked.returncode == 1
    assert "BAD  keys: none; run `onhook keys create`" in checked.stdout
    assert "BAD  numbers: none; run `onhook numbers add`" in checked.stdout
    assert re.search(r"ok   ports: \S+ \(HTTP\) and \S+ \(SIP\) are free", checked.stdout)


def test_doctor_asks_every_trunk_whether_it_answers(run: Run, tmp_path: Path) -> None:
    port, silent = free_port(), free_port()
    run("trunks", "add", "good", f"sip:127.0.0.1:{port};transport=udp")
    run("trunks", "add", "dead", f"sip:127.0.0.1:{silent};transport=tcp")
    command = ["onhook", "phone", "--port", str(port)]
    with running(command, "listens on", tmp_path, bare_environment()):
        checked = run("doctor")
    assert f"ok   trunk good: sip:127.0.0.1:{port};transport=udp answers OPTIONS with SIP/2.0 " in checked.stdout
    assert f"BAD  trunk dead: sip:127.0.0.1:{silent};transport=tcp does not answer OPTIONS" in checked.stdout
    assert checked.returncode == 1


def test_doctor_says_that_loopback_does_not_reach_a_carrier(run: Run) -> None:
    run("trunks", "add", "far", "sip:192.0.2.1")
    checked = run("doctor")
    assert "BAD  trunk far: sip:192.0.2.1 cannot be called from 127.0.0.1; set ONHOOK_SIP_BIND=" in checked.stdout


def test_phone_says_where_it_listens_and_what_its_numbers_do(tmp_path: Path) -> None:
    port = free_port()
    with running(
        ["onhook", "phone", "--port", str(port)], f"  +120255501{NUMBERS[-1].digits}", tmp_path, bare_environment()
    ) as lines:
        assert lines[0] == f"The sandbox carrier listens on sip:127.0.0.1:{port};transport=udp\n"
        assert len(lines) == 1 + len(NUMBERS)


def test_phone_on_a_taken_port_says_so(run: Run) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        refused = run("phone", "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"onhook: cannot listen on 127.0.0.1:{port}: ")


@NEEDS_CURL
def test_the_demo_stays_up_and_its_curl_lines_work(tmp_path: Path) -> None:
    with running(["onhook", "demo"], "/timeline", tmp_path, bare_environment()) as lines:
        place, end, timeline = (line.strip() for line in lines if line.strip().startswith("curl "))
        placed = json.loads(shell(place))
        assert placed["success"] is True
        ended = json.loads(shell(end.replace("ID", placed["data"]["id"])))
        assert ended["data"]["ended_reason"] == "ended_by_api"
        events = json.loads(shell(timeline.replace("ID", placed["data"]["id"])))["events"]
        assert events[0]["type"] == "call.created"
    assert lines[-1] == "Good-bye.\n"


def test_a_demo_that_is_cut_short_takes_its_server_with_it(tmp_path: Path) -> None:
    with running(["onhook", "demo", "--exit"], "onhook is up at", tmp_path, bare_environment()) as lines:
        url = lines[0].split()[4].rstrip(",")
        assert httpx.get(f"{url}/healthz").status_code == 200
    assert lines[-1] == "Good-bye.\n"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")


def test_help_names_the_commands(run: Run) -> None:
    helped = run("--help")
    assert helped.returncode == 0
    configured = ("serve", "phone", "demo", "doctor", "keys", "agents", "numbers", "trunks")
    for command in (*configured, "calls", "stop", "stops", "dial-blocks", "events"):
        assert re.search(rf"^\W*{command}\b", helped.stdout, re.MULTILINE)
    assert not re.search(r"^\W*node\b", helped.stdout, re.MULTILINE)
