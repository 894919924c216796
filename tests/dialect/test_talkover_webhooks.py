"""TalkOver's agent webhooks: their settings, tests, logs and retries, and what a receiver gets."""

import asyncio
import hashlib
import hmac
import re
from typing import Any

import httpx
import msgspec
import pytest
from tests.dialect.conftest import Rig
from tests.unit.courier_bench import status

from onhook.api.talkover.payloads import EVENTS
from onhook.calls.call import Dialect
from onhook.store.outbox import WebhookEndpoint
from onhook.webhooks.courier import KEEP_MS
from onhook.webhooks.transport import Answer, Request

pytestmark = pytest.mark.dialect

URL = "https://hooks.example.com/talkover"
HOOK: dict[str, Any] = {"name": "CRM", "webhook_url": URL, "events": ["event_phone_call_ended"]}
MICROSECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NO_WEBHOOK = {"success": False, "message": "Webhook not found."}
NO_AGENT = {"success": False, "message": "Agent not found in this environment."}
NOT_RETRIABLE = {"success": False, "message": "Log cannot be retried", "code": "LOG_NOT_RETRIABLE"}

ITEM_ENDPOINTS = [
    ("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/toggle"), ("POST", "/test"), ("GET", "/logs"),
    ("POST", "/logs/x/retry"),
]  # fmt: skip
ENDPOINTS = [("GET", None), ("POST", None), *ITEM_ENDPOINTS]


def hooks(agent_id: str, webhook_id: str | None = None, rest: str = "") -> str:
    path = f"/api/v1/agents/{agent_id}/webhooks"
    return path if webhook_id is None else f"{path}/{webhook_id}{rest}"


async def created(rig: Rig, client: httpx.AsyncClient, **changes: Any) -> str:
    """Create a webhook and return its path."""
    answer = await client.post(hooks(rig.mine.agent_id), json=HOOK | changes)
    assert answer.status_code == 200, answer.text
    return hooks(rig.mine.agent_id, answer.json()["data"]["id"])


async def stored(rig: Rig, path: str) -> WebhookEndpoint:
    endpoint = await rig.store.get(WebhookEndpoint, path.rpartition("/")[2], rig.mine.environment_id)
    assert endpoint is not None
    return endpoint


async def delivered(rig: Rig, count: int) -> list[dict[str, Any]]:
    """Let the courier work until it has sent `count` requests; return their bodies."""
    enough, answer = asyncio.Event(), rig.transport.script

    def counted(request: Request) -> Answer | None:
        if len(rig.transport.sent) >= count:
            enough.set()
        return answer(request)

    rig.transport.script = counted
    await rig.courier.start()
    async with asyncio.timeout(5):
        await enough.wait()
    await rig.courier.close()
    rig.transport.script = answer
    return [msgspec.json.decode(request.body) for request in rig.transport.sent]


# --- create, read, change, delete --------------------------------------------------------------------


