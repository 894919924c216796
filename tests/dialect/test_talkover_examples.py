"""Every example body of TalkOver's pages: the same keys, nesting, types and literals from the live application.

A pattern is the body itself, with a type, a regular expression or a list of one pattern where values differ.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.test_talkover_agent_settings import KNOWLEDGE, VOICE
from tests.dialect.test_talkover_agents import NEW_AGENT
from tests.dialect.test_talkover_webhooks import delivered
from tests.unit.courier_bench import ok, status

from onhook.api.talkover.payloads import EVENTS
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MICROSECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
E164 = re.compile(r"\+[1-9]\d{6,14}")
ID = re.compile(r"\S+")

CALL_ITEM = {
    "id": UUID,
    "sid": ID,
    "to": E164,
    "from": E164,
    "to_formatted": re.compile(r"\(\d{3}\) \d{3}-\d{4}"),
    "from_formatted": re.compile(r"\(\d{3}\) \d{3}-\d{4}"),
    "is_testing": bool,
    "direction": "outbound",
    "status": re.compile("initiated|ringing|answered|completed|failed|busy|no-answer"),
    "duration": int,
    "created_at": SECONDS,
    "updated_at": SECONDS,
}
PAGINATION = {"current_page": 1, "last_page": 1, "per_page": 20, "total": int, "from": 1, "to": int}
NUMBER = {
    "id": ID,
    "number": E164,
    "country_code": "US",
    "formatted_number": str,
    "international_number": str,
    "current_status": "active",
}
AGENT = {
    "id": ID,
    "name": str,
    "label": str,
    "description": str,
    "language": "en-US",
    "voice": None,
    "initial_message": None,
    "interrupt_sensitivity": re.compile("low|medium|high"),
    "conversation_speed": float,
    "initial_message_delay": int,
    "ask_if_human_present_on_idle": bool,
    "direction": "outbound",
    "who_speaks_first": re.compile("agent|user"),
    "current_status": "draft",
    "is_sandbox": False,
    "is_ready_to_publish": True,
    "created_at": SECONDS,
    "updated_at": SECONDS,
    "trainings": [],
    "actions": [],
    "phone_numbers": [NUMBER],
}
AGENT_VOICE = {
    "id": "voice_1",
    "name": str,
    "label": str,
    "stability": float,
    "similarity_boost": float,
    "ambient_background": "office",
    "template": {"id": str, "name": str},
}
AGENT_STATE = {"id": ID, "name": str, "is_ready_to_publish": True, "updated_at": SECONDS}
PHONE_NUMBER = NUMBER | {
    "type": "voice",
    **dict.fromkeys(("has_voice", "has_sms", "has_mms", "has_fax", "has_whatsapp", "is_sandbox"), bool),
    **dict.fromkeys(("current_price", "currency", "renewal_date", "monthly_renewal_cost"), None),
    "days_until_monthly_renewal": None,
    "auto_renewal": bool,
    "is_due_for_monthly_renewal": bool,
    "created_at": SECONDS,
    "updated_at": SECONDS,
}
WEBHOOK = {
    "id": UUID,
    "agent_id": ID,
    "name": "CRM",
    "webhook_url": "https://hooks.example.com/",
    "events": ["event_phone_call_ended"],
    "timeout": 30,
    "max_retries": 0,
    "enabled": True,
    "created_at": MICROSECONDS,
    "updated_at": MICROSECONDS,
    "events_count": 1,
    "status": "active",
}
LOG = {
    "id": ID,
    "webhook_id": UUID,
    "event": "event_phone_call_ended",
    "attempt": 1,
    "duration_ms": int,
    "created_at": MICROSECONDS,
}
SENT_LOG = LOG | {
    "status": "success",
    "http_status": 200,
    "request_payload": dict,
    "response_body": str,
    "response_headers": dict,
    "delivered_at": MICROSECONDS,
}
FAILED_LOG = LOG | {"status": "failed", "http_status": 500, "error": str}


def done(data: object = None, message: str | None = None, **more: object) -> dict[str, object]:
    body: dict[str, object] = {"success": True}
    body |= {} if message is None else {"message": message}
    return body | ({} if data is None else {"data": data}) | more


def failed(message: str, **more: object) -> dict[str, object]:
    return {"success": False, "message": message} | more


def invalid(**errors: str) -> dict[str, object]:
    return {"message": "The given data was invalid.", "errors": {name: [text] for name, text in errors.items()}}


EXAMPLES: dict[str, tuple[int, object]] = {
    "health": (200, {"status": "ok"}),
    "make-call": (
        200,
        done({"id": UUID, "agent_id": ID, "to": E164, "status": "initiated", "created_at": SECONDS}),
    ),
    "make-call, invalid number": (
        400,
        {
            "error": {
                "code": "INVALID_PHONE_NUMBER",
                "message": "Phone number must be in international format (e.g., +1234567890)",
                "details": {"field": "to", "value": "1234567890"},
            }
        },
    ),
    "make-call, no token": (
        401,
        {"error": {"code": "INVALID_TOKEN", "message": "Invalid or missing authentication token"}},
    ),
    "make-call, unknown agent": (
        404,
        {"error": {"code": "AGENT_NOT_FOUND", "message": "Voice agent not found", "details": {"agent_id": "nobody"}}},
    ),
    "make-call, too many": (
        429,
        {
            "error": {
                "code": "RATE_LIMIT_EXCEEDED",
                "message": "Rate limit exceeded. Please wait before making more requests.",
                "details": {"retry_after": int},
            }
        },
    ),
    "active-call": (
        200,
        done(
            [
                {
                    "id": UUID,
                    "agent_id": ID,
                    "to": E164,
                    "status": "answered",
                    "started_at": SECONDS,
                    "duration_seconds": int,
                }
            ]
        ),
    ),
    "active-call, none": (404, failed("No active call found for this phone number")),
    "end-call": (
        200,
        done({"id": UUID, "status": "completed", "ended_at": SECONDS, "ended_reason": "ended_by_api"}),
    ),
    "end-call, unknown": (404, failed("Call not found for this agent")),
    "end-call, over": (409, failed("Call is not active", code="CALL_NOT_ACTIVE")),
    "list-calls": (
        200,
        done([CALL_ITEM | {"agent": {"id": ID, "name": str, "label": str}}], pagination=PAGINATION),
    ),
    "list-calls, no token": (401, failed("Unauthorized")),
    "list-calls, invalid": (
        422,
        {"success": False}
        | invalid(
            status="The selected status is invalid.",
            direction="The selected direction is invalid.",
            date_from="The date from must be a valid date.",
        ),
    ),
    "agent-calls": (200, done([CALL_ITEM], pagination=PAGINATION)),
    "agent-calls, unknown agent": (404, failed("Agent not found")),
    "list-webhooks": (200, done({"webhooks": [WEBHOOK], "available_events": EVENTS})),
    "create-webhook": (200, done(WEBHOOK, "Webhook created successfully")),
    "create-webhook, invalid": (
        422,
        invalid(
            webhook_url="The webhook url must be a valid URL.", events="The events field must contain at least 1 items."
        ),
    ),
    "create-webhook, no url": (422, invalid(webhook_url="The webhook url field is required.")),
    "get-webhook": (200, done(WEBHOOK)),
    "update-webhook": (200, done(WEBHOOK, "Webhook updated successfully")),
    "toggle-webhook, off": (200, done(WEBHOOK | {"enabled": False, "status": "disabled"}, "Webhook disabled")),
    "toggle-webhook, on": (200, done(WEBHOOK, "Webhook enabled")),
    "webhooks, no token": (401, {"message": "Missing Bearer Token"}),
    "webhooks, unknown agent": (404, failed("Agent not found in this environment.")),
    "webhooks, unknown webhook": (404, failed("Webhook not found.")),
    "test-webhook": (200, done({"status_code": 200, "response_time": int}, "Test webhook sent successfully")),
    "test-webhook, timeout": (422, failed("Webhook test failed: Connection timeout")),
    "test-webhook, 500": (422, failed("Webhook test failed: HTTP 500 Internal Server Error")),
    "webhook-logs, failed": (
        200,
        done([FAILED_LOG], pagination={"current_page": 1, "per_page": 25, "total": 1, "last_page": 1}),
    ),
    "webhook-logs, sent": (
        200,
        done([SENT_LOG], pagination={"current_page": 1, "per_page": 1, "total": 2, "last_page": 2}),
    ),
    "retry-log": (
        200,
        done({"log_id": ID, "original_log_id": ID, "queued_at": MICROSECONDS}, "Webhook retry queued successfully"),
    ),
    "retry-log, not retriable": (422, failed("Log cannot be retried", code="LOG_NOT_RETRIABLE")),
    "delete-webhook": (200, done(message="Webhook deleted successfully")),
    "create-agent": (201, done(AGENT, "Agent created successfully")),
    "get-agent": (200, done(AGENT)),
    "list-agents": (
        200,
        done([AGENT], meta={"current_page": 1, "per_page": 20, "total": 1, "last_page": 1}),
    ),
    "list-agents, invalid": (
        422,
        {"success": False} | invalid(per_page="The per page must be between 1 and 100."),
    ),
    "agents, no token": (401, failed("Unauthenticated.")),
    "agents, too many": (429, failed("Too many requests. Please try again later.")),
    "update-knowledge": (200, done(AGENT, "Agent knowledge updated successfully")),
    "update-voice": (200, done(AGENT | {"voice": AGENT_VOICE}, "Agent voice updated successfully")),
    "update-calling": (
        200,
        done(
            {
                "id": ID,
                "name": str,
                "direction": "outbound",
                "current_status": "draft",
                "phone_numbers": [NUMBER],
                "updated_at": SECONDS,
            },
            "Agent calling settings updated successfully",
        ),
    ),
    "publish-agent": (200, done(AGENT_STATE | {"current_status": "published"}, "Agent published successfully")),
    "unpublish-agent": (200, done(AGENT_STATE | {"current_status": "draft"}, "Agent unpublished successfully")),
    "delete-agent, active": (
        409,
        failed("Cannot delete agent while it has active calls.", code="AGENT_HAS_ACTIVE_CALLS"),
    ),
    "delete-agent": (200, done(message="Agent deleted successfully")),
    "phone-numbers": (200, done([PHONE_NUMBER])),
}
"""Each example by the name of its page, with its status."""


def differs(pattern: object, value: object, at: str = "body") -> list[str]:
    """Say where a value is not what its pattern says."""
    match pattern:
        case dict():
            if not isinstance(value, dict):
                return [f"{at}: {value!r} is no object"]
            if value.keys() != pattern.keys():
                return [f"{at}: keys differ by {sorted(value.keys() ^ pattern.keys())}"]
            return [one for name in pattern for one in differs(pattern[name], value[name], f"{at}.{name}")]
        case [inner]:
            if not isinstance(value, list) or not value:
                return [f"{at}: {value!r} is no list with something in it"]
            return [one for index, item in enumerate(value) for one in differs(inner, item, f"{at}.{index}")]
        case type():
            return [] if type(value) is pattern else [f"{at}: {value!r} is no {pattern.__name__}"]
        case re.Pattern():
            return [] if isinstance(value, str) and pattern.fullmatch(value) else [f"{at}: {value!r} is no {pattern}"]
        case _:
            same = type(value) is type(pattern) and value == pattern
            return [] if same else [f"{at}: {value!r} is not {pattern!r}"]


def told(answer: httpx.Response) -> dict[str, object]:
    return {"status": answer.status_code, "body": answer.json()}


class Story:
    """Asks for every example once, in an order in which each can happen; `answers` keeps them by name."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.answers: dict[str, httpx.Response] = {}
        self.client = rig.client()
        self.agent = f"/api/v1/agents/{rig.mine.agent_id}"

    async def ask(self, name: str, method: str, path: str, **request: Any) -> Any:
        answer = self.answers[name] = await self.client.request(method, path, **request)
        return answer.json()

    async def calls(self) -> None:
        call = {"json": {"to": "+12025550100"}}
        made = await self.ask("make-call", "POST", f"{self.agent}/call", **call)
        await self.rig.settled(made["data"]["id"])
        await self.ask("make-call, invalid number", "POST", f"{self.agent}/call", json={"to": "1234567890"})
        await self.ask("make-call, no token", "POST", f"{self.agent}/call", **call, headers={"Authorization": "x"})
        await self.ask("make-call, unknown agent", "POST", "/api/v1/agents/nobody/call", **call)
        await self.ask("active-call", "GET", f"{self.agent}/active-call/%2B12025550100")
        await self.ask("active-call, none", "GET", f"{self.agent}/active-call/%2B12025550155")
        await self.ask("delete-agent, active", "DELETE", self.agent)
        sid = {"call_sid": made["data"]["id"]}
        await self.ask("end-call", "POST", f"{self.agent}/end-call", json=sid)
        await self.ask("end-call, over", "POST", f"{self.agent}/end-call", json=sid)
        await self.ask("end-call, unknown", "POST", f"{self.agent}/end-call", json={"call_sid": "call_789012"})
        wrong = {"status": "x", "direction": "x", "date_from": "x"}
        await self.ask("list-calls", "GET", "/api/v1/calls")
        await self.ask("list-calls, no token", "GET", "/api/v1/calls", headers={"Authorization": "x"})
        await self.ask("list-calls, invalid", "GET", "/api/v1/calls", params=wrong)
        await self.ask("agent-calls", "GET", f"{self.agent}/calls")
        await self.ask("agent-calls, unknown agent", "GET", "/api/v1/agents/nobody/calls")
        await self.ask("health", "GET", "/api/v1/health", headers={"Authorization": ""})
        await self.ask("phone-numbers", "GET", "/api/v1/phone-numbers")

    async def webhooks(self) -> None:
        hooks = f"{self.agent}/webhooks"
        body = {
            "name": "CRM",
            "webhook_url": "https://hooks.example.com/",
            "events": ["event_phone_call_ended"],
            "max_retries": 0,
        }
        made = await self.ask("create-webhook", "POST", hooks, json=body)
        hook = f"{hooks}/{made['data']['id']}"
        await self.ask("create-webhook, invalid", "POST", hooks, json=body | {"webhook_url": "x", "events": []})
        await self.ask("create-webhook, no url", "POST", hooks, json=body | {"webhook_url": None})
        await self.ask("list-webhooks", "GET", hooks)
        await self.ask("get-webhook", "GET", hook)
        await self.ask("update-webhook", "PUT", hook, json={"timeout": 30})
        await self.ask("toggle-webhook, off", "PATCH", f"{hook}/toggle")
        await self.ask("toggle-webhook, on", "PATCH", f"{hook}/toggle")
        await self.ask("webhooks, no token", "GET", hooks, headers={"Authorization": "x"})
        await self.ask("webhooks, unknown agent", "GET", "/api/v1/agents/nobody/webhooks")
        await self.ask("webhooks, unknown webhook", "GET", f"{hooks}/nothing")
        await self.logs(hook)
        self.rig.transport.script = ok
        await self.ask("test-webhook", "POST", f"{hook}/test")
        self.rig.transport.script = lambda _: None
        await self.ask("test-webhook, timeout", "POST", f"{hook}/test")
        self.rig.transport.script = status(500)
        await self.ask("test-webhook, 500", "POST", f"{hook}/test")
        await self.ask("delete-webhook", "DELETE", hook)

    async def logs(self, hook: str) -> None:
        self.rig.transport.script = status(500)
        await self.rig.call("+12025550102")
        await self.deliver()
        found = await self.ask("webhook-logs, failed", "GET", f"{hook}/logs")
        log_id = found["data"][0]["id"]
        self.rig.transport.script = ok
        again = await self.ask("retry-log", "POST", f"{hook}/logs/{log_id}/retry")
        await self.deliver()
        await self.ask("webhook-logs, sent", "GET", f"{hook}/logs", params={"per_page": 1})
        await self.ask("retry-log, not retriable", "POST", f"{hook}/logs/{again['data']['log_id']}/retry")

    async def deliver(self) -> None:
        """Make the one delivery that waits."""
        await delivered(self.rig, len(self.rig.transport.sent) + 1)

    async def agents(self) -> None:
        body = NEW_AGENT | {"phone_number_ids": [self.rig.mine.number_id]}
        made = await self.ask("create-agent", "POST", "/api/v1/agents", json=body)
        agent = f"/api/v1/agents/{made['data']['id']}"
        await self.ask("get-agent", "GET", agent)
        await self.ask("list-agents", "GET", "/api/v1/agents", params={"search": "grace"})
        await self.ask("list-agents, invalid", "GET", "/api/v1/agents", params={"per_page": 0})
        await self.ask("agents, no token", "GET", "/api/v1/agents", headers={"Authorization": "x"})
        await self.ask("update-knowledge", "PUT", f"{agent}/knowledge", json=KNOWLEDGE)
        voice = VOICE | {"stability": 0.5, "similarity": 0.75, "ambient_background": "office"}
        await self.ask("update-voice", "PUT", f"{agent}/voice", json=voice)
        await self.ask("update-calling", "PUT", f"{agent}/calling", json={"direction": "outbound"})
        await self.ask("publish-agent", "POST", f"{agent}/publish")
        await self.ask("unpublish-agent", "POST", f"{agent}/unpublish")
        await self.ask("delete-agent", "DELETE", agent)

    async def limits(self) -> None:
        await self.client.aclose()
        self.client = self.rig.client(self.rig.app(rate_limit_per_minute=1))
        self.rig.clock.now_ms = lambda: 1_800_000_000_000  # type: ignore[method-assign]
        await self.client.get("/api/v1/calls")
        await self.ask("make-call, too many", "POST", f"{self.agent}/call", json={"to": "+12025550100"})
        await self.ask("agents, too many", "GET", "/api/v1/agents")


