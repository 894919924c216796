"""`onhook demo`: a server, a carrier and three real calls: a conversation, and two that are ended and proved."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from onhook.cli.common import fail
from onhook.cli.receiver import Receiver, retell_check, running_receiver, talkover_check
from onhook.cli.show import timeline_lines
from onhook.provision import SandboxFile, read_sandbox
from onhook.webhooks.signatures import new_webhook_secret

INTERRUPTED = 130
"""Exit code of a tour that was cut short, as shells have it."""

START_LIMIT_S = 20.0
AGENTS_LIMIT_S = 20.0
CALL_LIMIT_S = 10.0
CONVERSATION_LIMIT_S = 60.0
TALK_S = 2.0
"""How long the agent is left talking before it is cut."""

SAYS_YES, PRESSES_ONE = "+12025550122", "+12025550124"
"""Who is called for a conversation: where speech cannot be understood, somebody who presses keys."""

TALKOVER_EVENTS = (
    "event_phone_call_started",
    "event_conversation_started",
    "event_recording",
    "event_phone_call_ended",
)
RETELL_EVENTS = ("call_started", "call_ended")
"""The webhooks that are shown, the last one of a call at the end."""

LEFT_OUT = frozenset({"call.created", "call.dialed", "call.agent_started", "call.conversation_ended", "call.recording"})
"""Events of a call that the tour does not show."""


class _Tour(NamedTuple):
    """What the calls of the tour are made with; `retell_agent_id` is the agent whose webhooks are Retell's."""

    client: httpx.AsyncClient
    sandbox: SandboxFile
    receiver: Receiver
    retell_agent_id: str


async def run_demo(*, stay: bool) -> int:
    """Start everything on free ports in a temporary directory, give the tour, leave or stay up; return the exit code.

    Ctrl-C, SIGTERM and the end of the terminal end it at any moment, and the server with it.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("the demo runs in a task")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with tempfile.TemporaryDirectory(prefix="onhook-demo-") as directory, _server(Path(directory)) as server:
        try:
            sandbox = await _ready(server, Path(directory))
            async with running_receiver() as receiver:
                await _give_tour(sandbox, receiver)
                if stay:
                    _invite(sandbox)
                    await _tell_webhooks(receiver)
        except asyncio.CancelledError:
            say("\nGood-bye.")
            return 0 if stay else INTERRUPTED
    return 0


async def _give_tour(sandbox: SandboxFile, receiver: Receiver) -> None:
    say(f"onhook is up at {sandbox.base_url}, with a sandbox carrier behind it: real SIP and RTP on loopback.")
    async with httpx.AsyncClient(
        base_url=sandbox.base_url, headers={"Authorization": f"Bearer {sandbox.token}"}, timeout=30
    ) as client:
        await _listen_to_talkover(client, sandbox, receiver)
        tour = _Tour(client, sandbox, receiver, await _listen_to_retell(client, receiver))
        await _conversation_tour(tour)
        await _retell_tour(tour)
        await _early_stop_tour(tour)


def say(line: str = "") -> None:
    """Print one line at once."""
    print(line, flush=True)


async def _listen_to_talkover(client: httpx.AsyncClient, sandbox: SandboxFile, receiver: Receiver) -> None:
    """Have the receiver told of the calls of the sandbox's agent, in TalkOver's way."""
    secret = new_webhook_secret()
    webhook = {
        "name": "Demo",
        "webhook_url": receiver.expect("talkover", talkover_check(secret)),
        "webhook_secret": secret,
        "events": TALKOVER_EVENTS,
    }
    (await client.post(f"/api/v1/agents/{sandbox.agent_id}/webhooks", json=webhook)).raise_for_status()


async def _listen_to_retell(client: httpx.AsyncClient, receiver: Receiver) -> str:
    """Create an agent whose webhooks go to the receiver in Retell's way, and the key that signs; return its id."""
    key = (await client.post("/v1/keys", json={"name": "Webhooks", "signs_webhooks": True})).raise_for_status().json()
    agent = {
        "agent_name": "Demo",
        "response_engine": {"type": "retell-llm", "llm_id": "none"},
        "voice_id": "none",
        "webhook_url": receiver.expect("retell", retell_check(key["token"])),
        "webhook_events": RETELL_EVENTS,
    }
    agent_id: str = (await client.post("/create-agent", json=agent)).raise_for_status().json()["agent_id"]
    return agent_id


