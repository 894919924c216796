"""Anunzi/Retell: list-calls as SDKs before 5.36 ask for it."""

from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.test_anunzi_calls import create

pytestmark = pytest.mark.dialect


async def listed(client: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    answer = await client.post("/v2/list-calls", json=body)
    assert answer.status_code == 200, answer.text
    calls: list[dict[str, Any]] = answer.json()
    return calls


async def ids(client: httpx.AsyncClient, **criteria: Any) -> list[str]:
    return [call["call_id"] for call in await listed(client, filter_criteria=criteria)]


async def test_the_answer_is_a_bare_array_newest_first(rig: Rig, client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await create(rig, client)
    whole = (await client.post("/v3/list-calls", json={})).json()["items"]

    assert await listed(client) == whole
    assert (await client.post("/v2/list-calls")).json() == whole
    assert await listed(client, sort_order="ascending") == whole[::-1]


async def test_the_last_call_of_a_page_is_the_key_of_the_next(rig: Rig, client: httpx.AsyncClient) -> None:
    for _ in range(5):
        await create(rig, client)
    seen: list[str] = []
    key: dict[str, str] = {}
    while page := await listed(client, limit=2, **key):
        seen += [call["call_id"] for call in page]
        key = {"pagination_key": seen[-1]}

    assert seen == [call["call_id"] for call in await listed(client)]


async def test_filters_on_what_is_known(rig: Rig, client: httpx.AsyncClient) -> None:
    talking = await create(rig, client, metadata={"crm": "a1"}, retell_llm_dynamic_variables={"name": "Ada"})
    busy = await create(rig, client, "+12025550102")
    talk, engaged = talking["call_id"], busy["call_id"]
    start = (await client.get(f"/v2/get-call/{talk}")).json()["start_timestamp"]
    only_talking: list[dict[str, Any]] = [
        {"call_id": [talk, "unknown"]},
        {"to_number": ["+12025550100"]},
        {"call_status": ["ongoing"]},
        {"start_timestamp": {"lower_threshold": start}},
        {"start_timestamp": {"upper_threshold": start}},
        {"start_timestamp": {"lower_threshold": start, "upper_threshold": start}},
        {"metadata": {"crm": ["a1", "a2"]}},
        {"metadata.crm": ["a1"]},
        {"dynamic_variables.name": ["Ada"]},
    ]
    only_busy: list[dict[str, Any]] = [
        {"disconnection_reason": ["dial_busy", "dial_failed"]},
        {"call_status": ["not_connected", "error"]},
        {"end_timestamp": {"lower_threshold": 0}},
        {"user_sentiment": ["Unknown"]},
    ]
    both: list[dict[str, Any]] = [
        {},
        {"agent_id": [rig.mine.agent_id, "x"], "version": [0]},
        {"direction": ["outbound"]},
        {"call_type": ["phone_call", "web_call"]},
        {"from_number": [rig.mine.number]},
        {"start_timestamp": {}},
        {"call_id": []},
    ]
    neither: list[dict[str, Any]] = [
        {"version": [3]},
        {"direction": ["inbound"]},
        {"call_successful": [True, False]},
        {"in_voicemail": [False]},
        {"duration_ms": {"lower_threshold": 0}},
        {"batch_call_id": ["batch_call_1"]},
        {"metadata.crm": ["a1"], "metadata": {"other": ["x"]}},
        {"start_timestamp": {"lower_threshold": 10**30}},
        {"start_timestamp": {"lower_threshold": 10**400}},
    ]
    assert [await ids(client, **one) for one in only_talking] == [[talk]] * len(only_talking)
    assert [await ids(client, **one) for one in only_busy] == [[engaged]] * len(only_busy)
    assert [set(await ids(client, **one)) for one in both] == [{talk, engaged}] * len(both)
    assert [await ids(client, **one) for one in neither] == [[]] * len(neither)


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 1001},
        {"skip": 1},
        {"sort_order": "up"},
        {"pagination_key": "unknown"},
        {"filter_criteria": {"call_status": ["gone"]}},
        {"filter_criteria": {"call_status": {"type": "enum", "op": "in", "value": ["ended"]}}},
        {"filter_criteria": {"start_timestamp": {"lower": 1}}},
        {"filter_criteria": {"metadata.x": "plain"}},
        {"filter_criteria": {"metadata.x": ["a"], "metadata": "b"}},
        {"filter_criteria": {"colour.x": ["a"]}},
        {"filter_criteria": []},
    ],
)
async def test_a_malformed_question_is_a_bad_request(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await client.post("/v2/list-calls", json=body)

    assert (answer.status_code, answer.json()["status"]) == (400, "error")


async def test_calls_of_another_environment_are_in_no_page(rig: Rig, client: httpx.AsyncClient) -> None:
    theirs = await rig.call(tenant=rig.other)

    assert await listed(client) == []
    assert (await client.post("/v2/list-calls", json={"pagination_key": theirs.id})).status_code == 400
