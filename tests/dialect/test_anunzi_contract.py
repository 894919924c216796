"""Anunzi/Retell: the shapes of the contract, field by field: names, nesting, types, literals; nothing invented."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from retell.types import phone_call_response
from tests.dialect.conftest import Rig
from tests.dialect.test_anunzi_calls import create, get
from tests.dialect.test_native_webhooks import delivered

from onhook.api.anunzi import payloads
from onhook.api.anunzi.mapping import ANSWERED_END, UNANSWERED_END
from onhook.api.app import openapi_document
from onhook.calls.call import Dialect
from onhook.store.outbox import WebhookEndpoint

pytestmark = pytest.mark.dialect

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "anunzi.md"

STATUSES = {"registered", "ongoing", "ended", "not_connected", "error"}
REQUIRED: dict[str, Callable[[Any], bool]] = {
    "call_type": lambda value: value == "phone_call",
    "call_id": lambda value: re.fullmatch(r"call_[0-9a-f]{27}", value) is not None,
    "agent_id": lambda value: isinstance(value, str),
    "agent_version": lambda value: type(value) is int,
    "call_status": lambda value: value in STATUSES,
    "direction": lambda value: value in {"inbound", "outbound"},
    "from_number": lambda value: value.startswith("+"),
    "to_number": lambda value: value.startswith("+"),
}
OPTIONAL: dict[str, Callable[[Any], bool]] = {
    "agent_name": lambda value: isinstance(value, str),
    "metadata": lambda value: isinstance(value, dict),
    "retell_llm_dynamic_variables": lambda value: all(isinstance(one, str) for one in value.values()),
    "custom_sip_headers": lambda value: all(isinstance(one, str) for one in value.values()),
    "start_timestamp": lambda value: type(value) is int and value > 10**12,
    "end_timestamp": lambda value: type(value) is int and value > 10**12,
    "duration_ms": lambda value: type(value) is int and value >= 0,
    "disconnection_reason": lambda value: isinstance(value, str),
    "data_storage_setting": lambda value: value == "everything",
    "call_analysis": lambda value: value == {"user_sentiment": "Unknown"},
}
ERRORS = {
    400: "Invalid request format, please check API reference.",
    401: "API key is missing or invalid.",
    404: "The requested resource was not found.",
    422: "Cannot find requested asset under given api key.",
    500: "An unexpected server error occurred.",
}


def check(call: dict[str, Any], *optional: str) -> None:
    """Check a call: all that is required, the optional fields that are named, and no others."""
    assert set(call) == {*REQUIRED, *optional}
    for name, value in call.items():
        assert (REQUIRED | OPTIONAL)[name](value), f"{name}: {value!r}"


ALWAYS = ("agent_name", "data_storage_setting")
GIVEN: dict[str, Any] = {
    "metadata": {"customer": "c-1"},
    "retell_llm_dynamic_variables": {"name": "Ada"},
    "custom_sip_headers": {"X-Campaign": "spring"},
}
OVER = ("end_timestamp", "disconnection_reason", "call_analysis")
ANSWERED = ("start_timestamp",)


async def test_a_call_has_what_is_known_at_each_moment(rig: Rig, client: httpx.AsyncClient) -> None:
    created = await create(rig, client, **GIVEN)
    check(created, *ALWAYS, *GIVEN)
    check(await get(client, created["call_id"]), *ALWAYS, *GIVEN, *ANSWERED)
    await client.post(f"/v2/stop-call/{created['call_id']}")
    check(await get(client, created["call_id"]), *ALWAYS, *GIVEN, *ANSWERED, *OVER, "duration_ms")

    busy = await create(rig, client, "+12025550102")
    check(await get(client, busy["call_id"]), *ALWAYS, *OVER)
    assert {"metadata", "retell_llm_dynamic_variables"} & set(busy) == set()
    ringing = await create(rig, client, "+12025550101")
    check(await get(client, ringing["call_id"]), *ALWAYS)


async def test_lists_hold_the_same_calls(rig: Rig, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await create(rig, client, **GIVEN)
    page = (await client.post("/v3/list-calls", json={"limit": 1, "include_total": True})).json()
    assert set(page) == {"items", "has_more", "pagination_key", "total"}
    assert (page["has_more"], page["total"]) == (True, 2)
    last = (await client.post("/v3/list-calls", json={"limit": 1, "pagination_key": page["pagination_key"]})).json()
    assert set(last) == {"items", "has_more"}
    bare = (await client.post("/v2/list-calls")).json()
    for call in (*page["items"], *last["items"], *bare):
        check(call, *ALWAYS, *GIVEN, *ANSWERED)
        assert call == await get(client, call["call_id"])


async def test_a_batch_has_the_fields_of_the_contract(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {"from_number": rig.mine.number, "tasks": [{"to_number": "+12025550101"}]}
    batch = (await client.post("/create-batch-call", json=body)).json()

    assert {name: type(value) for name, value in batch.items()} == {
        "batch_call_id": str,
        "name": str,
        "from_number": str,
        "scheduled_timestamp": int,
        "total_task_count": int,
    }


async def test_a_webhook_has_the_shape_of_the_contract(rig: Rig, client: httpx.AsyncClient) -> None:
    endpoint = WebhookEndpoint(
        id="hook_1",
        environment_id=rig.mine.environment_id,
        dialect=Dialect.ANUNZI,
        name="hook",
        url="https://example.com/hook",
        created_at=0,
        updated_at=0,
        wants=payloads.wants(),
    )
    await rig.store.put(endpoint)
    call_id = (await create(rig, client, **GIVEN))["call_id"]
    await client.post(f"/v2/stop-call/{call_id}")
    await rig.recorder.drained()
    told = await delivered(rig, 3)
    assert all(set(one) == {"event", "call"} for one in told)
    bodies = {one["event"]: one["call"] for one in told}

    assert list(bodies) == ["call_started", "call_ended", "call_analyzed"]
    over = tuple(name for name in OVER if name != "call_analysis")
    check(bodies["call_ended"], *ALWAYS, *GIVEN, *ANSWERED, *over, "duration_ms")
    check(bodies["call_analyzed"], *ALWAYS, *GIVEN, *ANSWERED, *OVER, "duration_ms")
    check(bodies["call_started"], *ALWAYS, *GIVEN, *ANSWERED)


async def test_every_error_has_the_body_of_the_contract(rig: Rig, client: httpx.AsyncClient) -> None:
    answers = [
        await client.post("/v2/create-phone-call", content=b"{", headers={"Content-Type": "application/json"}),
        await client.get("/v2/get-call/x", headers={"Authorization": "Bearer wrong"}),
        await client.get("/v2/no-such-path"),
        await client.get("/v2/get-call/unknown"),
    ]
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"status": "error", "message": ERRORS[answer.status_code]}
    assert [one.status_code for one in answers] == [400, 401, 404, 422]


def test_the_page_lists_every_reason_and_says_which_are_never_given() -> None:
    (reasons, _none) = get_args(phone_call_response.PhoneCallResponse.model_fields["disconnection_reason"].annotation)
    newer = {"user_requested_dnc", "user_requested_callback", "credit_exhausted", "budget_reached", "network_blocked"}
    given = {end.reason for end in (*UNANSWERED_END.values(), *ANSWERED_END.values())}
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    listed = {name: text for name, text in rows if name in get_args(reasons)}

    assert set(listed) == set(get_args(reasons)) - newer
    assert len(listed) == 34
    assert {name for name, text in listed.items() if text != "never"} == given


def test_the_page_lists_every_path() -> None:
    text = PAGE.read_text()
    for path, operations in openapi_document("anunzi")["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in text
