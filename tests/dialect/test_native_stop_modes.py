"""How a call is stopped over our own API: now or gracefully, and how both dialects see a call in its farewell."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import BASE_URL, Rig
from tests.dialect.talking import TalkingRig

from onhook.agents.messages import Cue, CueKind
from onhook.api.times import iso_ms
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


async def call_to(rig: TalkingRig, client: httpx.AsyncClient, to: str = "+12025550100", **more: object) -> str:
    answer = await client.post("/v1/calls", json={"to_number": to, "agent_id": rig.mine.agent_id, **more})
    assert answer.status_code == 201, answer.text
    await rig.written()
    call_id: str = answer.json()["call_id"]
    return call_id


async def stop(client: httpx.AsyncClient, call_id: str, **body: object) -> dict[str, Any]:
    answer = await client.post(f"/v1/calls/{call_id}/stop", json={"wait_ms": 0} | body)
    assert answer.status_code == 200, answer.text
    stopped: dict[str, Any] = answer.json()
    return stopped


async def gracefully(client: httpx.AsyncClient, call_id: str, **body: object) -> dict[str, Any]:
    return await stop(client, call_id, mode="graceful", **body)


async def shown(client: httpx.AsyncClient, call_id: str) -> dict[str, Any]:
    call: dict[str, Any] = (await client.get(f"/v1/calls/{call_id}")).json()
    return call


async def test_a_graceful_stop_winds_the_call_down_and_ends_it_with_the_last_word(
    rig: TalkingRig, client: httpx.AsyncClient
) -> None:
    call_id = await call_to(rig, client)
    asked_at = rig.still.now_ms()
    stopping = await gracefully(client, call_id, farewell="So long.", deadline_ms=3000, reason="closing time")

    assert (stopping["state"], stopping["outcome"], stopping["cause"]) == ("answered", None, None)
    assert stopping["stop"] | {"request_id": "any"} == {
        "result": "winding_down", "requested_at": iso_ms(asked_at), "requested_by": f"api_key:{rig.mine.key_id}",
        "reason": "api_stop", "text": "closing time", "deadline_at": iso_ms(asked_at + 3000), "farewell": None,
        "bye_sent_at": None, "confirmed_at": None, "bulk_id": None, "request_id": "any",
    }  # fmt: skip
    assert rig.agents.last.sent == [Cue(CueKind.FAREWELL, "So long.")]
    assert (await shown(client, call_id))["stop"] == stopping["stop"]
    (listed,) = (await client.get("/v1/calls")).json()["items"]
    assert listed["stop"] == stopping["stop"]

    rig.says_it_and_hangs_up(400)
    await rig.passes(call_id, 700)
    call = await shown(client, call_id)
    assert (call["state"], call["outcome"], call["cause"]["text"]) == ("ended", "completed", "closing time")
    stopped = call["stop"]
    assert (stopped["result"], stopped["farewell"], stopped["deadline_at"]) == ("confirmed", "played", None)
    assert stopped["request_id"] == stopping["stop"]["request_id"]
    assert await gracefully(client, call_id) == await stop(client, call_id)


async def test_without_a_deadline_the_farewell_has_five_seconds(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client)
    begun = rig.still.now_ms()
    stopping = await gracefully(client, call_id)
    assert stopping["stop"]["deadline_at"] == iso_ms(begun + 5000)
    assert rig.agents.last.sent == [Cue(CueKind.FAREWELL)]
    await rig.passes(call_id, 5000)
    call = await shown(client, call_id)
    assert (call["state"], call["ended_at"], call["stop"]["farewell"]) == ("ended", iso_ms(begun + 5000), "skipped")


@pytest.mark.parametrize("to", ["+12025550101", "+12025550109"])
async def test_a_call_without_anybody_to_say_it_is_stopped_at_once(
    rig: TalkingRig, client: httpx.AsyncClient, to: str
) -> None:
    call_id = await call_to(rig, client, to)
    stopped = await gracefully(client, call_id, farewell="So long.", wait_ms=1000)
    assert (stopped["state"], stopped["outcome"], stopped["stop"]["farewell"]) == ("ended", "canceled", "skipped")


async def test_a_scheduled_call_is_stopped_at_once(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client, delay_seconds=60)
    stopped = await gracefully(client, call_id)
    assert (stopped["state"], stopped["stop"]["result"], stopped["stop"]["farewell"]) == (
        "ended",
        "confirmed",
        "skipped",
    )


async def test_a_stop_without_a_mode_says_nothing_of_a_farewell(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    stopped = await stop(client, await call_to(rig, client), wait_ms=1000)
    assert (stopped["state"], stopped["stop"]["farewell"]) == ("ended", None)


@pytest.mark.parametrize(("said_ms", "farewell"), [(0, "skipped"), (1000, "truncated")])
@pytest.mark.parametrize("dialect", ["native", "talkover", "anunzi"])
async def test_in_every_dialect_a_stop_pre_empts_the_farewell(
    rig: TalkingRig, client: httpx.AsyncClient, dialect: str, said_ms: int, farewell: str
) -> None:
    call_id = await call_to(rig, client)
    await gracefully(client, call_id, reason="first")
    rig.says_goodbye(said_ms)
    await rig.passes(call_id, 200)
    if dialect == "native":
        answer = await client.post(f"/v1/calls/{call_id}/stop", json={"reason": "second"})
    elif dialect == "talkover":
        url = f"/api/v1/agents/{rig.mine.agent_id}/end-call"
        answer = await client.post(url, json={"call_sid": call_id})
    else:
        answer = await client.post(f"/v2/stop-call/{call_id}")
    assert answer.status_code == (204 if dialect == "anunzi" else 200), answer.text
    call = await shown(client, call_id)
    assert (call["state"], call["stop"]["farewell"]) == ("ended", farewell)
    assert call["cause"]["text"] == ("second" if dialect == "native" else None)


async def test_both_dialects_see_a_call_in_its_farewell_as_active(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client)
    await gracefully(client, call_id)
    active = await client.get(f"/api/v1/agents/{rig.mine.agent_id}/active-call/+12025550100")
    assert (active.status_code, active.json()["data"][0]["status"]) == (200, "answered")
    assert (await client.get(f"/v2/get-call/{call_id}")).json()["call_status"] == "ongoing"


async def test_a_second_graceful_stop_returns_the_first_and_may_shorten_it(
    rig: TalkingRig, client: httpx.AsyncClient
) -> None:
    call_id = await call_to(rig, client)
    begun = rig.still.now_ms()
    first = await gracefully(client, call_id, reason="first", deadline_ms=2000)
    assert await gracefully(client, call_id, reason="second", deadline_ms=9000) == first
    shorter = await gracefully(client, call_id, reason="third", deadline_ms=1000)
    assert shorter["stop"] == first["stop"] | {"deadline_at": iso_ms(begun + 1000)}
    assert len(rig.agents.last.sent) == 1
    await rig.passes(call_id, 1000)
    call = await shown(client, call_id)
    assert (call["ended_at"], call["cause"]["text"]) == (iso_ms(begun + 1000), "first")


async def test_when_the_far_end_hangs_up_first_the_answer_tells_what_was_heard(
    rig: TalkingRig, client: httpx.AsyncClient
) -> None:
    call_id = await call_to(rig, client)
    await gracefully(client, call_id)
    rig.says_goodbye(1000)
    await rig.passes(call_id, 200)
    rig.engine.hang_up_far_end(call_id)
    await rig.written()
    again = await gracefully(client, call_id)
    assert (again["stop"]["result"], again["stop"]["farewell"], again["cause"]["reason"]) == (
        "already_ended", "truncated", "hangup",
    )  # fmt: skip


async def test_a_call_that_had_ended_before_knows_of_no_farewell(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client)
    rig.engine.hang_up_far_end(call_id)
    await rig.written()
    late = await gracefully(client, call_id)
    assert (late["stop"]["result"], late["stop"]["farewell"]) == ("already_ended", None)


async def test_who_asked_and_for_which_request_is_kept(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client)
    url, body = f"/v1/calls/{call_id}/stop", {"mode": "graceful", "wait_ms": 0, "reason": "bye"}
    await client.post(url, json=body, headers={"X-Request-Id": "mine-1"})
    rig.says_it_and_hangs_up(200)
    await rig.passes(call_id, 500)
    events = {one["type"]: one["data"] for one in (await client.get(f"/v1/calls/{call_id}/timeline")).json()["events"]}
    begun, ended = events["call.farewell_started"], events["call.stop_requested"]
    assert (begun["actor"], begun["reason"], begun["request_id"]) == (f"api_key:{rig.mine.key_id}", "bye", "mine-1")
    assert (ended["request_id"], ended["farewell"]) == ("mine-1", "played")


@pytest.mark.parametrize(
    "body",
    [
        {"mode": "later"},
        {"mode": "graceful", "deadline_ms": 30_001},
        {"mode": "graceful", "deadline_ms": 99},
        {"mode": "graceful", "farewell": ""},
        {"mode": "graceful", "farewell": "x" * 1001},
        {"mode": "graceful", "farewell": "a\nb"},
        {"farewell": "So long."},
        {"mode": "now", "deadline_ms": 1000},
    ],
)
async def test_its_fields_are_checked_and_nothing_is_changed(
    rig: TalkingRig, client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    call_id = await call_to(rig, client)
    answer = await client.post(f"/v1/calls/{call_id}/stop", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    call = await rig.store.get_call(call_id, None)
    assert call is not None
    assert call.state is State.ANSWERED
    assert not rig.agents.last.sent


async def test_other_tenants_calls_are_not_found(rig: TalkingRig, client: httpx.AsyncClient) -> None:
    call_id = await call_to(rig, client)
    async with rig.client(tenant=rig.other) as stranger:
        answer = await stranger.post(f"/v1/calls/{call_id}/stop", json={"mode": "graceful"})
    assert answer.status_code == 404
    assert (await shown(client, call_id))["stop"] is None


async def test_with_a_full_disk_the_call_is_ended_and_503_says_that_nothing_was_recorded() -> None:
    store = MemoryStore()
    rig = TalkingRig(store)
    await rig.start()
    async with rig.client() as client:
        call_id = await call_to(rig, client)
        store.fail_writes = True
        answer = await client.post(f"/v1/calls/{call_id}/stop", json={"mode": "graceful"})
        store.fail_writes = False
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert [ended for ended, _ in rig.engine.hangups] == [call_id]
    await rig.written()


async def test_a_rig_without_agents_has_nobody_to_say_a_farewell(memory_rig: Rig) -> None:
    call = await memory_rig.call()
    transport = httpx.ASGITransport(memory_rig.app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=memory_rig.mine.headers) as client:
        stopped = await gracefully(client, call.id, wait_ms=1000)
    assert (stopped["state"], stopped["stop"]["farewell"]) == ("ended", "skipped")
