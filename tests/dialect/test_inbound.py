"""Calls that far ends make, as each dialect tells them, and who is bound to take them."""

import asyncio
import uuid
from typing import Any

import httpx
import msgspec
import pytest
from tests.dialect.conftest import Rig

from onhook.api.anunzi import payloads as anunzi
from onhook.api.talkover import payloads as talkover
from onhook.api.talkover.mapping import ended_reason_of
from onhook.calls.call import Call, Dialect
from onhook.store.outbox import WebhookEndpoint
from onhook.store.store import Agent, Number
from onhook.webhooks.transport import Answer, Request

pytestmark = pytest.mark.dialect

CALLER = "+12025550155"


async def taking_calls(rig: Rig, dialect: Dialect = Dialect.TALKOVER) -> None:
    """Have the tenant's agent, of a dialect, take its number's calls."""
    agent = await rig.store.get(Agent, rig.mine.agent_id, rig.mine.environment_id)
    assert agent is not None
    await rig.store.put(msgspec.structs.replace(agent, dialect=dialect))
    await bind(rig, rig.mine.agent_id)


async def bind(rig: Rig, agent_id: str | None) -> None:
    number = await number_of(rig)
    await rig.store.put(msgspec.structs.replace(number, inbound_agent_id=agent_id))


async def number_of(rig: Rig) -> Number:
    number = await rig.store.get(Number, rig.mine.number_id, rig.mine.environment_id)
    assert number is not None
    return number


async def called(rig: Rig) -> Call:
    """Have a far end call the tenant's number; return the call that it became."""
    rig.engine.call_in(CALLER, rig.mine.number)
    await rig.inbound.decided()
    (call_id,) = rig.engine.legs
    return await rig.settled(call_id)


# --- each dialect's words ------------------------------------------------------------------------------


async def test_talkover_shows_who_called_whom_and_finds_the_call_by_its_caller(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    await taking_calls(rig)
    call = await called(rig)
    assert str(uuid.UUID(call.id)) == call.id
    (item,) = (await client.get("/api/v1/calls", params={"direction": "inbound"})).json()["data"]
    assert (item["id"], item["sid"], item["status"]) == (call.id, call.sip_call_id, "answered")
    assert (item["from"], item["to"], item["direction"]) == (CALLER, rig.mine.number, "inbound")
    path = f"/api/v1/agents/{rig.mine.agent_id}"
    (active,) = (await client.get(f"{path}/active-call/{CALLER}")).json()["data"]
    assert active["id"] == call.id
    assert (await client.get("/api/v1/calls", params={"direction": "outbound"})).json()["data"] == []
    ended = await client.post(f"{path}/end-call", json={"call_sid": call.sip_call_id})
    assert ended.json()["data"]["ended_reason"] == "ended_by_api"


async def test_retell_shows_who_called_whom_and_lists_by_direction(rig: Rig, client: httpx.AsyncClient) -> None:
    await taking_calls(rig, Dialect.ANUNZI)
    call = await called(rig)
    rig.engine.hang_up_far_end(call.id)
    await rig.recorder.drained()
    shown = (await client.get(f"/v2/get-call/{call.id}")).json()
    assert (shown["from_number"], shown["to_number"], shown["direction"]) == (CALLER, rig.mine.number, "inbound")
    assert (shown["call_status"], shown["disconnection_reason"]) == ("ended", "user_hangup")
    wanted = {"direction": {"type": "enum", "op": "in", "value": ["inbound"]}}
    listed = (await client.post("/v3/list-calls", json={"filter_criteria": wanted})).json()
    assert [one["call_id"] for one in listed["items"]] == [call.id]


async def test_our_own_api_tells_the_whole_way_of_the_call(rig: Rig, client: httpx.AsyncClient) -> None:
    await taking_calls(rig, Dialect.NATIVE)
    call = await called(rig)
    rig.engine.hang_up_far_end(call.id)
    await rig.recorder.drained()
    shown = (await client.get(f"/v1/calls/{call.id}")).json()
    assert (shown["direction"], shown["from_number"], shown["to_number"]) == ("inbound", CALLER, rig.mine.number)
    assert shown["cause"]["initiator"] == "caller"
    timeline = (await client.get(f"/v1/calls/{call.id}/timeline")).json()
    assert [event["type"] for event in timeline["events"]] == [
        "call.created",
        "call.dialed",
        "call.ringing",
        "call.answered",
        "call.ended",
    ]
    assert timeline["events"][1]["data"] == {"peer": "192.0.2.9:5060"}
    assert timeline["moments"]["ringing_at"] is not None
    assert timeline["spans_ms"]["dial_to_answer"] is not None


@pytest.mark.parametrize(
    ("talkover_status", "retell", "reason", "act"),
    [
        ("no-answer", ("ended", "user_hangup"), "hangup", "cancel"),
        ("completed", ("ended", "manual_stopped"), "ended_by_api", "stop"),
    ],
)
async def test_a_call_that_ends_while_it_rings_was_never_answered(
    rig: Rig,
    client: httpx.AsyncClient,
    talkover_status: str,
    retell: tuple[str, str],
    reason: str,
    act: str,
) -> None:
    await taking_calls(rig)
    rig.engine.acknowledges = False
    call = await called(rig)
    if act == "cancel":
        rig.engine.legs[call.id].answered = False
        rig.engine.cancel_far_end(call.id)
    else:
        await client.post(f"/v1/calls/{call.id}/stop", json={})
    over = await rig.settled(call.id)
    assert over.duration_ms == 0
    (item,) = (await client.get("/api/v1/calls")).json()["data"]
    assert (item["status"], item["duration"]) == (talkover_status, 0)
    shown = (await client.get(f"/v2/get-call/{call.id}")).json()
    assert (shown["call_status"], shown["disconnection_reason"]) == retell
    assert ended_reason_of(over) == reason


# --- webhooks --------------------------------------------------------------------------------------------


async def delivered(rig: Rig, count: int) -> list[dict[str, Any]]:
    """Let the courier work until it has sent `count` requests; return their bodies."""
    enough = asyncio.Event()

    def counted(_: Request) -> Answer:
        if len(rig.transport.sent) >= count:
            enough.set()
        return Answer(200, {}, "")

    rig.transport.script = counted
    await rig.courier.start()
    async with asyncio.timeout(5):
        await enough.wait()
    await rig.courier.close()
    return [msgspec.json.decode(request.body) for request in rig.transport.sent]


def endpoint(rig: Rig, dialect: Dialect, wants: Any, events: tuple[str, ...]) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=f"hook_{dialect}",
        environment_id=rig.mine.environment_id,
        dialect=dialect,
        name="crm",
        url=f"https://hooks.example.com/{dialect}",
        created_at=1,
        updated_at=1,
        agent_id=rig.mine.agent_id,
        events=events,
        wants=wants,
    )


