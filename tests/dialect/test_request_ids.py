"""The name of a request: on every answer, and in all that the request does."""

import re
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.test_native_webhooks import delivered

from onhook.calls.call import EventType

pytestmark = pytest.mark.dialect

OURS = re.compile(r"req_[0-9a-f]{24}")
GIVEN = {"X-Request-Id": "till-7/4711"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/calls", 200),
        ("GET", "/v1/calls/none", 404),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/calls", 415),
        ("DELETE", "/api/v1/calls", 405),
        ("GET", "/api/v1/health", 200),
        ("POST", "/v2/stop-call/a%20b", 400),
        ("GET", "/2010-04-01/Accounts/AC0/Calls/CA0.json", 401),
        ("GET", "/readyz", 200),
        ("GET", "/openapi/native.json", 200),
    ],
)
async def test_every_answer_has_one_whatever_its_status(memory_rig: Rig, method: str, path: str, status: int) -> None:
    async with memory_rig.client() as client:
        made = await client.request(method, path, content=b"x" if status == 415 else None)
        given = await client.request(method, path, content=b"x" if status == 415 else None, headers=GIVEN)
    assert made.status_code == given.status_code == status
    assert OURS.fullmatch(made.headers["X-Request-Id"])
    assert given.headers.get_list("X-Request-Id") == ["till-7/4711"]


async def test_an_answer_to_a_request_that_is_one_too_many_has_one(memory_rig: Rig) -> None:
    async with memory_rig.client(memory_rig.app(max_connections=0)) as client:
        answer = await client.get("/v1/calls", headers=GIVEN)
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (503, "till-7/4711")


@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 129, b"caf\xc3\xa9", b"a\tb", b"\x7f"])
async def test_what_cannot_be_a_name_is_replaced(memory_rig: Rig, given: bytes) -> None:
    async with memory_rig.client() as client:
        answer = await client.get("/healthz", headers={b"X-Request-Id": given})
    assert OURS.fullmatch(answer.headers["X-Request-Id"])


async def test_the_longest_name_is_taken(memory_rig: Rig) -> None:
    async with memory_rig.client() as client:
        answer = await client.get("/healthz", headers={"X-Request-Id": "~" * 128})
    assert answer.headers["X-Request-Id"] == "~" * 128


async def test_no_two_requests_have_the_same(memory_rig: Rig) -> None:
    async with memory_rig.client() as client:
        made = {(await client.get("/healthz")).headers["X-Request-Id"] for _ in range(20)}
    assert len(made) == 20


# --- in what a request does


async def made_by(client: httpx.AsyncClient, rig: Rig, dialect: str) -> str:
    """Create a call in a dialect's words, by a request `create-1`, and return its id."""
    named = {"X-Request-Id": "create-1"}
    if dialect == "talkover":
        body: dict[str, Any] = {"to": "+12025550100"}
        answer = await client.post(f"/api/v1/agents/{rig.mine.agent_id}/call", json=body, headers=named)
        return str(answer.json()["data"]["id"])
    if dialect == "anunzi":
        body = {"from_number": rig.mine.number, "to_number": "+12025550100"}
        return str((await client.post("/v2/create-phone-call", json=body, headers=named)).json()["call_id"])
    body = {"to_number": "+12025550100", "agent_id": rig.mine.agent_id}
    return str((await client.post("/v1/calls", json=body, headers=named)).json()["call_id"])


async def stopped_by(client: httpx.AsyncClient, rig: Rig, dialect: str, call_id: str) -> httpx.Response:
    """Stop a call in a dialect's words, by a request `stop-1`."""
    named = {"X-Request-Id": "stop-1"}
    if dialect == "talkover":
        path = f"/api/v1/agents/{rig.mine.agent_id}/end-call"
        return await client.post(path, json={"call_sid": call_id}, headers=named)
    if dialect == "anunzi":
        return await client.post(f"/v2/stop-call/{call_id}", headers=named)
    return await client.post(f"/v1/calls/{call_id}/stop", json={"reason": "why not"}, headers=named)


@pytest.mark.parametrize("dialect", ["talkover", "anunzi", "native"])
async def test_a_create_and_a_stop_are_known_by_their_requests_in_event_stop_and_audit_log(
    rig: Rig, dialect: str
) -> None:
    async with rig.client() as client:
        call_id = await made_by(client, rig, dialect)
        assert (await stopped_by(client, rig, dialect, call_id)).status_code < 300
        again = await client.post(f"/v1/calls/{call_id}/stop", headers={"X-Request-Id": "stop-2"})
        audit = (await client.get("/v1/audit")).json()["items"]
    assert again.json()["stop"]["request_id"] == "stop-1", "the first stop's"
    events = {event.type: event.data for event in await rig.store.events(call_id)}
    assert events[EventType.CREATED]["request_id"] == "create-1"
    assert events[EventType.CREATED]["actor"] == f"api_key:{rig.mine.key_id}"
    assert events[EventType.STOP_REQUESTED]["request_id"] == "stop-1"
    told = [(one["action"], one["actor"], one["target"], one["request_id"]) for one in audit]
    actor = f"api_key:{rig.mine.key_id}"
    assert told == [("call.create", actor, call_id, "create-1"), ("call.stop", actor, call_id, "stop-1")]


async def test_our_own_end_webhook_says_which_request_stopped_the_call(rig: Rig) -> None:
    async with rig.client() as client:
        hook = {"name": "mine", "url": "https://example.com/hook", "events": ["call.ended"]}
        assert (await client.post("/v1/webhooks", json=hook)).status_code == 201
        call_id = await made_by(client, rig, "native")
        await stopped_by(client, rig, "native", call_id)
    await rig.settled(call_id)
    (body,) = await delivered(rig, 1)
    assert body["call"]["stop"]["request_id"] == "stop-1"
