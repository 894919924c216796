"""Anunzi/Retell: list-calls, its filters and its pages."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.test_anunzi_calls import create

pytestmark = pytest.mark.dialect

MINUTE = 60_000


async def listed(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    answer = await client.post("/v3/list-calls", json=body)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def ids(client: httpx.AsyncClient, **criteria: object) -> list[str]:
    return [item["call_id"] for item in (await listed(client, filter_criteria=criteria))["items"]]


async def test_a_list_without_a_body_has_all_calls_newest_first(rig: Rig, client: httpx.AsyncClient) -> None:
    calls = [await create(rig, client) for _ in range(3)]
    answer = await client.post("/v3/list-calls")

    assert answer.status_code == 200
    page = answer.json()
    assert {item["call_id"] for item in page["items"]} == {call["call_id"] for call in calls}
    starts = [item["start_timestamp"] for item in page["items"]]
    assert starts == sorted(starts, reverse=True)
    assert (page["has_more"], set(page)) == (False, {"items", "has_more"})


@pytest.mark.parametrize("order", ["ascending", "descending"])
async def test_pages_follow_one_another_without_gap_or_repeat(rig: Rig, client: httpx.AsyncClient, order: str) -> None:
    calls = {(await create(rig, client))["call_id"] for _ in range(5)}
    whole = [item["call_id"] for item in (await listed(client, sort_order=order))["items"]]
    seen: list[str] = []
    page = await listed(client, sort_order=order, limit=2, include_total=True)
    while True:
        assert page.get("total", 5) == 5
        seen += [item["call_id"] for item in page["items"]]
        if not page["has_more"]:
            break
        page = await listed(client, sort_order=order, limit=2, pagination_key=page["pagination_key"])

    assert seen == whole
    assert set(seen) == calls


async def test_the_order_is_by_start_and_by_creation_without_one(rig: Rig, client: httpx.AsyncClient) -> None:
    early, middle, late = [await create(rig, client, "+12025550101") for _ in range(3)]
    await asyncio.sleep(0.002)  # an answer that is later than every creation, on a clock of whole milliseconds
    rig.engine.answer(early["call_id"])
    await rig.settled(early["call_id"])
    seen: list[str] = []
    key: dict[str, object] = {}
    for _ in range(3):
        page = await listed(client, limit=1, **key)
        seen += [item["call_id"] for item in page["items"]]
        key = {"pagination_key": page.get("pagination_key")}

    assert seen[0] == early["call_id"]
    assert set(seen[1:]) == {middle["call_id"], late["call_id"]}


async def test_skip_leaves_out_the_first_calls(rig: Rig, client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await create(rig, client)
    whole = await listed(client)

    assert (await listed(client, skip=2))["items"] == whole["items"][2:]
    assert (await listed(client, skip=1, limit=1))["has_more"] is True


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": -1},
        {"limit": "5"},
        {"limit": 1.5},
        {"skip": -1},
        {"sort_order": "up"},
        {"pagination_key": "!!"},
        {"pagination_key": "bm9wZQ"},
        {"pagination_key": 5},
        {"skip": 0, "pagination_key": "x"},
        {"unknown": 1},
        {"filter_criteria": []},
        {"filter_criteria": {"colour": {"type": "string", "op": "eq", "value": "red"}}},
        {"filter_criteria": {"to_number": "+1"}},
        {"filter_criteria": {"to_number": {"type": "string", "op": "like", "value": "x"}}},
        {"filter_criteria": {"to_number": {"type": "number", "op": "eq", "value": 1}}},
        {"filter_criteria": {"to_number": {"type": "string", "op": "eq"}}},
        {"filter_criteria": {"call_status": {"type": "enum", "op": "in", "value": ["gone"]}}},
        {"filter_criteria": {"call_status": ["ended"]}},
        {"filter_criteria": {"duration_ms": {"type": "range", "op": "bt", "value": [1]}}},
        {"filter_criteria": {"duration_ms": {"type": "range", "op": "bt", "value": [1, 2, 3]}}},
        {"filter_criteria": {"start_timestamp": {"type": "number", "op": "co", "value": 1}}},
        {"filter_criteria": {"agent": [{"version": [1]}]}},
        {"filter_criteria": {"metadata": [{"type": "string", "op": "eq", "value": "x"}]}},
        {"filter_criteria": {"call_successful": {"type": "boolean", "op": "eq", "value": "yes"}}},
    ],
)
async def test_a_malformed_question_is_a_bad_request(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    answer = await client.post("/v3/list-calls", json=body)

    assert answer.status_code == 400
    assert answer.json() == {"status": "error", "message": "Invalid request format, please check API reference."}


async def test_a_pagination_key_with_a_time_beyond_all_times_is_not_ours(rig: Rig, client: httpx.AsyncClient) -> None:
    await rig.call()
    await rig.call()
    key = (await listed(client, limit=1))["pagination_key"]
    _, *rest = json.loads(base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)))
    forged = base64.urlsafe_b64encode(json.dumps([2**70, *rest]).encode()).decode().rstrip("=")

    assert (await client.post("/v3/list-calls", json={"limit": 1, "pagination_key": forged})).status_code == 400


async def test_a_pagination_key_answers_only_the_question_it_came_from(rig: Rig, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await create(rig, client)
        await rig.call(tenant=rig.other)
    key = (await listed(client, limit=1))["pagination_key"]

    other_order = await client.post("/v3/list-calls", json={"pagination_key": key, "sort_order": "ascending"})
    other_filter = await client.post("/v3/list-calls", json={"pagination_key": key, "filter_criteria": {"agent": []}})
    async with rig.client(tenant=rig.other) as stranger:
        other_key = await stranger.post("/v3/list-calls", json={"pagination_key": key})
    assert [one.status_code for one in (other_order, other_filter, other_key)] == [400] * 3


def text(op: str, value: str) -> dict[str, object]:
    return {"type": "string", "op": op, "value": value}


def number(op: str, value: float) -> dict[str, object]:
    return {"type": "number", "op": op, "value": value}


def one_of(*values: str) -> dict[str, object]:
    return {"type": "enum", "op": "in", "value": list(values)}


def between(low: float, high: float) -> dict[str, object]:
    return {"type": "range", "op": "bt", "value": [low, high]}


async def test_filters_on_what_is_known(rig: Rig, client: httpx.AsyncClient) -> None:
    talking = await create(rig, client, metadata={"crm": "a1", "n": 5}, retell_llm_dynamic_variables={"name": "Ada"})
    busy = await create(rig, client, "+12025550102")
    talk, engaged = talking["call_id"], busy["call_id"]
    start = (await client.get(f"/v2/get-call/{talk}")).json()["start_timestamp"]
    only_talking: list[dict[str, object]] = [
        {"call_id": text("eq", talk)},
        {"call_id": one_of(talk, "unknown")},
        {"to_number": text("ne", "+12025550102")},
        {"to_number": text("eq", "+12025550100")},
        {"to_number": text("ew", "00")},
        {"call_status": one_of("ongoing", "ended")},
        {"start_timestamp": number("ge", start)},
        {"start_timestamp": number("lt", start + MINUTE)},
        {"start_timestamp": number("eq", start)},
        {"start_timestamp": between(start - 1, start + 1)},
        {"start_timestamp": between(-1e300, 1e300)},
        {"start_timestamp": number("gt", start - 0.5)},
        {"metadata": [text("sw", "a") | {"key": "crm"}, number("gt", 4) | {"key": "n"}]},
        {"metadata": [{"type": "present", "op": "pr", "key": "crm"}]},
        {"dynamic_variables": [one_of("Ada") | {"key": "name"}]},
    ]
    only_busy: list[dict[str, object]] = [
        {"disconnection_reason": one_of("dial_busy")},
        {"call_status": one_of("not_connected")},
        {"end_timestamp": number("gt", 0)},
        {"user_sentiment": one_of("Unknown")},
        {"to_number": text("co", "0102")},
        {"metadata": [{"type": "present", "op": "np", "key": "crm"}]},
    ]
    both: list[dict[str, object]] = [
        {},
        {"agent": [{"agent_id": rig.mine.agent_id, "version": [0]}, {"agent_id": "x"}]},
        {"direction": one_of("outbound")},
        {"direction": one_of("inbound", "outbound")},
        {"call_type": one_of("phone_call")},
        {"from_number": text("sw", "+1202")},
        {"call_status": one_of("not_connected", "ongoing")},
        {"batch_call_id": text("ne", "b1")},
        {"data_storage_setting": one_of("everything")},
        {"start_timestamp": number("ne", 1)},
    ]
    neither: list[dict[str, object]] = [
        {"agent": [{"agent_id": rig.mine.agent_id, "version": [3]}]},
        {"direction": one_of("inbound")},
        {"call_type": one_of("web_call")},
        {"call_status": one_of("registered", "error")},
        {"duration_ms": number("ge", 0)},
        {"start_timestamp": number("gt", start + MINUTE)},
        {"start_timestamp": number("le", start - MINUTE)},
        {"start_timestamp": number("ge", 1e300)},
        {"start_timestamp": number("eq", start + 0.5)},
        {"data_storage_setting": one_of("basic_attributes_only")},
        {"custom_attributes": [{"type": "present", "op": "pr", "key": "team"}]},
        {"user_sentiment": one_of("Positive")},
        {"call_successful": {"type": "boolean", "op": "eq", "value": True}},
        {"tool_calls": [{"name": "book"}]},
        {"to_number": text("eq", "+12025550100"), "from_number": text("eq", "+12025550100")},
    ]
    assert [await ids(client, **one) for one in only_talking] == [[talk]] * len(only_talking)
    assert [await ids(client, **one) for one in only_busy] == [[engaged]] * len(only_busy)
    assert [set(await ids(client, **one)) for one in both] == [{talk, engaged}] * len(both)
    assert [await ids(client, **one) for one in neither] == [[]] * len(neither)
