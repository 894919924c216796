"""Our own API: calls, their stop and its proof, their timeline."""

import base64
import re
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.calls.states import State

pytestmark = pytest.mark.dialect

ISO_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

BEYOND = base64.urlsafe_b64encode(b'[%d,"call_1"]' % 2**70).decode().rstrip("=")
"""A cursor with a time beyond all times."""


async def create(rig: Rig, client: httpx.AsyncClient, to: str = "+12025550100", **more: object) -> str:
    answer = await client.post("/v1/calls", json={"to_number": to, "agent_id": rig.mine.agent_id, **more})
    assert answer.status_code == 201, answer.text
    call_id: str = answer.json()["call_id"]
    await rig.settled(call_id)
    return call_id


async def stop(client: httpx.AsyncClient, call_id: str, **body: object) -> dict[str, Any]:
    answer = await client.post(f"/v1/calls/{call_id}/stop", json=body)
    assert answer.status_code == 200, answer.text
    stopped: dict[str, Any] = answer.json()
    return stopped


async def test_a_call_is_created_from_an_agent_or_from_a_number(rig: Rig, client: httpx.AsyncClient) -> None:
    by_agent = await create(rig, client, metadata={"a": None}, max_duration_ms=5000, ring_timeout_ms=2000)
    answer = await client.post("/v1/calls", json={"to_number": "+12025550101", "from_number": rig.mine.number})

    call = (await client.get(f"/v1/calls/{by_agent}")).json()
    assert re.fullmatch(r"call_[0-9a-f]{27}", by_agent)
    assert (call["from_number"], call["state"], call["metadata"]) == (rig.mine.number, "answered", {"a": None})
    assert ISO_MS.fullmatch(call["answered_at"])
    assert (call["billable"], call["stop"], call["proof"], call["ended_at"]) == (True, None, [], None)
    stored = await rig.settled(by_agent)
    assert (stored.max_duration_ms, stored.ring_timeout_ms) == (5000, 2000)
    assert (answer.status_code, answer.json()["agent_id"]) == (201, rig.mine.agent_id)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"to_number": "+12025550100"}, "number_unbound"),
        ({"to_number": "+12025550100", "agent_id": "x"}, "agent_unknown"),
        ({"to_number": "+12025550100", "from_number": "+12025550191"}, "number_unknown"),
        ({"to_number": "12", "agent_id": "agent_mine"}, "invalid_number"),
        ({"to_number": "+1911", "agent_id": "agent_mine"}, "emergency_number"),
        ({"agent_id": "agent_mine"}, "invalid_fields"),
        ({"to_number": "+12025550100", "agent_id": "agent_mine", "agent": 1}, "invalid_fields"),
        ({"to_number": "+12025550100", "agent_id": "agent_mine", "delay_seconds": 3601}, "invalid_fields"),
        ({"to_number": "+12025550100", "agent_id": "agent_mine", "sip_headers": {"X-A": "\r\n"}}, "invalid_fields"),
        ({"to_number": "+12025550100", "agent_id": "agent_mine", "sip_headers": {"To": "x"}}, "invalid_fields"),
    ],
)
async def test_a_call_that_cannot_be_placed_is_a_problem(
    client: httpx.AsyncClient, body: dict[str, object], code: str
) -> None:
    answer = await client.post("/v1/calls", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= set(answer.json())


async def test_stop_ends_a_call_and_returns_the_proof(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = await create(rig, client)
    stopped = await stop(client, call_id, reason="customer asked")

    assert set(stopped) == {"call_id", "state", "outcome", "cause", "ended_at", "stop", "proof"}
    assert (stopped["state"], stopped["outcome"]) == ("ended", "completed")
    assert stopped["cause"] == {
        "initiator": f"api_key:{rig.mine.key_id}", "reason": "api_stop",
        "sip_status": None, "q850": 16, "text": "customer asked",
    }  # fmt: skip
    assert stopped["stop"]["result"] == "confirmed"
    assert stopped["stop"]["requested_at"] == stopped["ended_at"]
    (bye,) = stopped["proof"]
    assert (bye["method"], bye["status"], bye["count"]) == ("BYE", 200, 1)
    assert stopped["stop"]["bye_sent_at"] == bye["at"]
    assert all(ISO_MS.fullmatch(bye[name]) for name in ("at", "answered_at"))


async def test_a_second_stop_returns_the_first_ones_record(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = await create(rig, client)
    first = await stop(client, call_id, reason="one")

    assert await stop(client, call_id, reason="two") == first
    bare = await client.post(f"/v1/calls/{call_id}/stop")
    assert bare.json() == first


async def test_stop_of_a_call_that_ended_by_itself_says_so(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = await create(rig, client)
    rig.engine.hang_up_far_end(call_id)
    await rig.settled(call_id)
    stopped = await stop(client, call_id)

    assert (stopped["stop"]["result"], stopped["stop"]["requested_at"]) == ("already_ended", None)
    assert stopped["cause"]["initiator"] == "callee"
    assert stopped["proof"][0]["sent"] is False


async def test_stop_waits_as_long_as_it_is_told(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = await create(rig, client)
    rig.engine.settles = False
    pending = await stop(client, call_id, wait_ms=0)
    assert (pending["state"], pending["stop"]["result"], pending["proof"]) == ("ending", "pending", [])
    rig.engine.settle(call_id, confirmed=False)
    await rig.settled(call_id)

    unconfirmed = await stop(client, call_id)
    assert (unconfirmed["state"], unconfirmed["stop"]["result"]) == ("ended", "unconfirmed")
    assert unconfirmed["stop"]["requested_at"] == pending["stop"]["requested_at"]


@pytest.mark.parametrize(
    "body", [{"wait_ms": -1}, {"wait_ms": 5001}, {"reason": "a\nb"}, {"reason": "x" * 201}, {"x": 1}]
)
async def test_stop_checks_its_fields_and_changes_nothing(
    rig: Rig, client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    call_id = await create(rig, client)
    answer = await client.post(f"/v1/calls/{call_id}/stop", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    assert (await rig.settled(call_id)).state is State.ANSWERED


async def test_stop_of_a_ringing_call_is_canceled_and_free_of_charge(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = await create(rig, client, "+12025550101")
    await stop(client, call_id)
    call = (await client.get(f"/v1/calls/{call_id}")).json()

    assert (call["outcome"], call["duration_ms"], call["billable"]) == ("canceled", 0, False)
    assert [(one["method"], one["status"]) for one in call["proof"]] == [("CANCEL", 200), ("INVITE", 487)]


async def test_calls_are_listed_page_by_page(rig: Rig, client: httpx.AsyncClient) -> None:
    ids = {await create(rig, client) for _ in range(5)}
    for order in ("newest", "oldest"):
        seen: list[str] = []
        params: dict[str, str | int] = {"limit": 2, "order": order}
        while True:
            page = (await client.get("/v1/calls", params=params)).json()
            seen += [item["call_id"] for item in page["items"]]
            if page["next"] is None:
                break
            params["cursor"] = page["next"]
        assert (len(seen), set(seen)) == (5, ids)


async def test_calls_are_listed_by_state_agent_and_search(rig: Rig, client: httpx.AsyncClient) -> None:
    talking, ringing = await create(rig, client), await create(rig, client, "+12025550101")

    async def found(**params: str) -> set[str]:
        return {item["call_id"] for item in (await client.get("/v1/calls", params=params)).json()["items"]}

    assert await found(state="ringing") == {ringing}
    assert await found(search="550100") == {talking}
    assert await found(agent_id=rig.mine.agent_id, direction="outbound") == {talking, ringing}
    assert await found(direction="inbound") == set()


@pytest.mark.parametrize(
    "params",
    [{"limit": "0"}, {"limit": "1001"}, {"state": "gone"}, {"cursor": "%%"}, {"cursor": BEYOND}, {"sort": "x"}],
)
async def test_list_parameters_are_checked(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    assert (await client.get("/v1/calls", params=params)).status_code == 422


async def test_the_timeline_tells_what_happened_and_how_long_it_took(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = await create(rig, client)
    rig.engine.press(call_id, "5")
    await rig.settled(call_id)
    await stop(client, call_id)
    timeline = (await client.get(f"/v1/calls/{call_id}/timeline")).json()

    assert [event["seq"] for event in timeline["events"]] == list(range(1, 8))
    assert [event["type"] for event in timeline["events"]] == [
        *("call.created", "call.dialed", "call.ringing", "call.answered", "call.dtmf"),
        *("call.stop_requested", "call.ended"),
    ]
    assert all(ISO_MS.fullmatch(event["at"]) for event in timeline["events"])
    assert ISO_MS.fullmatch(timeline["events"][-1]["data"]["proof"]["steps"][0]["at"])
    spans = timeline["spans_ms"]
    assert all(spans[name] >= 0 for name in ("dial_to_answer", "stop_to_bye", "stop_to_confirmed", "talk", "wire"))


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/timeline"), ("POST", "/stop")])
async def test_a_call_of_another_environment_is_not_found(
    rig: Rig, client: httpx.AsyncClient, method: str, rest: str
) -> None:
    foreign = await rig.call(tenant=rig.other)
    for call_id in (foreign.id, "unknown", "%00"):
        answer = await client.request(method, f"/v1/calls/{call_id}{rest}")
        assert (answer.status_code, answer.json()["code"]) == (404, "call_not_found")
    assert rig.engine.hangups == []