async def test_talkovers_webhooks_tell_of_it_as_of_a_call_that_we_make(rig: Rig) -> None:
    names = (
        "event_phone_call_started",
        "event_phone_call_connected",
        "event_phone_call_disconnected",
        "event_phone_call_ended",
    )
    await rig.store.put(endpoint(rig, Dialect.TALKOVER, talkover.wants(names), names))
    await taking_calls(rig)
    call = await called(rig)
    rig.engine.hang_up_far_end(call.id)
    await rig.recorder.drained()

    bodies = await delivered(rig, 4)
    assert tuple(body["event"] for body in bodies) == names
    assert {(body["direction"], body["from"], body["to"]) for body in bodies} == {("inbound", CALLER, rig.mine.number)}
    assert bodies[-1]["ended_reason"] == "hangup"


async def test_retells_webhooks_tell_of_it_as_of_a_call_that_we_make(rig: Rig) -> None:
    names = anunzi.DEFAULT_EVENTS
    await rig.store.put(endpoint(rig, Dialect.ANUNZI, anunzi.wants(names), names))
    await taking_calls(rig, Dialect.ANUNZI)
    call = await called(rig)
    rig.engine.hang_up_far_end(call.id)
    await rig.recorder.drained()

    bodies = await delivered(rig, 3)
    assert tuple(body["event"] for body in bodies) == names
    assert {body["call"]["direction"] for body in bodies} == {"inbound"}
    assert bodies[0]["call"]["call_status"] == "ongoing"


# --- who takes a number's calls --------------------------------------------------------------------------


async def test_retell_binds_a_number_to_an_agent_for_its_calls(rig: Rig, client: httpx.AsyncClient) -> None:
    path = f"/update-phone-number/{rig.mine.number}"
    bound = [{"agent_id": rig.mine.agent_id, "weight": 1}]
    answer = (await client.patch(path, json={"inbound_agents": bound, "outbound_agents": []})).json()
    assert (answer["inbound_agents"], answer["outbound_agents"]) == (bound, [])
    assert (await client.patch(path, json={})).json() == answer
    in_use = await client.delete(f"/delete-agent/{rig.mine.agent_id}")
    assert in_use.status_code == 400
    assert (await called(rig)).answered_at is not None
    assert (await client.patch(path, json={"inbound_agents": None})).json()["inbound_agents"] == []
    assert (await number_of(rig)).inbound_agent_id is None