async def _conversation_tour(tour: _Tour) -> None:
    say("\n1. A conversation: the agent asks, listens, says farewell and hangs up")
    callee = SAYS_YES if await _understands_speech(tour.client) else PRESSES_ONE
    agent = f"/api/v1/agents/{tour.sandbox.agent_id}"
    call = await _post(tour.client, f"{agent}/call", {"to": callee})
    call_id = call.json()["data"]["id"]
    await _follow(tour, call_id, CONVERSATION_LIMIT_S)
    await _show_webhooks(tour, call_id, TALKOVER_EVENTS[-1])
    recording = (await tour.client.get(f"/v1/calls/{call_id}/recording")).raise_for_status()
    say(f"     recorded  {len(recording.content):,} bytes, both voices: GET /v1/calls/{call_id}/recording")


async def _retell_tour(tour: _Tour) -> None:
    say("\n2. A call ended through the Retell API, in the middle of a sentence")
    call_id = await _create_phone_call(tour, SAYS_YES)
    await _until(tour.client, call_id, "answered")
    await asyncio.sleep(TALK_S)
    answer = await _post(tour.client, f"/v2/stop-call/{call_id}")
    say(f"   {answer.status_code} (no body), Onhook-Proof: {answer.headers['onhook-proof']}")
    await _follow(tour, call_id, CALL_LIMIT_S)
    await _show_webhooks(tour, call_id, RETELL_EVENTS[-1])


async def _early_stop_tour(tour: _Tour) -> None:
    say("\n3. A call stopped before the carrier has said a word, and answered all the same (a ghost call elsewhere)")
    agent = f"/api/v1/agents/{tour.sandbox.agent_id}"
    call = await _post(tour.client, f"{agent}/call", {"to": "+12025550107"})
    call_id = call.json()["data"]["id"]
    await asyncio.sleep(0.3)
    answer = await _post(tour.client, f"{agent}/end-call", {"call_sid": call_id})
    say(f"   {answer.status_code} {answer.text}")
    say(f"   Onhook-Proof: {answer.headers['onhook-proof']}")
    await _follow(tour, call_id, CALL_LIMIT_S)
    await _show_webhooks(tour, call_id, TALKOVER_EVENTS[-1])


async def _create_phone_call(tour: _Tour, to_number: str) -> str:
    """Place a call as Retell's users do; return its id."""
    numbers = {"from_number": tour.sandbox.from_number, "to_number": to_number}
    order = numbers | {"override_agent_id": tour.retell_agent_id}
    call_id: str = (await _post(tour.client, "/v2/create-phone-call", order)).json()["call_id"]
    return call_id


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    say(f"   POST {path}" + (f" {httpx.Request('POST', 'http://x', json=body).content.decode()}" if body else ""))
    response = await client.post(path, json=body)
    response.raise_for_status()
    return response


async def _until(client: httpx.AsyncClient, call_id: str, state: str) -> None:
    """Wait until the call is in `state`. Leaves the demo when that takes too long."""
    deadline = time.monotonic() + CALL_LIMIT_S
    while time.monotonic() < deadline:
        call = (await client.get(f"/v1/calls/{call_id}")).raise_for_status().json()
        if call["state"] == state:
            return
        await asyncio.sleep(0.05)
    fail(f"call {call_id} did not become {state} within {CALL_LIMIT_S:.0f} s")