@pytest.fixture
async def story() -> AsyncIterator[Story]:
    rig = Rig(MemoryStore())
    await rig.start()
    built = Story(rig)
    for part in (built.calls, built.webhooks, built.agents, built.limits):
        await part()
    yield built
    await built.client.aclose()
    await rig.recorder.drained()


async def test_every_example_of_the_pages_comes_from_the_live_application(story: Story) -> None:
    assert story.answers.keys() == EXAMPLES.keys()
    wrong = {
        name: found
        for name, (code, pattern) in EXAMPLES.items()
        if (found := differs({"status": code, "body": pattern}, told(story.answers[name])))
    }
    assert wrong == {}


async def test_the_body_of_a_test_delivery_is_its_pages(story: Story) -> None:
    bodies = [msgspec.json.decode(request.body) for request in story.rig.transport.sent]
    tests = [body for body in bodies if body["event"] == "webhook.test"]

    expected = {
        "event": "webhook.test",
        "agent_id": ID,
        "agent_name": str,
        "webhook_id": UUID,
        "webhook_name": "CRM",
        "timestamp": MILLISECONDS,
        "test": True,
    }
    assert len(tests) == 3
    assert [found for body in tests for found in differs(expected, body)] == []


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ({"a": int}, {"a": 1, "b": 2}),
        ({"a": int}, {}),
        ({"a": int}, {"a": True}),
        ({"a": int}, []),
        ([int], []),
        ([int], [1, "2"]),
        (UUID, "call_789012"),
        (SECONDS, "2024-01-15T10:30:00.000Z"),
        (True, 1),
        (None, ""),
        ("x", "y"),
    ],
)
def test_a_difference_is_seen(pattern: object, value: object) -> None:
    assert differs(pattern, value)
