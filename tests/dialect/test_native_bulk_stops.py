"""Our own API: many calls stopped by one request, and the ledger of them, whole or line by line."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.api.http_server import HttpServer
from onhook.calls.states import State
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

ALL = {"selector": {"all": True}}
RINGING, ANSWERED, LATER = "+12025550101", "+12025550100", "+12025550109"
NDJSON = {"Accept": "application/x-ndjson"}


async def stop_many(client: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = await client.post("/v1/stops", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def later(rig: Rig, client: httpx.AsyncClient) -> str:
    body = {"to_number": LATER, "agent_id": rig.mine.agent_id, "delay_seconds": 60}
    call_id: str = (await client.post("/v1/calls", json=body)).json()["call_id"]
    return call_id


async def test_all_calls_are_stopped_and_each_is_accounted_for(rig: Rig, client: httpx.AsyncClient) -> None:
    answered, ringing = (await rig.call(ANSWERED)).id, (await rig.call(RINGING)).id
    scheduled = await later(rig, client)
    other = await rig.call(tenant=rig.other)
    told = await stop_many(client, ALL | {"reason": "a bad campaign"})

    assert (told["matched"], told["stopped"], told["held"], told["dial_block_id"]) == (3, 3, 0, None)
    assert told["result"] == {"confirmed": 3, "pending": 0, "unconfirmed": 0, "already_ended": 0}
    assert (told["requested_by"], told["reason"], told["dry_run"]) == ("api_key:apikey_mine", "a bad campaign", False)
    items = {item["call_id"]: item for item in told["items"]}
    ends = {call_id: (one["state_before"], one["outcome"], one["proof_method"]) for call_id, one in items.items()}
    assert ends == {
        answered: ("answered", "completed", "bye"),
        ringing: ("ringing", "canceled", "cancel"),
        scheduled: ("scheduled", "canceled", "none"),
    }
    for item in items.values():
        assert (item["first"], item["result"], item["state"]) == (True, "confirmed", "ended")
        assert (item["cause"]["reason"], item["cause"]["text"]) == ("api_stop", "a bad campaign")
        call = (await client.get(f"/v1/calls/{item['call_id']}")).json()
        assert (call["ended_at"], call["confirmed_at"]) == (item["ended_at"], item["confirmed_at"])
    assert (await rig.settled(other.id)).state is State.ANSWERED


@pytest.mark.parametrize(
    "selector",
    [
        {"agent_ids": ["agent_mine"], "states": ["answered"]},
        {"states": ["answered"], "environment": "this"},
        {"number_prefixes": ["+33", "+12025550100"]},
        {"trunk_ids": ["trunk_mine"], "metadata": {"list": "7"}},
        {"older_than_ms": 0, "metadata": {"list": "7"}},
    ],
)
async def test_a_selector_narrows(rig: Rig, client: httpx.AsyncClient, selector: dict[str, Any]) -> None:
    body = {"to_number": ANSWERED, "agent_id": rig.mine.agent_id, "metadata": {"list": 7}}
    meant = (await client.post("/v1/calls", json=body)).json()["call_id"]
    await rig.settled(meant)
    spared = await rig.call(RINGING)
    told = await stop_many(client, {"selector": selector})

    assert [item["call_id"] for item in told["items"]] == [meant]
    assert (await rig.settled(spared.id)).state is State.RINGING


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "selector"),
        ({"selector": {}}, "selector"),
        ({"selector": {"environment": "this"}}, "selector"),
        ({"selector": {"agent_ids": []}}, "selector"),
        ({"selector": {"all": True, "states": ["ringing"]}}, "selector"),
        ({"selector": {"states": ["ended"]}}, "selector.states.0"),
        ({"selector": {"number_prefixes": ["44"]}}, "selector.number_prefixes.0"),
        ({"selector": {"agents": ["x"]}}, "selector.agents"),
        ({"selector": {"environment": "env_other", "all": True}}, "selector.environment"),
        ({"selector": {"states": ["ringing"]}, "block_dials": True}, "selector"),
        ({"selector": {"all": True}, "wait_ms": 60_001}, "wait_ms"),
        ({"selector": {"all": True}, "reason": "x\r\ny"}, "reason"),
    ],
)
async def test_what_nobody_can_have_meant_is_refused(
    rig: Rig, client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    call = await rig.call()
    answer = await client.post("/v1/stops", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert (await rig.settled(call.id)).state is State.ANSWERED
    assert (await client.get("/v1/stops")).json() == {"items": []}


async def test_an_empty_selector_is_told_how_to_say_all(client: httpx.AsyncClient) -> None:
    (error,) = (await client.post("/v1/stops", json={"selector": {}})).json()["errors"]
    assert "say so with `all`" in error["message"]


async def test_a_dry_run_tells_what_would_be_stopped(rig: Rig, client: httpx.AsyncClient) -> None:
    call = await rig.call()
    await later(rig, client)
    told = await stop_many(client, ALL | {"dry_run": True, "block_dials": True})

    assert (told["matched"], told["held"], told["stopped"], told["dial_block_id"]) == (1, 1, None, None)
    assert set(told["result"].values()) == {0}
    (item,) = told["items"]
    assert (item["call_id"], item["state"], item["first"], item["result"]) == (call.id, "answered", None, None)
    assert (await rig.settled(call.id)).state is State.ANSWERED
    assert (await client.get("/v1/dial-blocks")).json() == {"items": []}


async def test_a_ledger_is_read_again_as_its_calls_stand_then(rig: Rig, client: httpx.AsyncClient) -> None:
    calls = [await rig.call() for _ in range(2)]
    rig.engine.settles = False
    told = await stop_many(client, ALL | {"wait_ms": 0})
    assert told["result"] == {"confirmed": 0, "pending": 2, "unconfirmed": 0, "already_ended": 0}
    assert {item["state"] for item in told["items"]} == {"ending"}

    rig.engine.settle(calls[0].id)
    rig.engine.settle(calls[1].id, confirmed=False)
    await rig.recorder.drained()
    again = (await client.get(f"/v1/stops/{told['id']}")).json()
    assert again["result"] == {"confirmed": 1, "pending": 0, "unconfirmed": 1, "already_ended": 0}
    assert [item["first"] for item in again["items"]] == [True, True]
    listed = (await client.get("/v1/stops")).json()["items"]
    assert listed == [{name: value for name, value in again.items() if name not in ("items", "result")}]


async def test_another_tenants_bulk_stop_is_not_there(rig: Rig, client: httpx.AsyncClient) -> None:
    told = await stop_many(client, ALL)
    async with rig.client(tenant=rig.other) as stranger:
        answers = [await stranger.get(f"/v1/stops/{told['id']}"), await client.get("/v1/stops/nobody")]
        assert (await stranger.get("/v1/stops")).json() == {"items": []}
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(404, "bulk_stop_not_found")] * 2


async def test_of_two_bulk_stops_over_the_same_calls_one_was_first(rig: Rig, client: httpx.AsyncClient) -> None:
    for _ in range(4):
        await rig.call()
    told = await asyncio.gather(*(stop_many(client, ALL) for _ in range(2)))
    firsts = [item["first"] for one in told for item in one["items"]]

    assert firsts.count(True) == 4
    assert len(rig.engine.hangups) == 4
    assert (await stop_many(client, ALL))["matched"] == 0


async def test_a_bulk_stop_that_is_sent_again_is_the_same_one(rig: Rig, client: httpx.AsyncClient) -> None:
    await rig.call()
    key, body = {"Idempotency-Key": "panic-1"}, ALL | {"block_dials": True}
    first = await client.post("/v1/stops", json=body, headers=key)
    block_id = first.json()["dial_block_id"]
    assert (await client.delete(f"/v1/dial-blocks/{block_id}")).status_code == 204
    spared = await rig.call()
    second = await client.post("/v1/stops", json=body, headers=key)
    streamed = await client.post("/v1/stops", json=body, headers=key | NDJSON)
    other = await client.post("/v1/stops", json=ALL, headers=key)

    assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    assert second.json() == first.json()
    assert streamed.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await rig.settled(spared.id)).state is State.ANSWERED
    assert (await client.get("/v1/dial-blocks")).json() == {"items": []}


async def test_a_refused_bulk_stop_leaves_its_key_free(rig: Rig, client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "panic-1"}
    bodies: tuple[dict[str, Any], ...] = ({"selector": {}}, {"selector": {"all": True, "states": ["ringing"]}}, ALL)
    statuses = [(await client.post("/v1/stops", json=body, headers=key)).status_code for body in bodies]
    bad = await client.post("/v1/stops", json=ALL, headers={"Idempotency-Key": "a b"})

    assert statuses == [422, 422, 200]
    assert (bad.status_code, bad.json()["code"]) == (422, "invalid_idempotency_key")


@pytest.mark.parametrize(("headers", "query"), [(NDJSON, ""), ({}, "?stream=true")])
async def test_the_ledger_is_streamed_line_by_line(
    rig: Rig, client: httpx.AsyncClient, headers: dict[str, str], query: str
) -> None:
    prompt, silent = await rig.call(), await rig.call()
    rig.engine.settles = False
    sent = asyncio.create_task(client.post(f"/v1/stops{query}", json=ALL | {"wait_ms": 300}, headers=headers))
    async with asyncio.timeout(5):
        while len(rig.engine.hangups) < 2:  # noqa: ASYNC110 (the fake engine sets no event)
            await asyncio.sleep(0.005)
    rig.engine.settle(prompt.id)
    answer = await sent
    head, first, second, last = map(json.loads, answer.text.splitlines())

    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert (head["type"], head["matched"], head["stopped"]) == ("bulk_stop", 2, 2)
    assert [(one["type"], one["call_id"], one["result"]) for one in (first, second)] == [
        ("call", prompt.id, "confirmed"),
        ("call", silent.id, "pending"),
    ]
    assert last == {"type": "result", "confirmed": 1, "pending": 1, "unconfirmed": 0, "already_ended": 0}


async def test_a_line_is_sent_while_others_are_still_waited_for(memory_rig: Rig) -> None:
    rig = memory_rig
    prompt, silent = await rig.call(), await rig.call()
    rig.engine.settles = False
    async with (
        HttpServer(rig.app(), "127.0.0.1", 0) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", headers=rig.mine.headers | NDJSON) as client,
        client.stream("POST", "/v1/stops", json=ALL) as answer,
        asyncio.timeout(10),
    ):
        lines = answer.aiter_lines()
        assert json.loads(await anext(lines))["matched"] == 2
        for call in (prompt, silent):
            rig.engine.settle(call.id)
            line = json.loads(await anext(lines))
            assert (line["call_id"], line["result"]) == (call.id, "confirmed")
        assert json.loads(await anext(lines))["confirmed"] == 2


async def test_a_store_that_is_down_ends_the_calls_all_the_same(memory_rig: Rig) -> None:
    rig = memory_rig
    assert isinstance(rig.store, MemoryStore)
    calls = [await rig.call() for _ in range(2)]
    rig.store.fail_writes = True
    async with rig.client() as client:
        answer = await client.post("/v1/stops", json=ALL | {"block_dials": True})
    rig.store.fail_writes = False

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert [call_id for call_id, _ in rig.engine.hangups] == [call.id for call in calls]


async def test_a_full_server_serves_bulk_stops_and_dial_blocks(memory_rig: Rig) -> None:
    rig = memory_rig
    await rig.call()
    async with rig.client(rig.app(max_connections=0)) as client:
        assert (await client.get("/v1/calls")).status_code == 503
        told = await stop_many(client, ALL | {"block_dials": True})
        paths = ("/v1/stops", f"/v1/stops/{told['id']}", "/v1/dial-blocks")
        statuses = [(await client.get(path)).status_code for path in paths]
        released = await client.delete(f"/v1/dial-blocks/{told['dial_block_id']}")

    assert (statuses, released.status_code) == ([200] * 3, 204)
