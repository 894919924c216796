"""Scheduled stops over our own API: set with the call or later, changed, taken back, and carried out on time."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.talking import TalkingRig

from onhook.api.limits import is_stop
from onhook.api.times import iso_ms, ms_of
from onhook.calls.states import State
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Store
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TalkingRig]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "onhook.db")
    built = TalkingRig(store)
    await built.start()
    yield built
    await built.written()
    await store.close()


@pytest.fixture
async def client(rig: TalkingRig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as opened:
        yield opened


def order(rig: Rig, **more: object) -> dict[str, object]:
    return {"to_number": "+12025550100", "agent_id": rig.mine.agent_id} | more


async def call_to(rig: TalkingRig, client: httpx.AsyncClient, **more: object) -> str:
    answer = await client.post("/v1/calls", json=order(rig, **more))
    assert answer.status_code == 201, answer.text
    await rig.written()
    call_id: str = answer.json()["call_id"]
    return call_id


async def shown(client: httpx.AsyncClient, call_id: str) -> dict[str, Any]:
    call: dict[str, Any] = (await client.get(f"/v1/calls/{call_id}")).json()
    return call


async def scheduled(client: httpx.AsyncClient, call_id: str, **body: object) -> dict[str, Any]:
    answer = await client.put(f"/v1/calls/{call_id}/stop-at", json=body)
    assert answer.status_code == 200, answer.text
    call: dict[str, Any] = answer.json()
    return call


async def log_of(client: httpx.AsyncClient, call_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = (await client.get(f"/v1/calls/{call_id}/timeline")).json()["events"]
    return events


@pytest.mark.parametrize("field", ["stop_at", "stop_after_ms"])
async def test_a_call_is_created_with_its_end(rig: TalkingRig, client: httpx.AsyncClient, field: str) -> None:
    moment = rig.still.now_ms() + 5_000
    value = {"stop_at": iso_ms(moment), "stop_after_ms": 5_000}[field]
    answer = await client.post("/v1/calls", json=order(rig, **{field: value}))
    created = answer.json()
    await rig.written()
    assert (created["stop_at"], created["stop_at_set_by"]) == (iso_ms(moment), f"api_key:{rig.mine.key_id}")
    assert [one["type"] for one in await log_of(client, created["call_id"])][:2] == [
        "call.created",
        "call.stop_scheduled",
    ]
    await rig.passes(created["call_id"], 4_980)
    assert (await shown(client, created["call_id"]))["state"] == "answered"
    await rig.passes(created["call_id"], 20)
    call = await shown(client, created["call_id"])
    assert (call["state"], call["ended_at"], call["stop_at"]) == ("ended", iso_ms(moment), None)
    assert (call["cause"]["initiator"], call["cause"]["reason"]) == ("timer", "scheduled_stop")


async def test_the_end_of_a_scheduled_call_may_come_before_it_is_dialled(
    rig: TalkingRig, client: httpx.AsyncClient
) -> None:
    call_id = await call_to(rig, client, delay_seconds=60, stop_after_ms=10_000)
    await rig.passes(call_id, 10_000)
    call = await shown(client, call_id)
    assert (call["state"], call["outcome"], call["dialed_at"]) == ("ended", "canceled", None)


async def test_a_create_that_is_sent_twice_schedules_one_stop(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}
    body = order(rig, stop_after_ms=60_000)
    first = await client.post("/v1/calls", json=body, headers=headers)
    await rig.written()
    rig.still.advance(5)
    again = await client.post("/v1/calls", json=body, headers=headers)
    assert again.json() == first.json()
    call_id = first.json()["call_id"]
    assert [one["type"] for one in await log_of(client, call_id)].count("call.stop_scheduled") == 1
    assert (await shown(client, call_id))["stop_at"] == first.json()["stop_at"]


async def test_it_is_set_changed_and_taken_back(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client)
    now, url = rig.still.now_ms(), f"/v1/calls/{call_id}/stop-at"
    assert (await shown(client, call_id))["stop_at"] is None
    call = await scheduled(client, call_id, after_ms=5000, reason="too dear")
    assert (call["state"], call["stop_at"], call["stop_at_reason"]) == ("answered", iso_ms(now + 5000), "too dear")
    call = await scheduled(client, call_id, at=iso_ms(now + 9000))
    assert (call["stop_at"], call["stop_at_reason"]) == (iso_ms(now + 9000), None)
    (listed,) = (await client.get("/v1/calls")).json()["items"]
    assert listed["stop_at"] == call["stop_at"]

    freed = await client.delete(url, params={"reason": "paid"}, headers={"X-Request-Id": "mine-2"})
    assert (freed.status_code, freed.json()["stop_at"], freed.json()["stop_at_set_by"]) == (200, None, None)
    assert (await client.delete(url)).status_code == 200, "there is nothing to take back"
    told = [one["data"] for one in await log_of(client, call_id) if one["type"] == "call.stop_unscheduled"]
    assert told == [
        {
            "at": iso_ms(now + 9000),
            "actor": f"api_key:{rig.mine.key_id}",
            "reason": "paid",
            "request_id": "mine-2",
        }
    ]
    await rig.passes(call_id, 10_000)
    assert (await shown(client, call_id))["state"] == "answered"


@pytest.mark.parametrize("offset", ["+02:00", "-05:00"])
async def test_a_moment_may_have_any_time_zone(rig: TalkingRig, client: httpx.AsyncClient, offset: str) -> None:
    call_id = await call_to(rig, client)
    at = {"+02:00": "2030-01-01T02:00:00+02:00", "-05:00": "2029-12-31T19:00:00-05:00"}[offset]
    assert (await scheduled(client, call_id, at=at))["stop_at"] == "2030-01-01T00:00:00.000Z"


@pytest.mark.parametrize("body", [{"at": "1999-12-31T23:59:59Z"}, {"after_ms": 0}])
async def test_a_moment_that_has_passed_ends_the_call_now(
    rig: TalkingRig, client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    call_id = await call_to(rig, client)
    call = await scheduled(client, call_id, reason="late", **body)
    assert (call["state"], call["stop"]["result"], call["stop_at"]) == ("ended", "confirmed", None)
    assert (call["cause"]["reason"], call["cause"]["text"]) == ("scheduled_stop", "late")
    assert call["ended_at"] == iso_ms(rig.still.now_ms())


async def test_for_a_call_that_is_over_it_is_too_late(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client)
    await client.post(f"/v1/calls/{call_id}/stop")
    url = f"/v1/calls/{call_id}/stop-at"
    for answer in (await client.put(url, json={"after_ms": 1000}), await client.delete(url)):
        assert (answer.status_code, answer.json()["code"]) == (409, "call_over")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"at": "2030-01-01T00:00:00Z", "after_ms": 1},
        {"at": "2030-01-01T00:00:00"},
        {"at": 1_900_000_000},
        {"at": "tomorrow"},
        {"after_ms": -1},
        {"after_ms": 366 * 86_400_000 + 1},
        {"after_ms": 1, "reason": "a\nb"},
        {"after_ms": 1, "when": 2},
    ],
)
async def test_its_fields_are_checked_and_nothing_is_changed(
    rig: TalkingRig, client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    call_id = await call_to(rig, client)
    answer = await client.put(f"/v1/calls/{call_id}/stop-at", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    call = await shown(client, call_id)
    assert (call["state"], call["stop_at"]) == ("answered", None)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"stop_at": "2020-01-01T00:00:00Z"}, "stop_at"),
        ({"stop_at": "2030-01-01T00:00:00Z", "stop_after_ms": 5}, "stop_after_ms"),
        ({"stop_at": 12}, "stop_at"),
        ({"stop_after_ms": -5}, "stop_after_ms"),
    ],
)
async def test_a_call_whose_end_makes_no_sense_is_not_created(
    rig: TalkingRig, client: httpx.AsyncClient, more: dict[str, object], field: str
) -> None:
    answer = await client.post("/v1/calls", json=order(rig, **more))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert (await client.get("/v1/calls")).json()["items"] == []


async def test_other_tenants_calls_are_not_found(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client, stop_after_ms=60_000)
    async with rig.client(tenant=rig.other) as stranger:
        put = await stranger.put(f"/v1/calls/{call_id}/stop-at", json={"after_ms": 0})
        freed = await stranger.delete(f"/v1/calls/{call_id}/stop-at")
    assert (put.status_code, freed.status_code) == (404, 404)
    call = await shown(client, call_id)
    assert call["state"] == "answered"
    assert call["stop_at"] is not None


async def test_both_dialects_read_it_as_a_stop_of_ours(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client)
    await scheduled(client, call_id, after_ms=0)
    call = (await client.get(f"/v2/get-call/{call_id}")).json()
    assert (call["call_status"], call["disconnection_reason"]) == ("ended", "manual_stopped")


async def test_with_a_full_disk_nothing_is_scheduled_and_503_says_so() -> None:
    store = MemoryStore()
    rig = TalkingRig(store)
    await rig.start()
    async with rig.client() as client:
        call_id = await call_to(rig, client)
        store.fail_writes = True
        put = await client.put(f"/v1/calls/{call_id}/stop-at", json={"after_ms": 1000})
        created = await client.post("/v1/calls", json=order(rig, stop_after_ms=1000))
        store.fail_writes = False
        await rig.passes(call_id, 2000)
        items = (await client.get("/v1/calls")).json()["items"]
    assert (put.status_code, created.status_code) == (503, 503)
    assert [(one["call_id"], one["state"]) for one in items] == [(call_id, "answered")]


async def test_a_call_in_any_live_state_can_be_given_an_end(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    calls = {
        State.SCHEDULED: await call_to(rig, client, delay_seconds=60),
        State.DIALING: await call_to(rig, client, to_number="+12025550109"),
        State.RINGING: await call_to(rig, client, to_number="+12025550101"),
        State.ANSWERED: await call_to(rig, client),
    }
    for state, call_id in calls.items():
        assert (await scheduled(client, call_id, after_ms=1000))["state"] == state
    rig.still.advance(1)
    await rig.written()
    assert [(await shown(client, call_id))["state"] for call_id in calls.values()] == ["ended"] * 4


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/calls/x/stop-at"), ("DELETE", "/v1/calls/x/stop-at")])
def test_a_request_about_the_end_of_a_call_is_never_turned_away_for_lack_of_room(method: str, path: str) -> None:
    assert is_stop({"type": "http", "method": method, "path": path})


def test_a_moment_keeps_its_milliseconds() -> None:
    assert iso_ms(ms_of(datetime.fromisoformat("2030-01-01T00:00:00.123999+00:00"))) == "2030-01-01T00:00:00.123Z"
