"""Retell's register-phone-call: a call that waits for a leg which the customer's own SIP side sends."""

from typing import Any

import httpx
import pytest
from retell import AsyncRetell
from retell.types import PhoneCallResponse
from tests.dialect.conftest import Rig

from onhook.api.http_server import HttpServer
from onhook.control.reconcile import Reconciler
from onhook.control.register import REGISTRATION_MS
from onhook.testing.clock import ManualClock
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

CALLER = "+12025550155"


async def registered(client: httpx.AsyncClient, agent_id: str, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v2/register-phone-call", json={"agent_id": agent_id} | body)
    assert answer.status_code == 201, answer.text
    call: dict[str, Any] = answer.json()
    return call


async def shown(client: httpx.AsyncClient, call_id: str) -> dict[str, Any]:
    call: dict[str, Any] = (await client.get(f"/v2/get-call/{call_id}")).json()
    return call


async def test_a_call_is_registered_and_shown_as_it_was_given(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {
        "direction": "outbound",
        "from_number": "+12025550111",
        "to_number": CALLER,
        "metadata": {"order": 7},
        "retell_llm_dynamic_variables": {"name": "Ann"},
    }
    call = await registered(client, rig.mine.agent_id, agent_version=0, **body)
    assert call == body | {
        "call_id": call["call_id"],
        "call_type": "phone_call",
        "call_status": "registered",
        "agent_id": rig.mine.agent_id,
        "agent_name": "ada",
        "agent_version": 0,
        "data_storage_setting": "everything",
    }
    assert await shown(client, call["call_id"]) == call


async def test_without_more_than_its_agent_it_is_an_inbound_call_of_unknown_numbers(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    call = await registered(client, rig.mine.agent_id)
    assert (call["direction"], call["from_number"], call["to_number"]) == ("inbound", "", "")


async def test_the_leg_that_comes_for_it_is_answered_and_the_caller_may_hang_up(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    call_id = (await registered(client, rig.mine.agent_id))["call_id"]
    rig.engine.call_in(CALLER, call_id)
    await rig.inbound.decided()
    talking = await shown(client, call_id)
    assert (talking["call_status"], talking["from_number"]) == ("ongoing", CALLER)
    assert talking["start_timestamp"] >= 1_700_000_000_000
    rig.engine.hang_up_far_end(call_id)
    await rig.recorder.drained()
    over = await shown(client, call_id)
    assert (over["call_status"], over["disconnection_reason"]) == ("ended", "user_hangup")


async def test_a_registered_call_is_stopped_like_any_other(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await registered(client, rig.mine.agent_id))["call_id"]
    stopped = await client.post(f"/v2/stop-call/{call_id}")
    assert (stopped.status_code, stopped.headers["Onhook-Proof"]) == (204, "confirmed")
    over = await shown(client, call_id)
    assert (over["call_status"], over["disconnection_reason"]) == ("ended", "manual_stopped")
    assert "start_timestamp" not in over
    rig.engine.call_in(CALLER, call_id)
    await rig.inbound.decided()
    assert [status for _, status in rig.engine.refusals] == [404]


async def test_our_own_api_shows_a_registered_call_as_scheduled_with_the_end_of_its_wait(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    call = await registered(client, rig.mine.agent_id)
    native = (await client.get(f"/v1/calls/{call['call_id']}")).json()
    assert (native["state"], native["direction"], native["dial_at"]) == ("scheduled", "inbound", None)
    assert native["deadline_at"] is not None


async def test_an_sdks_retry_registers_no_second_call(rig: Rig, client: httpx.AsyncClient) -> None:
    ids = []
    for attempt in ("0", "1", "2"):
        answer = await client.post(
            "/v2/register-phone-call",
            json={"agent_id": rig.mine.agent_id},
            headers={"x-stainless-retry-count": attempt},
        )
        ids.append(answer.json()["call_id"])
    assert len(set(ids)) == 1
    first, second = [await registered(client, rig.mine.agent_id) for _ in range(2)]
    assert first["call_id"] != second["call_id"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"agent_id": "agent_other"}, 422),
        ({"agent_id": "nobody"}, 422),
        ({"agent_id": ""}, 400),
        ({"agent_version": 7}, 422),
        ({"agent_override": {"agent": {}}}, 400),
        ({"direction": "sideways"}, 400),
        ({"retell_llm_dynamic_variables": {"count": 7}}, 400),
    ],
)
async def test_what_cannot_be_registered_is_refused(
    rig: Rig, client: httpx.AsyncClient, change: dict[str, Any], status: int
) -> None:
    answer = await client.post("/v2/register-phone-call", json={"agent_id": rig.mine.agent_id} | change)
    assert (answer.status_code, answer.json()["status"]) == (status, "error")
    assert (await client.post("/v3/list-calls", json={})).json()["items"] == []


async def test_an_agent_that_is_not_published_takes_none(rig: Rig, client: httpx.AsyncClient) -> None:
    await client.post(f"/api/v1/agents/{rig.mine.agent_id}/unpublish")
    answer = await client.post("/v2/register-phone-call", json={"agent_id": rig.mine.agent_id})
    assert (answer.status_code, answer.json()["message"]) == (400, "Agent is not published")


async def test_a_call_that_nobody_comes_for_is_an_error_after_five_minutes() -> None:
    clock = ManualClock()
    rig = Rig(MemoryStore(), clock)
    await rig.start()
    reconciler = Reconciler(rig.store, rig.engine, clock, rig.live, rig.ending, rig.dialer, rig.timers)
    async with rig.client() as client:
        call_id = (await registered(client, rig.mine.agent_id))["call_id"]
        clock.advance(REGISTRATION_MS / 1000 - 1)
        await reconciler.sweep()
        assert (await shown(client, call_id))["call_status"] == "registered"
        clock.advance(1)
        await reconciler.sweep()
        over = await shown(client, call_id)
    assert (over["call_status"], over["disconnection_reason"]) == ("error", "registered_call_timeout")
    assert over["end_timestamp"] == clock.now_ms()


async def test_the_official_sdk_registers_a_call(rig: Rig) -> None:
    async with (
        HttpServer(rig.app(), "127.0.0.1", 0) as server,
        AsyncRetell(
            api_key=rig.mine.token,
            base_url=f"http://127.0.0.1:{server.port}",
            max_retries=0,
            _strict_response_validation=True,
        ) as retell,
    ):
        call = await retell.call.register_phone_call(agent_id=rig.mine.agent_id, direction="inbound")
        rig.engine.call_in(CALLER, call.call_id)
        await rig.inbound.decided()
        talking = await retell.call.retrieve(call.call_id)
    assert call.call_status == "registered"
    assert isinstance(talking, PhoneCallResponse)
    assert (talking.call_status, talking.direction) == ("ongoing", "inbound")
