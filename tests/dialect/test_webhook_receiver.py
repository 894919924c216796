"""The example receiver, as a newcomer runs it: against a real server, and against whoever else knocks."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from tests.dialect.server_process import bare_environment, free_port, local_environment, running, serving

from onhook.provision import SandboxFile, read_sandbox
from onhook.webhooks.signatures import new_webhook_secret, standard_headers

pytestmark = pytest.mark.dialect

EXAMPLE = Path(__file__).parents[2] / "examples" / "webhook_receiver.py"
BODY = b'{"type":"call.ended","call_id":"call_1"}'
LIMIT_S = 15.0


@contextmanager
def receiving(cwd: Path, secret: str, port: int) -> Iterator[list[str]]:
    """Run the example; give the lines that it prints."""
    command = [sys.executable, str(EXAMPLE), f"127.0.0.1:{port}"]
    with running(command, "waiting for webhooks", cwd, bare_environment() | {"WEBHOOK_SECRET": secret}) as lines:
        yield lines


@pytest.fixture(name="secret")
def new_secret() -> str:
    return new_webhook_secret()


@pytest.fixture(name="receiver")
def running_receiver(tmp_path: Path, secret: str) -> Iterator[tuple[str, list[str]]]:
    port = free_port()
    with receiving(tmp_path, secret, port) as lines:
        yield f"http://127.0.0.1:{port}/", lines


def told(lines: list[str]) -> list[str]:
    """Return the events that the example printed; the rest is its access log."""
    return [line.strip() for line in lines if line.startswith(("call.", "event_", "webhook."))]


def wait_for(lines: list[str], event: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not any(line.startswith(event) for line in told(lines)):
        assert time.monotonic() < deadline, lines
        time.sleep(0.02)


def test_it_prints_what_a_server_tells_of_a_call(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, local_environment(), "--sandbox"):
        sandbox = read_sandbox(tmp_path / "onhook-data")
        assert sandbox is not None
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        with httpx.Client(base_url=sandbox.base_url, headers=headers) as client:
            hook = created(client, f"http://127.0.0.1:{port}/")
            with receiving(tmp_path, hook["secret"], port) as lines:
                assert client.post(f"/v1/webhooks/{hook['id']}/test").json()["status"] == "success"
                call_id = busy_call(client, sandbox)
                wait_for(lines, "call.ended")
    assert told(lines) == ["webhook.test -", f"call.created {call_id}", f"call.ended {call_id}"]


def created(client: httpx.Client, url: str) -> dict[str, Any]:
    wish = {"name": "Example", "url": url, "events": ["call.created", "call.ended"]}
    hook: dict[str, Any] = client.post("/v1/webhooks", json=wish).raise_for_status().json()
    return hook


def busy_call(client: httpx.Client, sandbox: SandboxFile) -> str:
    numbers = {"from_number": sandbox.from_number, "to_number": "+12025550102"}
    call_id: str = client.post("/v1/calls", json=numbers).raise_for_status().json()["call_id"]
    return call_id


def test_a_repeat_is_acknowledged_and_printed_once(receiver: tuple[str, list[str]], secret: str) -> None:
    url, lines = receiver
    now = int(time.time())
    answers = [httpx.post(url, content=BODY, headers=standard_headers("msg_1", now, BODY, [secret])) for _ in range(2)]
    last = standard_headers("msg_2", now, b'{"type":"webhook.test"}', [secret])
    assert httpx.post(url, content=b'{"type":"webhook.test"}', headers=last).status_code == 204
    wait_for(lines, "webhook.test")
    assert [answer.status_code for answer in answers] == [204, 204]
    assert told(lines) == ["call.ended call_1", "webhook.test -"]


def test_a_delivery_that_is_signed_with_the_old_and_the_new_secret_is_taken(
    receiver: tuple[str, list[str]], secret: str
) -> None:
    headers = standard_headers("msg_1", int(time.time()), BODY, [new_webhook_secret(), secret])
    assert httpx.post(receiver[0], content=BODY, headers=headers).status_code == 204


@pytest.mark.parametrize("fault", ["nothing", "forged", "changed", "old", "garbage"])
def test_what_is_not_from_onhook_is_refused(receiver: tuple[str, list[str]], secret: str, fault: str) -> None:
    url, lines = receiver
    now = int(time.time())
    headers = {
        "nothing": {},
        "forged": standard_headers("msg_1", now, BODY, [new_webhook_secret()]),
        "changed": standard_headers("msg_1", now, BODY + b" ", [secret]),
        "old": standard_headers("msg_1", now - 301, BODY, [secret]),
        "garbage": {"webhook-id": "", "webhook-timestamp": "x", "webhook-signature": "v1 v1, ,"},
    }[fault]
    assert httpx.post(url, content=BODY, headers=headers).status_code == 401
    assert told(lines) == []


def test_it_agrees_with_the_library_of_standard_webhooks(receiver: tuple[str, list[str]], secret: str) -> None:
    now = int(time.time())
    headers = standard_headers("msg_1", now, BODY, [secret])
    assert Webhook(secret).verify(BODY, headers) == {"type": "call.ended", "call_id": "call_1"}
    assert httpx.post(receiver[0], content=BODY, headers=headers).status_code == 204
