"""TalkOver's webhooks and limit on a real server: real SIP, real receivers, what the settings switch on."""

import hashlib
import hmac
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dialect.server_process import local_environment, serving

from onhook.api.talkover.payloads import EVENTS

pytestmark = pytest.mark.dialect

LIMIT_S = 15.0
LIMIT = 5
ANSWERED = [
    "event_phone_call_connected",
    "event_connection_established",
    "event_user_connected",
    "event_participant_joined",
]
ENDED = [
    "event_participant_left",
    "event_user_disconnected",
    "event_connection_closed",
    "event_phone_call_disconnected",
    "event_phone_call_ended",
]


CONVERSATION = {"event_conversation_started", "event_conversation_ended", "event_recording"}
"""What depends on how far the agent came."""


class Receiver:
    """An HTTP server that answers 200 and keeps what it was sent: headers and body."""

    def __init__(self) -> None:
        received: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_request(self, code: object = "-", size: object = "-") -> None:
                """Say nothing."""

        self.received = received
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @contextmanager
    def listening(self) -> Iterator[str]:
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.server.server_port}/hook"
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join(LIMIT_S)

    def next(self) -> tuple[dict[str, str], bytes]:
        return self.received.get(timeout=LIMIT_S)

    def until(self, event: str) -> list[dict[str, Any]]:
        """Return the bodies up to the one of an event."""
        bodies: list[dict[str, Any]] = []
        while not bodies or bodies[-1]["event"] != event:
            bodies.append(json.loads(self.next()[1]))
        return bodies


def test_a_call_is_told_from_start_to_end_to_a_webhook_made_over_http(tmp_path: Path) -> None:
    receiver = Receiver()
    limited = local_environment() | {"ONHOOK_RATE_LIMIT_PER_MINUTE": str(LIMIT)}
    with receiver.listening() as url, serving(tmp_path, limited, "--sandbox"):
        sandbox = json.loads((tmp_path / "onhook-data" / "sandbox.json").read_text())
        agent = f"/api/v1/agents/{sandbox['agent_id']}"
        hook = {"name": "all", "webhook_url": url, "events": list(EVENTS), "webhook_secret": "s3cret"}
        headers = {"Authorization": f"Bearer {sandbox['token']}"}
        with httpx.Client(base_url=sandbox["base_url"], headers=headers, timeout=LIMIT_S) as client:
            made = client.post(f"{agent}/webhooks", json=hook)
            tested = client.post(f"{agent}/webhooks/{made.json()['data']['id']}/test")
            sent_headers, sent_body = receiver.next()
            call = client.post(f"{agent}/call", json={"to": "+12025550100", "context": {"crm": 7}})
            call_id = call.json()["data"]["id"]
            before = receiver.until(ANSWERED[-1])
            # More than two minutes grant, for one may end in between.
            statuses = {client.get("/api/v1/calls").status_code for _ in range(2 * LIMIT + 1)}
            ended = client.post(f"{agent}/end-call", json={"call_sid": call_id})
            after = receiver.until(ENDED[-1])

    assert (tested.status_code, json.loads(sent_body)["event"]) == (200, "webhook.test")
    signature = hmac.new(b"s3cret", sent_body, hashlib.sha256).hexdigest()
    assert sent_headers["x-talkover-signature"] == signature
    assert made.headers["X-RateLimit-Limit"] == str(LIMIT)
    assert 429 in statuses
    assert (ended.status_code, ended.headers["Onhook-Proof"]) == (200, "confirmed")
    assert [body["event"] for body in before] == ["event_phone_call_started", *ANSWERED]
    told = [body["event"] for body in after]
    assert [event for event in told if event not in CONVERSATION] == ENDED
    assert set(told) - set(ENDED) <= CONVERSATION
    assert {body["call_id"] for body in before + after} == {call_id}
    assert all(body["context"] == {"crm": 7} for body in before + after)
    assert {(body["ended_reason"], body["ended_at"]) for body in after if body["event"] in ENDED} == {
        ("ended_by_api", ended.json()["data"]["ended_at"])
    }
