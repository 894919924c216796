"""Anunzi/Retell: create, get and stop, to the letter of the contract."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.calls.states import State

pytestmark = pytest.mark.dialect

BAD_REQUEST = {"status": "error", "message": "Invalid request format, please check API reference."}
UNAUTHORIZED = {"status": "error", "message": "API key is missing or invalid."}
UNKNOWN = {"status": "error", "message": "Cannot find requested asset under given api key."}


async def create(rig: Rig, client: httpx.AsyncClient, to: str = "+12025550100", **more: object) -> dict[str, Any]:
    answer = await client.post("/v2/create-phone-call", json={"from_number": rig.mine.number, "to_number": to, **more})
    assert answer.status_code == 201, answer.text
    await rig.settled(answer.json()["call_id"])
    created: dict[str, Any] = answer.json()
    return created


async def get(client: httpx.AsyncClient, call_id: str) -> dict[str, Any]:
    answer = await client.get(f"/v2/get-call/{call_id}")
    assert answer.status_code == 200, answer.text
    call: dict[str, Any] = answer.json()
    return call


# --- create ------------------------------------------------------------------------------------------


async def test_create_answers_201_with_the_registered_call(rig: Rig, client: httpx.AsyncClient) -> None:
    created = await create(rig, client, "+12025550101", metadata={"a": None, "b": [1]})

    assert re.fullmatch(r"call_[0-9a-f]{27}", created.pop("call_id"))
    assert created == {
        "call_type": "phone_call",
        "agent_id": rig.mine.agent_id,
        "agent_name": "ada",
        "agent_version": 0,
        "call_status": "registered",
        "direction": "outbound",
        "from_number": rig.mine.number,
        "to_number": "+12025550101",
        "metadata": {"a": None, "b": [1]},
        "data_storage_setting": "everything",
    }


async def test_create_passes_on_variables_and_sip_headers(rig: Rig, client: httpx.AsyncClient) -> None:
    given: dict[str, object] = {
        "retell_llm_dynamic_variables": {"name": "Zoë"},
        "custom_sip_headers": {"X-Campaign": "spring; 2026"},
    }
    created = await create(rig, client, "+12025550101", **given)

    assert {name: created[name] for name in given} == given
    leg = rig.engine.legs[created["call_id"]]
    assert leg.order is not None
    assert leg.order.headers == given["custom_sip_headers"]


@pytest.mark.parametrize(
    "change",
    [
        {"from_number": None},
        {"to_number": ""},
        {"to_number": 5},
        {"to_number": "12"},
        {"to_number": "+1911"},
        {"metadata": "x"},
        {"retell_llm_dynamic_variables": {"n": 1}},
        {"custom_sip_headers": {"X-A": "b\r\nTo: sip:evil"}},
        {"custom_sip_headers": {"X-A": "b\n"}},
        {"custom_sip_headers": {"X-A\n": "b"}},
        {"custom_sip_headers": {"Via": "x"}},
        {"override_agent_version": 1.5},
        {"agent_override": {"agent": {"voice_id": "x"}}},
    ],
)
async def test_create_refuses_what_is_malformed(rig: Rig, client: httpx.AsyncClient, change: dict[str, object]) -> None:
    body = {"from_number": rig.mine.number, "to_number": "+12025550100"} | change
    answer = await client.post("/v2/create-phone-call", json=body)

    assert answer.status_code == 400
    assert set(answer.json()) == {"status", "message"}
    assert answer.json()["status"] == "error"
    assert rig.engine.legs == {}


@pytest.mark.parametrize("media_type", ["text/plain", "application/json"])
async def test_create_refuses_a_body_that_is_no_json(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post("/v2/create-phone-call", content=b"{", headers={"Content-Type": media_type})

    assert (answer.status_code, answer.json()) == (400, BAD_REQUEST)


async def test_create_knows_only_numbers_and_agents_of_its_own_environment(rig: Rig, client: httpx.AsyncClient) -> None:
    for change in (
        {"from_number": rig.other.number},
        {"override_agent_id": rig.other.agent_id},
        {"override_agent_id": "nobody"},
        {"override_agent_version": 7},
    ):
        body = {"from_number": rig.mine.number, "to_number": "+12025550100"} | change
        answer = await client.post("/v2/create-phone-call", json=body)
        assert (answer.status_code, answer.json()) == (422, UNKNOWN)


@pytest.mark.parametrize("version", [0, "0", "latest"])
async def test_create_takes_the_version_that_the_agent_has(
    rig: Rig, client: httpx.AsyncClient, version: int | str
) -> None:
    created = await create(rig, client, override_agent_id=rig.mine.agent_id, override_agent_version=version)

    assert created["agent_version"] == 0


async def test_an_idempotency_key_places_one_call(rig: Rig, client: httpx.AsyncClient) -> None:
    first, second = await asyncio.gather(
        create(rig, client, idempotency_key="k"), create(rig, client, idempotency_key="k")
    )
    third = await create(rig, client, idempotency_key="other")

    assert first["call_id"] == second["call_id"] != third["call_id"]
    assert len(rig.engine.legs) == 2


async def test_a_refusal_is_not_remembered_under_its_idempotency_key(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {"from_number": rig.mine.number, "to_number": "+1911", "idempotency_key": "k"}
    assert (await client.post("/v2/create-phone-call", json=body)).status_code == 400

    assert (await create(rig, client, idempotency_key="k"))["call_status"] in {"registered", "ongoing"}


# --- get ---------------------------------------------------------------------------------------------


async def test_get_shows_times_only_when_they_have_come(rig: Rig, client: httpx.AsyncClient) -> None:
    ringing = await get(client, (await create(rig, client, "+12025550101"))["call_id"])
    assert ringing["call_status"] == "registered"
    assert not {"start_timestamp", "end_timestamp", "duration_ms", "disconnection_reason"} & set(ringing)

    talking = await get(client, (await create(rig, client))["call_id"])
    assert talking["call_status"] == "ongoing"
    assert isinstance(talking["start_timestamp"], int)
    assert not {"end_timestamp", "duration_ms", "disconnection_reason"} & set(talking)

    rig.engine.hang_up_far_end(talking["call_id"])
    await rig.settled(talking["call_id"])
    ended = await get(client, talking["call_id"])
    assert (ended["call_status"], ended["disconnection_reason"]) == ("ended", "user_hangup")
    assert ended["duration_ms"] == ended["end_timestamp"] - ended["start_timestamp"]


@pytest.mark.parametrize(
    ("suffix", "status", "reason"),
    [
        ("02", "not_connected", "dial_busy"),
        ("03", "not_connected", "user_declined"),
        ("05", "not_connected", "invalid_destination"),
        ("19", "not_connected", "telephony_provider_unavailable"),
    ],
)
async def test_get_tells_why_a_call_never_connected(
    rig: Rig, client: httpx.AsyncClient, suffix: str, status: str, reason: str
) -> None:
    call = await get(client, (await create(rig, client, f"+120255501{suffix}"))["call_id"])

    assert (call["call_status"], call["disconnection_reason"]) == (status, reason)
    assert "end_timestamp" in call
    assert not {"start_timestamp", "duration_ms"} & set(call)


async def test_get_finds_a_call_that_talkover_made(rig: Rig, client: httpx.AsyncClient) -> None:
    call = await rig.call()

    assert (await get(client, call.id))["call_id"] == call.id


@pytest.mark.parametrize(("call_id", "status"), [("unknown", 422), ("a%2Fb", 400), ("", 400), ("x" * 65, 400)])
async def test_get_of_no_call(client: httpx.AsyncClient, call_id: str, status: int) -> None:
    answer = await client.get(f"/v2/get-call/{call_id}")

    assert (answer.status_code, answer.json()) == (status, UNKNOWN if status == 422 else BAD_REQUEST)


# --- stop --------------------------------------------------------------------------------------------


async def test_stop_ends_an_ongoing_call_before_it_answers(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client))["call_id"]
    answer = await client.post(f"/v2/stop-call/{call_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Onhook-Proof"] == "confirmed"
    call = await get(client, call_id)
    assert (call["call_status"], call["disconnection_reason"]) == ("ended", "manual_stopped")
    assert [one for one, _ in rig.engine.hangups] == [call_id]


async def test_stop_of_a_ringing_call_reads_ended_without_a_start(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client, "+12025550101"))["call_id"]
    assert (await client.post(f"/v2/stop-call/{call_id}")).status_code == 204

    call = await get(client, call_id)
    assert (call["call_status"], call["disconnection_reason"]) == ("ended", "manual_stopped")
    assert "end_timestamp" in call
    assert not {"start_timestamp", "duration_ms"} & set(call)


async def test_get_shows_ended_while_the_wire_is_not_settled(rig: Rig) -> None:
    call = await rig.call()
    rig.engine.settles = False
    async with rig.client(rig.app(stop_wait_ms=0)) as client:
        answer = await client.post(f"/v2/stop-call/{call.id}")
        shown = await get(client, call.id)
    rig.engine.settle(call.id, confirmed=False)

    assert (answer.status_code, answer.headers["Onhook-Proof"]) == (204, "pending")
    assert (shown["call_status"], shown["disconnection_reason"]) == ("ended", "manual_stopped")


async def test_stop_is_204_again_and_changes_nothing(rig: Rig, client: httpx.AsyncClient) -> None:
    stopped = (await create(rig, client))["call_id"]
    hung_up = (await create(rig, client))["call_id"]
    rig.engine.hang_up_far_end(hung_up)
    await rig.settled(hung_up)
    await client.post(f"/v2/stop-call/{stopped}")
    busy = (await create(rig, client, "+12025550102"))["call_id"]
    for call_id in (stopped, hung_up, busy):
        before, log = await get(client, call_id), await rig.store.events(call_id)
        assert (await client.post(f"/v2/stop-call/{call_id}")).status_code == 204
        assert (await get(client, call_id), await rig.store.events(call_id)) == (before, log)


async def test_many_stops_at_once_are_all_204_and_one_stop(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client))["call_id"]
    answers = await asyncio.gather(*(client.post(f"/v2/stop-call/{call_id}") for _ in range(10)))

    assert [one.status_code for one in answers] == [204] * 10
    assert len(rig.engine.hangups) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b'{"call_id":"x"}', b"x" * 100_000])
async def test_stop_never_reads_a_body(rig: Rig, client: httpx.AsyncClient, content: bytes) -> None:
    call_id = (await create(rig, client))["call_id"]
    answer = await client.post(
        f"/v2/stop-call/{call_id}", content=content, headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    "call_id", ["", "a%2Fb", "a%20b", "%C3%A9", "x" * 65, "a.b", "call_1/", "%00", "a%0A", "a%0Ab"]
)
async def test_stop_of_a_malformed_id_is_a_bad_request(client: httpx.AsyncClient, call_id: str) -> None:
    answer = await client.post(f"/v2/stop-call/{call_id}")

    assert (answer.status_code, answer.json()) == (400, BAD_REQUEST)


async def test_stop_of_an_unknown_and_of_a_foreign_call_look_alike(rig: Rig, client: httpx.AsyncClient) -> None:
    foreign = await rig.call(tenant=rig.other)
    answers = [await client.post(f"/v2/stop-call/{call_id}") for call_id in ("unknown", foreign.id)]

    assert [(one.status_code, one.json()) for one in answers] == [(422, UNKNOWN)] * 2
    assert (await rig.settled(foreign.id)).state is State.ANSWERED


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic a2V5", "Bearer ключ"])
async def test_stop_checks_the_key_first(client: httpx.AsyncClient, authorization: str) -> None:
    headers = {b"Authorization": authorization.encode()}
    answer = await client.post("/v2/stop-call/a%2Fb", headers=headers)

    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


async def test_a_wrong_method_is_405_with_allow(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v2/stop-call/x")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json()["status"] == "error"