async def test_a_webhook_is_created_with_the_defaults_of_its_page(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post(hooks(rig.mine.agent_id), json=HOOK)

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert answer.json() == {"success": True, "message": "Webhook created successfully", "data": data}
    assert {name: value for name, value in data.items() if name not in ("id", "created_at", "updated_at")} == {
        "agent_id": rig.mine.agent_id,
        "name": "CRM",
        "webhook_url": URL,
        "events": ["event_phone_call_ended"],
        "timeout": 30,
        "max_retries": 3,
        "enabled": True,
        "events_count": 1,
        "status": "active",
    }
    assert MICROSECONDS.fullmatch(data["created_at"])
    assert data["updated_at"] == data["created_at"]
    assert (await client.get(hooks(rig.mine.agent_id, data["id"]))).json() == {"success": True, "data": data}


async def test_what_a_webhook_is_created_with_is_kept(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(
        rig,
        client,
        webhook_secret="s3cret",
        timeout=5,
        max_retries=0,
        enabled=False,
        http_method="PUT",
        authorization_scheme="bearer",
        custom_headers=[{"key": "X-Token", "value": "abc"}],
        payload_templates={"event_phone_call_ended": {"id": "{{call.id}}"}},
        events=["event_phone_call_ended", "event_phone_call_started", "event_phone_call_ended"],
    )

    data = (await client.get(path)).json()["data"]
    assert (data["timeout"], data["max_retries"], data["enabled"], data["status"]) == (5, 0, False, "disabled")
    assert (data["events"], data["events_count"]) == (["event_phone_call_ended", "event_phone_call_started"], 2)
    endpoint = await stored(rig, path)
    assert (endpoint.dialect, endpoint.agent_id) == (Dialect.TALKOVER, rig.mine.agent_id)
    assert (endpoint.http_method, endpoint.headers) == ("PUT", {"X-Token": "abc"})
    assert endpoint.payload_templates == {"event_phone_call_ended": {"id": "{{call.id}}"}}


async def test_a_secret_is_stored_encrypted_and_never_shown(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post(hooks(rig.mine.agent_id), json=HOOK | {"webhook_secret": "s3cret"})
    path = hooks(rig.mine.agent_id, answer.json()["data"]["id"])
    shown = [answer, await client.get(path), await client.get(hooks(rig.mine.agent_id))]

    assert not any("secret" in one.text or "s3cret" in one.text for one in shown)
    secret = (await stored(rig, path)).secret
    assert secret is not None
    assert "s3cret" not in secret
    assert rig.secrets.decrypt(secret) == "s3cret"


async def test_webhooks_are_listed_with_the_22_events(rig: Rig, client: httpx.AsyncClient) -> None:
    paths = [await created(rig, client), await created(rig, client, name="second")]
    answer = await client.get(hooks(rig.mine.agent_id))

    assert answer.status_code == 200
    assert set(answer.json()["data"]) == {"webhooks", "available_events"}
    found = {hooks(rig.mine.agent_id, one["id"]) for one in answer.json()["data"]["webhooks"]}
    assert found == set(paths)
    assert answer.json()["data"]["available_events"] == EVENTS
    assert len(EVENTS) == 22


async def test_an_update_changes_what_it_gives_and_nothing_else(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(rig, client, webhook_secret="s3cret", custom_headers=[{"key": "X-A", "value": "b"}])
    before = await stored(rig, path)
    answer = await client.put(path, json={"name": "ERP", "events": ["event_phone_call_started"], "timeout": None})

    assert answer.status_code == 200
    assert answer.json()["message"] == "Webhook updated successfully"
    assert answer.json()["data"]["name"] == "ERP"
    after = await stored(rig, path)
    changed = {"name", "events", "wants", "updated_at"}
    same = set(before.__struct_fields__) - changed
    assert {name: getattr(after, name) for name in same} == {name: getattr(before, name) for name in same}
    assert [list(names) for names in after.wants.values()] == [["event_phone_call_started"]]


@pytest.mark.parametrize("nothing", [None, ""])
async def test_an_update_can_take_the_secret_away(rig: Rig, client: httpx.AsyncClient, nothing: str | None) -> None:
    path = await created(rig, client, webhook_secret="s3cret")
    await client.put(path, json={"webhook_secret": nothing})

    assert (await stored(rig, path)).secret is None


async def test_toggle_flips_and_says_so(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(rig, client)
    answers = [(await client.patch(f"{path}/toggle")).json() for _ in range(2)]

    assert [one["message"] for one in answers] == ["Webhook disabled", "Webhook enabled"]
    assert [(one["data"]["enabled"], one["data"]["status"]) for one in answers] == [
        (False, "disabled"),
        (True, "active"),
    ]


async def test_a_deleted_webhook_is_gone(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(rig, client)
    answer = await client.delete(path)

    assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Webhook deleted successfully"})
    again = await client.delete(path)
    assert (again.status_code, again.json()) == (404, NO_WEBHOOK)
    assert (await client.get(hooks(rig.mine.agent_id))).json()["data"]["webhooks"] == []


@pytest.mark.parametrize(
    ("field", "value", "key", "message"),
    [
        ("name", None, "name", "The name field is required."),
        ("name", "x" * 256, "name", "The name may not be greater than 255 characters."),
        ("webhook_url", "", "webhook_url", "The webhook url field is required."),
        ("webhook_url", "nope", "webhook_url", "The webhook url must be a valid URL."),
        ("webhook_url", "ftp://example.com", "webhook_url", "The webhook url must be a valid URL."),
        ("webhook_url", "https://a b.example/", "webhook_url", "The webhook url must be a valid URL."),
        (
            "webhook_url",
            f"https://example.com/{'x' * 500}",
            "webhook_url",
            "The webhook url may not be greater than 500 characters.",
        ),
        (
            "webhook_url",
            "http://169.254.169.254/latest",
            "webhook_url",
            "The webhook url must not be an address of a private network.",
        ),
        ("events", [], "events", "The events field must contain at least 1 items."),
        ("events", None, "events", "The events field is required."),
        ("events", ["webhook.test"], "events.0", "The selected events.0 is invalid."),
        ("timeout", 4, "timeout", "The timeout must be between 5 and 120."),
        ("timeout", 121, "timeout", "The timeout must be between 5 and 120."),
        ("max_retries", 11, "max_retries", "The max retries must be between 0 and 10."),
        ("http_method", "GET", "http_method", "The selected http method is invalid."),
        ("authorization_scheme", "digest", "authorization_scheme", "The selected authorization scheme is invalid."),
        (
            "webhook_secret",
            "x" * 256,
            "webhook_secret",
            "The webhook secret may not be greater than 255 characters.",
        ),
        (
            "custom_headers",
            [{"key": "X-A\r\nX-B", "value": "c"}],
            "custom_headers.0.key",
            "The selected custom headers.0.key is invalid.",
        ),
        (
            "custom_headers",
            [{"key": "X-A", "value": "b\nc"}],
            "custom_headers.0.value",
            "The selected custom headers.0.value is invalid.",
        ),
        ("payload_templates", {"nope": {}}, "payload_templates", "The selected payload templates is invalid."),
        (
            "payload_templates",
            {"event_phone_call_ended": {"a": ["{{context}}" * 50, {"b": "{{context}}" * 51}]}},
            "payload_templates",
            "The payload templates may not hold more than 100 placeholders each.",
        ),
        ("payload_templates", [], "payload_templates", "The payload templates must be an object."),
    ],
)
async def test_a_new_webhook_is_checked_field_by_field(
    memory_rig: Rig, field: str, value: object, key: str, message: str
) -> None:
    async with memory_rig.client() as client:
        answer = await client.post(hooks(memory_rig.mine.agent_id), json=HOOK | {field: value})

    assert answer.status_code == 422
    assert answer.json() == {"message": "The given data was invalid.", "errors": {key: [message]}}


async def test_an_update_is_checked_by_the_same_rules(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(rig, client)
    wrong = {"webhook_url": "http://localhost/", "timeout": 5}
    refused = await client.put(path, json=wrong)

    assert refused.status_code == 422
    assert set(refused.json()) == {"message", "errors"}
    assert (await client.put(path, json={"events": []})).status_code == 422
    assert (await stored(rig, path)).timeout_s == 30


# --- who may ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "rest"), ENDPOINTS)
async def test_without_a_token_every_page_says_so_in_its_own_shape(
    memory_rig: Rig, method: str, rest: str | None
) -> None:
    path = hooks(memory_rig.mine.agent_id, None if rest is None else "some", rest or "")
    async with memory_rig.client() as client:
        answer = await client.request(method, path, headers={"Authorization": ""})

    assert (answer.status_code, answer.json()) == (401, {"message": "Missing Bearer Token"})


@pytest.mark.parametrize(("method", "rest"), ENDPOINTS)
async def test_another_environments_agents_and_webhooks_are_not_found(
    rig: Rig, client: httpx.AsyncClient, method: str, rest: str | None
) -> None:
    path = await created(rig, client)
    webhook_id = path.rpartition("/")[2]
    body = HOOK if (method, rest) in (("POST", None), ("PUT", "")) else None
    async with rig.client(tenant=rig.other) as stranger:
        mine = await stranger.request(
            method, hooks(rig.mine.agent_id, None if rest is None else webhook_id, rest or ""), json=body
        )
        assert (mine.status_code, mine.json()) == (404, NO_AGENT)
        if rest is not None:
            theirs = await stranger.request(method, hooks(rig.other.agent_id, webhook_id, rest), json=body)
            assert (theirs.status_code, theirs.json()) == (404, NO_WEBHOOK)
    assert (await client.get(path)).status_code == 200
    assert rig.transport.sent == []


# --- deliveries, the test, logs, retries --------------------------------------------------------------


async def test_the_end_of_a_call_is_delivered_signed_with_the_context(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(
        rig, client, webhook_secret="s3cret", http_method="PATCH", custom_headers=[{"key": "X-A", "value": "b"}]
    )
    made = await client.post(
        f"/api/v1/agents/{rig.mine.agent_id}/call",
        json={"to": "+12025550100", "context": {"crm": 7, "none": None}, "is_testing": True},
    )
    call_id = made.json()["data"]["id"]
    await rig.settled(call_id)
    ended = await client.post(f"/api/v1/agents/{rig.mine.agent_id}/end-call", json={"call_sid": call_id})
    await rig.settled(call_id)
    (body,) = await delivered(rig, 1)

    (sent,) = rig.transport.sent
    assert (sent.method, sent.url, sent.headers["X-A"], sent.timeout_s) == ("PATCH", URL, "b", 30.0)
    signature = hmac.new(b"s3cret", sent.body, hashlib.sha256).hexdigest()
    assert sent.headers["X-TalkOver-Signature"] == signature
    assert (body["event"], body["call_id"], body["status"]) == ("event_phone_call_ended", call_id, "completed")
    assert (body["ended_reason"], body["ended_at"]) == ("ended_by_api", ended.json()["data"]["ended_at"])
    assert (body["context"], body["is_testing"]) == ({"crm": 7, "none": None}, True)
    (log,) = (await client.get(f"{path}/logs")).json()["data"]
    assert (log["event"], log["status"], log["request_payload"]) == ("event_phone_call_ended", "success", body)


async def test_a_template_replaces_the_body(rig: Rig, client: httpx.AsyncClient) -> None:
    await created(
        rig, client, payload_templates={"event_phone_call_ended": {"id": "{{call.id}}", "by": "n={{call.number}}"}}
    )
    call = await rig.call("+12025550102")

    assert await delivered(rig, 1) == [{"id": call.id, "by": "n="}]


async def test_a_webhook_that_is_off_is_sent_nothing(rig: Rig, client: httpx.AsyncClient) -> None:
    off, on = await created(rig, client, enabled=False), await created(rig, client, name="on")
    await rig.call("+12025550102")
    await delivered(rig, 1)

    assert [len((await client.get(f"{path}/logs")).json()["data"]) for path in (off, on)] == [0, 1]


async def test_a_test_is_sent_at_once_and_logged(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(rig, client, timeout=7, webhook_secret="s3cret", enabled=False)
    answer = await client.post(f"{path}/test")

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert answer.json() == {"success": True, "message": "Test webhook sent successfully", "data": data}
    assert (data["status_code"], type(data["response_time"])) == (200, int)
    (sent,) = rig.transport.sent
    body = msgspec.json.decode(sent.body)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body.pop("timestamp"))
    assert body == {
        "event": "webhook.test",
        "agent_id": rig.mine.agent_id,
        "agent_name": "ada",
        "webhook_id": path.rpartition("/")[2],
        "webhook_name": "CRM",
        "test": True,
    }
    assert sent.timeout_s == 7
    assert "X-TalkOver-Signature" in sent.headers
    (log,) = (await client.get(f"{path}/logs")).json()["data"]
    assert (log["event"], log["attempt"], log["status"], log["http_status"]) == ("webhook.test", 1, "success", 200)
    retried = await client.post(f"{path}/logs/{log['id']}/retry")
    assert (retried.status_code, retried.json()) == (422, NOT_RETRIABLE)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(500, {}, "oops"), "Webhook test failed: HTTP 500 Internal Server Error"),
        (Answer(302, {}, ""), "Webhook test failed: HTTP 302 Found"),
        (Answer(599, {}, ""), "Webhook test failed: HTTP 599"),
        (None, "Webhook test failed: Connection timeout"),
    ],
)
async def test_a_test_that_fails_says_why_and_is_logged(
    rig: Rig, client: httpx.AsyncClient, answer: Answer | None, message: str
) -> None:
    path = await created(rig, client)
    rig.transport.script = lambda _: answer
    failed = await client.post(f"{path}/test")

    assert (failed.status_code, failed.json()) == (422, {"success": False, "message": message})
    (log,) = (await client.get(f"{path}/logs")).json()["data"]
    assert (log["status"], log["event"]) == ("failed", "webhook.test")
    assert (await client.get(path)).json()["data"]["status"] == "active"


async def test_a_failed_log_is_retried_under_a_new_one(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(rig, client, max_retries=0)
    rig.transport.script = status(503)
    await rig.call("+12025550102")
    await delivered(rig, 1)
    (failed,) = (await client.get(f"{path}/logs")).json()["data"]
    assert (failed["status"], failed["http_status"], failed["attempt"]) == ("failed", 503, 1)
    assert (await client.get(path)).json()["data"]["status"] == "error"

    await client.put(path, json={"webhook_url": "https://new.example.com/"})
    rig.transport.script = status(204)
    answer = await client.post(f"{path}/logs/{failed['id']}/retry")
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert answer.json() == {"success": True, "message": "Webhook retry queued successfully", "data": data}
    assert data["original_log_id"] == failed["id"]
    assert MICROSECONDS.fullmatch(data["queued_at"])
    first, second = await delivered(rig, 2)
    assert first == second
    assert rig.transport.sent[1].url == "https://new.example.com/"
    newest, oldest = (await client.get(f"{path}/logs")).json()["data"]
    assert (newest["id"], newest["status"], oldest["id"]) == (data["log_id"], "success", failed["id"])
    assert (await client.get(path)).json()["data"]["status"] == "active"

    again = await client.post(f"{path}/logs/{newest['id']}/retry")
    assert (again.status_code, again.json()) == (422, NOT_RETRIABLE)


async def test_a_log_cannot_be_retried_while_its_webhook_is_off_or_when_it_is_old(
    rig: Rig, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await created(rig, client, max_retries=0)
    rig.transport.script = status(500)
    await rig.call("+12025550102")
    await delivered(rig, 1)
    (log,) = (await client.get(f"{path}/logs")).json()["data"]
    retry = f"{path}/logs/{log['id']}/retry"

    await client.patch(f"{path}/toggle")
    assert (await client.post(retry)).json() == NOT_RETRIABLE
    await client.patch(f"{path}/toggle")
    now = rig.clock.now_ms()
    monkeypatch.setattr(rig.clock, "now_ms", lambda: now + KEEP_MS + 60_000)
    assert (await client.post(retry)).json() == NOT_RETRIABLE
    monkeypatch.undo()
    assert (await client.post(retry)).status_code == 200


async def test_a_log_of_another_webhook_is_not_found(rig: Rig, client: httpx.AsyncClient) -> None:
    path, another = await created(rig, client), await created(rig, client)
    await client.post(f"{path}/test")
    (log,) = (await client.get(f"{path}/logs")).json()["data"]

    for log_id in (log["id"], "nothing"):
        answer = await client.post(f"{another}/logs/{log_id}/retry")
        assert (answer.status_code, answer.json()["message"]) == (404, "Webhook log not found.")


async def test_logs_come_in_pages_newest_first(rig: Rig, client: httpx.AsyncClient) -> None:
    path = await created(rig, client)
    for _ in range(3):
        await client.post(f"{path}/test")
    pages = [(await client.get(f"{path}/logs", params={"per_page": 2, "page": page})).json() for page in (1, 2)]

    assert [len(page["data"]) for page in pages] == [2, 1]
    assert pages[1]["pagination"] == {"current_page": 2, "per_page": 2, "total": 3, "last_page": 2}
    default = (await client.get(f"{path}/logs")).json()
    assert default["pagination"]["per_page"] == 25
    assert [log["id"] for page in pages for log in page["data"]] == [log["id"] for log in default["data"]]
    wrong = await client.get(f"{path}/logs", params={"per_page": 101})
    assert wrong.json() == {
        "message": "The given data was invalid.",
        "errors": {"per_page": ["The per page must be between 1 and 100."]},
    }
