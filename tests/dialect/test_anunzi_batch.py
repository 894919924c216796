"""Anunzi/Retell: batch calls, and the number of calls on the line."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.test_anunzi_calls import UNKNOWN, create
from tests.dialect.test_anunzi_listing import listed

from onhook.api.anunzi.batch import AHEAD_MS, PACE_MS
from onhook.calls.states import State
from onhook.store.queries import CallFilter, Page

pytestmark = pytest.mark.dialect

HOUR_MS = 3_600_000
TASKS: list[dict[str, Any]] = [
    {"to_number": "+12025550100", "metadata": {"row": 1}},
    {"to_number": "+12025550101", "retell_llm_dynamic_variables": {"name": "Ada"}},
    {"to_number": "+12025550102", "ignore_e164_validation": True},
]


def batch(rig: Rig, **more: Any) -> dict[str, Any]:
    return {"from_number": rig.mine.number, "tasks": TASKS, **more}


async def test_a_batch_of_many_tasks_with_much_to_say_is_not_too_large(memory_rig: Rig) -> None:
    rig = memory_rig
    task = {"to_number": "+12025550100", "retell_llm_dynamic_variables": {"notes": "x" * 1000}}
    request = batch(rig, tasks=[task] * 200, trigger_timestamp=rig.clock.now_ms() + HOUR_MS)
    async with rig.client() as client:
        assert (await client.post("/create-batch-call", json=request)).status_code == 201
        beyond = {"from_number": "x" * 16 * 65_536}
        assert (await client.post("/create-batch-call", json=beyond)).status_code == 413
    assert await rig.store.count_calls(CallFilter()) == 200


async def test_a_batch_becomes_scheduled_calls_that_are_begun_one_after_the_other(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    trigger = rig.clock.now_ms() + HOUR_MS
    answer = await client.post("/create-batch-call", json=batch(rig, name="Spring", trigger_timestamp=trigger))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert re.fullmatch(r"batch_call_[0-9a-f]{21}", made.pop("batch_call_id"))
    assert made == {
        "name": "Spring",
        "from_number": rig.mine.number,
        "scheduled_timestamp": trigger,
        "total_task_count": 3,
    }

    calls = await rig.store.list_calls(CallFilter(), Page())
    by_time = sorted(calls, key=lambda call: call.dial_at or 0)
    assert [call.state for call in by_time] == [State.SCHEDULED] * 3
    assert [call.dial_at for call in by_time] == [trigger + number * PACE_MS for number in range(3)]
    assert [call.to_number for call in by_time] == [task["to_number"] for task in TASKS]
    assert by_time[0].details.metadata == {"row": 1}
    assert by_time[1].details.dynamic_variables == {"name": "Ada"}
    assert rig.engine.legs == {}


async def test_a_batch_can_be_listed_by_its_id(rig: Rig, client: httpx.AsyncClient) -> None:
    await create(rig, client)
    trigger = rig.clock.now_ms() + HOUR_MS
    made = (await client.post("/create-batch-call", json=batch(rig, trigger_timestamp=trigger))).json()
    of_batch = {"batch_call_id": {"type": "string", "op": "eq", "value": made["batch_call_id"]}}
    page = await listed(client, filter_criteria=of_batch)
    old = await client.post("/v2/list-calls", json={"filter_criteria": {"batch_call_id": [made["batch_call_id"]]}})

    assert {one["to_number"] for one in page["items"]} == {task["to_number"] for task in TASKS}
    assert {one["call_status"] for one in page["items"]} == {"registered"}
    assert old.json() == page["items"]
    assert made["name"] == made["batch_call_id"]


async def test_a_batch_without_a_time_begins_at_once(rig: Rig, client: httpx.AsyncClient) -> None:
    before = rig.clock.now_ms()
    made = (await client.post("/create-batch-call", json=batch(rig))).json()
    await rig.dialer.started()

    assert before <= made["scheduled_timestamp"] <= rig.clock.now_ms()
    assert [leg.order.to_number for leg in rig.engine.legs.values() if leg.order] == ["+12025550100"]


async def test_a_call_of_a_batch_can_be_stopped_before_it_is_dialed(rig: Rig, client: httpx.AsyncClient) -> None:
    await client.post("/create-batch-call", json=batch(rig, trigger_timestamp=rig.clock.now_ms() + HOUR_MS))
    (first, *_) = (await listed(client))["items"]
    assert (await client.post(f"/v2/stop-call/{first['call_id']}")).status_code == 204
    shown = (await client.get(f"/v2/get-call/{first['call_id']}")).json()

    assert (shown["call_status"], shown["disconnection_reason"]) == ("ended", "manual_stopped")
    assert rig.engine.legs == {}


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": []},
        {"tasks": [{"metadata": {}}]},
        {"tasks": [*TASKS, {"to_number": "12"}]},
        {"tasks": [*TASKS, {"to_number": "+1911"}]},
        {"tasks": [*TASKS, {"to_number": "+12025550100", "custom_sip_headers": {"Via": "x"}}]},
        {"tasks": [*TASKS, {"to_number": "+12025550100", "agent_override": {"agent": {}}}]},
        {"tasks": [{"to_number": "+12025550100"}] * 1001},
        {"trigger_timestamp": -1},
        {"trigger_timestamp": 1.5},
        {"call_time_window": {"windows": [{"start": 0, "end": 60}]}},
    ],
)
async def test_a_batch_that_is_refused_places_no_call(
    rig: Rig, client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    answer = await client.post("/create-batch-call", json=batch(rig) | change)

    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    assert await rig.store.count_calls(CallFilter()) == 0


async def test_a_batch_is_not_triggered_further_ahead_than_a_month(rig: Rig, client: httpx.AsyncClient) -> None:
    trigger = rig.clock.now_ms() + AHEAD_MS + HOUR_MS
    answer = await client.post("/create-batch-call", json=batch(rig, trigger_timestamp=trigger))

    assert answer.status_code == 400


async def test_a_batch_knows_only_numbers_and_agents_of_its_own_environment(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    foreign = [{"to_number": "+12025550100", "override_agent_id": rig.other.agent_id}]
    for change in ({"from_number": rig.other.number}, {"tasks": foreign}):
        answer = await client.post("/create-batch-call", json=batch(rig) | change)
        assert (answer.status_code, answer.json()) == (422, UNKNOWN)
    assert await rig.store.count_calls(CallFilter()) == 0


async def test_a_batch_that_an_sdk_sends_twice_is_one_batch(rig: Rig, client: httpx.AsyncClient) -> None:
    request = batch(rig, trigger_timestamp=rig.clock.now_ms() + HOUR_MS)
    answers = [
        await client.post("/create-batch-call", json=request, headers={"x-stainless-retry-count": str(attempt)})
        for attempt in range(2)
    ]

    assert answers[0].json() == answers[1].json()
    assert await rig.store.count_calls(CallFilter()) == 3


async def test_concurrency_counts_the_calls_on_the_line(rig: Rig, client: httpx.AsyncClient) -> None:
    assert (await client.get("/get-concurrency")).json() == {"current_concurrency": 0}
    talking, ringing, _busy, _theirs = await asyncio.gather(
        create(rig, client), create(rig, client, "+12025550101"), create(rig, client, "+12025550102"),
        rig.call(tenant=rig.other),
    )  # fmt: skip
    await client.post("/create-batch-call", json=batch(rig, trigger_timestamp=rig.clock.now_ms() + HOUR_MS))
    assert (await client.get("/get-concurrency")).json() == {"current_concurrency": 2}
    for call in (talking, ringing):
        await client.post(f"/v2/stop-call/{call['call_id']}")

    assert (await client.get("/get-concurrency")).json() == {"current_concurrency": 0}
