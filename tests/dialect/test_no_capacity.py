"""A create for which there is no room: 429 with Retry-After in the words of each dialect, nothing written."""

import httpx
import pytest
import retell
from tests.dialect.conftest import BASE_URL, Rig

from onhook.calls.states import State
from onhook.control.capacity import RETRY_AFTER_S
from onhook.control.place import PlaceOrder
from onhook.store.queries import CallFilter, Page
from onhook.testing.clock import ManualClock
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

TO = "+12025550100"
FULL = "This server takes no more than 1 calls at once"


async def creates(rig: Rig, client: httpx.AsyncClient) -> dict[str, httpx.Response]:
    agent_id, number = rig.mine.agent_id, rig.mine.number
    tasks = {"from_number": number, "tasks": [{"to_number": TO}]}
    return {
        "talkover": await client.post(f"/api/v1/agents/{agent_id}/call", json={"to": TO}),
        "anunzi": await client.post("/v2/create-phone-call", json={"from_number": number, "to_number": TO}),
        "batch": await client.post("/create-batch-call", json=tasks),
        "native": await client.post("/v1/calls", json={"to_number": TO, "agent_id": agent_id}),
    }


async def test_each_dialect_refuses_in_its_own_shape_and_writes_nothing(rig: Rig, client: httpx.AsyncClient) -> None:
    rig.capacity.max_calls = 1
    await rig.call()
    answers = await creates(rig, client)

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 429)
    assert {answer.headers["retry-after"] for answer in answers.values()} == {str(RETRY_AFTER_S)}
    assert not any("x-should-retry" in answer.headers for answer in answers.values())
    assert answers["talkover"].json() == {
        "error": {"code": "RATE_LIMIT_EXCEEDED", "message": FULL, "details": {"retry_after": RETRY_AFTER_S}}
    }
    assert answers["anunzi"].json() == answers["batch"].json() == {"status": "error", "message": FULL}
    problem = answers["native"].json()
    assert answers["native"].headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["code"], problem["detail"]) == (429, "no_capacity", FULL)
    assert await rig.store.count_calls(CallFilter()) == 1


async def test_a_stop_makes_room_and_the_same_request_is_carried_out(rig: Rig, client: httpx.AsyncClient) -> None:
    rig.capacity.max_calls = 1
    call = await rig.call()
    body, once = {"to_number": TO, "agent_id": rig.mine.agent_id}, {"Idempotency-Key": "again"}
    refused = await client.post("/v1/calls", json=body, headers=once)
    stopped = await client.post(f"/v1/calls/{call.id}/stop", json={})
    made = await client.post("/v1/calls", json=body, headers=once)

    assert (refused.status_code, stopped.status_code, made.status_code) == (429, 200, 201)


async def test_calls_for_later_are_taken(rig: Rig, client: httpx.AsyncClient) -> None:
    rig.capacity.max_calls = 1
    await rig.call()
    path = f"/api/v1/agents/{rig.mine.agent_id}/call"
    assert (await client.post(path, json={"to": TO, "delay_seconds": 60})).status_code == 200


async def test_a_batch_that_is_taken_is_taken_whole_though_more_is_due_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ManualClock()
    rig = Rig(MemoryStore(), clock)
    await rig.start()
    rig.capacity.max_calls = 1
    check = rig.placer.check

    async def check_slowly(order: PlaceOrder) -> None:
        await check(order)
        clock.advance(1.0)

    monkeypatch.setattr(rig.placer, "check", check_slowly)
    tasks = {"from_number": rig.mine.number, "tasks": [{"to_number": TO}] * 4}
    async with rig.client() as client:
        answer = await client.post("/create-batch-call", json=tasks)
    calls = await rig.store.list_calls(CallFilter(), Page())

    assert answer.status_code == 201, answer.text
    assert len(calls) == 4
    assert [call.state for call in calls].count(State.SCHEDULED) == 3


async def test_a_batch_that_is_sent_again_is_the_same_though_its_own_calls_fill_the_server(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    rig.capacity.max_calls = 1
    tasks = {"from_number": rig.mine.number, "tasks": [{"to_number": TO}] * 2}
    answers = [
        await client.post("/create-batch-call", json=tasks, headers={"x-stainless-retry-count": attempt})
        for attempt in ("0", "1")
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["batch_call_id"] == answers[1].json()["batch_call_id"]
    assert await rig.store.count_calls(CallFilter()) == 2


async def test_retells_own_sdk_tells_it_as_a_rate_limit(rig: Rig) -> None:
    rig.capacity.max_calls = 1
    await rig.call()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(rig.app()), base_url=BASE_URL) as http:
        sdk = retell.AsyncRetell(api_key=rig.mine.token, base_url=BASE_URL, http_client=http, max_retries=0)
        with pytest.raises(retell.RateLimitError):
            await sdk.call.create_phone_call(from_number=rig.mine.number, to_number=TO)