async def test_retell_imports_a_number_with_the_agent_for_its_calls(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {
        "phone_number": "+12025550188",
        "termination_uri": "192.0.2.9",
        "inbound_agents": [{"agent_id": rig.mine.agent_id, "weight": 1}],
    }
    answer = await client.post("/import-phone-number", json=body)
    assert answer.status_code == 201
    number = await rig.store.number_by_value(rig.mine.environment_id, "+12025550188")
    assert number is not None
    assert (number.agent_id, number.inbound_agent_id) == (None, rig.mine.agent_id)


async def test_talkovers_agent_of_direction_inbound_takes_its_numbers_calls_beside_the_one_that_calls(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    path = f"/api/v1/agents/{rig.mine.agent_id}"
    other = await client.post("/v1/agents", json={"name": "Bo", "published": True})
    await client.put(f"/v1/numbers/{rig.mine.number_id}", json=native_number(rig, agent_id=other.json()["id"]))
    body = {"direction": "inbound", "phone_number_ids": [rig.mine.number_id]}
    answer = await client.put(f"{path}/calling", json=body)
    assert [one["id"] for one in answer.json()["data"]["phone_numbers"]] == [rig.mine.number_id]
    number = await number_of(rig)
    assert (number.agent_id, number.inbound_agent_id) == (other.json()["id"], rig.mine.agent_id)
    await client.post(f"{path}/publish")
    assert (await called(rig)).agent_id == rig.mine.agent_id


async def test_a_talkover_agent_that_turns_round_keeps_its_numbers(rig: Rig, client: httpx.AsyncClient) -> None:
    path = f"/api/v1/agents/{rig.mine.agent_id}"
    await client.put(f"{path}/calling", json={"direction": "inbound"})
    assert ((await number_of(rig)).agent_id, (await number_of(rig)).inbound_agent_id) == (None, rig.mine.agent_id)
    await client.put(f"{path}/calling", json={"direction": "outbound"})
    assert ((await number_of(rig)).agent_id, (await number_of(rig)).inbound_agent_id) == (rig.mine.agent_id, None)
    await client.put(f"{path}/calling", json={"direction": "inbound", "phone_number_ids": []})
    assert not (await number_of(rig)).is_used_by(rig.mine.agent_id)


def native_number(rig: Rig, **changes: str | None) -> dict[str, Any]:
    return {"number": rig.mine.number, "trunk_id": rig.mine.trunk_id} | changes


async def test_our_own_api_binds_a_number_for_each_way(rig: Rig, client: httpx.AsyncClient) -> None:
    url = f"/v1/numbers/{rig.mine.number_id}"
    body = native_number(rig, agent_id=None, inbound_agent_id=rig.mine.agent_id)
    shown = (await client.put(url, json=body)).json()
    assert (shown["agent_id"], shown["inbound_agent_id"]) == (None, rig.mine.agent_id)
    refused = await client.delete(f"/v1/agents/{rig.mine.agent_id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "agent_in_use")
    unknown = await client.put(url, json=native_number(rig, inbound_agent_id="agent_other"))
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "inbound_agent_id")


async def test_our_own_api_keeps_what_a_trunks_calls_must_prove_to_know(rig: Rig, client: httpx.AsyncClient) -> None:
    trunk = {"name": "carrier", "uri": "sip:192.0.2.9:5060"}
    account = {"inbound_username": "carrier", "inbound_password": "wonderland"}
    created = (await client.post("/v1/trunks", json=trunk | account)).json()
    assert (created["inbound_username"], created["has_inbound_password"]) == ("carrier", True)
    assert "wonderland" not in str(created)
    await rig.peers.refresh()
    peer = rig.peers.find("192.0.2.9")
    assert peer is not None
    assert peer.accounts == {"carrier": "wonderland"}

    url = f"/v1/trunks/{created['id']}"
    kept = (await client.put(url, json=trunk | {"inbound_username": "other"})).json()
    assert (kept["inbound_username"], kept["has_inbound_password"]) == ("other", True)
    open_again = (await client.put(url, json=trunk)).json()
    assert (open_again["inbound_username"], open_again["has_inbound_password"]) == (None, False)
    half = await client.put(url, json=trunk | {"inbound_username": "carrier"})
    assert (half.status_code, half.json()["errors"][0]["field"]) == (422, "inbound_password")