async def _understands_speech(client: httpx.AsyncClient) -> bool:
    """Wait for the agent processes; say whether speech can be recognised. Leaves the demo when they do not come up."""
    deadline = time.monotonic() + AGENTS_LIMIT_S
    components: dict[str, str] = {}
    while time.monotonic() < deadline:
        components = (await client.get("/readyz")).json()["components"]
        if components["agent_processes"] == "ok":
            return components["recognition"] == "ok"
        await asyncio.sleep(0.1)
    fail(f"the agent processes are not up: {components['agent_processes']}")


async def _follow(tour: _Tour, call_id: str, limit_s: float) -> None:
    """Print a call's timeline as it happens, and its proof once it has ended. Leaves the demo when that takes long."""
    shown = 0
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        call = (await tour.client.get(f"/v1/calls/{call_id}")).raise_for_status().json()
        timeline = (await tour.client.get(f"/v1/calls/{call_id}/timeline")).raise_for_status().json()
        lines = timeline_lines(call, timeline)
        for line, event in zip(lines[shown:], timeline["events"][shown:], strict=False):
            if _is_shown(event):
                say(f"   {line}")
        shown = len(timeline["events"])
        if call["state"] == "ended":
            for line in lines[shown:]:
                say(f"   {line}")
            return
        await asyncio.sleep(0.1)
    fail(f"call {call_id} did not end within {limit_s:.0f} s")


def _is_shown(event: dict[str, Any]) -> bool:
    return event["type"] not in LEFT_OUT and event["data"].get("status") != 100


async def _show_webhooks(tour: _Tour, call_id: str, last_event: str) -> None:
    """Print the webhooks that told of a call."""
    try:
        async with asyncio.timeout(CALL_LIMIT_S):
            arrived = await tour.receiver.until(call_id, last_event)
    except TimeoutError:
        fail(f"the webhook {last_event} of call {call_id} did not come within {CALL_LIMIT_S:.0f} s")
    for one in arrived:
        say(f"   {one}")
    if not all(one.signed for one in arrived):
        fail("a webhook is not signed as it should be")


async def _tell_webhooks(receiver: Receiver) -> None:
    """Print the webhooks of the calls that the visitor places."""
    while True:
        delivered = await receiver.next()
        say(f"{delivered}  {delivered.call_id}")


def _invite(sandbox: SandboxFile) -> None:
    agent = f"{sandbox.base_url}/api/v1/agents/{sandbox.agent_id}"
    headers = f"-H 'Authorization: Bearer {sandbox.token}' -H 'Content-Type: application/json'"
    say(f"""
Your turn. The server stays up until Ctrl-C.
  API key: {sandbox.token}
  Place a call (the last two digits choose what the far end does, see docs/how-to/failure-sandbox.md):
    curl -s {headers} -d '{{"to": "+12025550101"}}' {agent}/call
  End it:
    curl -s {headers} -d '{{"call_sid": "ID"}}' {agent}/end-call
  See its timeline:
    curl -s {headers} {sandbox.base_url}/v1/calls/ID/timeline
  The webhooks of your calls follow here.
""")


@contextlib.contextmanager
def _server(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `onhook serve --sandbox` on free ports; its output goes to a file in `directory`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ONHOOK_")}
    environment |= {"ONHOOK_HTTP_BIND": "127.0.0.1:0", "ONHOOK_SIP_BIND": "127.0.0.1:0"}
    with (directory / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "onhook", "serve", "--sandbox", "--data", str(directory)]
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


async def _ready(server: subprocess.Popen[bytes], directory: Path) -> SandboxFile:
    """Wait for the server to write its `sandbox.json`."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and server.poll() is None:
        sandbox = read_sandbox(directory)
        if sandbox is not None:
            return sandbox
        await asyncio.sleep(0.05)
    fail(f"the server did not start:\n{(directory / 'server.log').read_text()}")
