"""A create that a dial block means: 429 in the words of each dialect, told not to be tried again, nothing dialled."""

from typing import Any

import httpx
import pytest
import retell
from tests.dialect.conftest import BASE_URL, Rig

from onhook.calls.causes import Outcome, Reason
from onhook.calls.proof import Method, Proof, Result
from onhook.calls.states import State
from onhook.lines.engine import LegEnded
from onhook.lines.sip.causes import HELD_BACK
from onhook.store.queries import CallFilter

pytestmark = pytest.mark.dialect

TO = "+12025550100"


async def block(client: httpx.AsyncClient, **selector: Any) -> str:
    answer = await client.post("/v1/dial-blocks", json={"selector": selector or {"all": True}})
    block_id: str = answer.json()["id"]
    return block_id


async def creates(rig: Rig, client: httpx.AsyncClient) -> dict[str, httpx.Response]:
    agent_id, number = rig.mine.agent_id, rig.mine.number
    return {
        "talkover": await client.post(f"/api/v1/agents/{agent_id}/call", json={"to": TO}),
        "anunzi": await client.post("/v2/create-phone-call", json={"from_number": number, "to_number": TO}),
        "batch": await client.post(
            "/create-batch-call", json={"from_number": number, "tasks": [{"to_number": TO}, {"to_number": TO}]}
        ),
        "native": await client.post("/v1/calls", json={"to_number": TO, "agent_id": agent_id}),
    }


async def test_each_dialect_refuses_in_its_own_shape_and_dials_nothing(rig: Rig, client: httpx.AsyncClient) -> None:
    block_id = await block(client)
    answers = await creates(rig, client)
    message = f"Dialing is blocked: {block_id} must be released first"

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 429)
    assert {answer.headers["x-should-retry"] for answer in answers.values()} == {"false"}
    assert answers["talkover"].json() == {
        "error": {"code": "DIALING_BLOCKED", "message": message, "details": {"agent_id": rig.mine.agent_id}}
    }
    assert answers["anunzi"].json() == answers["batch"].json() == {"status": "error", "message": message}
    problem = answers["native"].json()
    assert answers["native"].headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["dial_block_id"], problem["detail"]) == ("dialing_blocked", block_id, message)
    assert await rig.store.count_calls(CallFilter()) == 0
    assert rig.engine.legs == {}


async def test_what_the_block_does_not_mean_is_dialled(rig: Rig, client: httpx.AsyncClient) -> None:
    await block(client, number_prefixes=["+44"], agent_ids=[rig.mine.agent_id])
    answers = await creates(rig, client)

    assert [answer.status_code for answer in answers.values()] == [200, 201, 201, 201]


async def test_after_the_release_creates_go_on(rig: Rig, client: httpx.AsyncClient) -> None:
    block_id = await block(client)
    await creates(rig, client)
    await client.delete(f"/v1/dial-blocks/{block_id}")

    assert [answer.status_code for answer in (await creates(rig, client)).values()] == [200, 201, 201, 201]


async def test_calls_for_later_are_taken_and_wait(rig: Rig, client: httpx.AsyncClient) -> None:
    await block(client)
    made = await client.post("/v1/calls", json={"to_number": TO, "agent_id": rig.mine.agent_id, "delay_seconds": 1})
    path = f"/api/v1/agents/{rig.mine.agent_id}/call"
    delayed = await client.post(path, json={"to": TO, "delay_seconds": 60})
    in_an_hour = {"trigger_timestamp": rig.clock.now_ms() + 3_600_000}
    tasks = {"from_number": rig.mine.number, "tasks": [{"to_number": TO}]}
    batch = await client.post("/create-batch-call", json=tasks | in_an_hour)

    assert (made.status_code, delayed.status_code, batch.status_code) == (201, 200, 201)
    assert await rig.store.count_calls(CallFilter(states=(State.SCHEDULED,))) == 3
    assert (await rig.store.due(rig.clock.now_ms() + 10_000_000)).to_dial == ()


async def test_retells_own_sdk_does_not_try_again(rig: Rig, client: httpx.AsyncClient) -> None:
    await block(client)
    seen: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        seen.append(request)

    transport = httpx.ASGITransport(rig.app())
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, event_hooks={"request": [note]}) as http:
        sdk = retell.AsyncRetell(api_key=rig.mine.token, base_url=BASE_URL, http_client=http)
        with pytest.raises(retell.RateLimitError):
            await sdk.call.create_phone_call(from_number=rig.mine.number, to_number=TO)
    assert len(seen) == 1


async def test_a_call_whose_invite_the_block_kept_back_reads_as_stopped(rig: Rig, client: httpx.AsyncClient) -> None:
    call = await rig.call("+12025550109")
    now = rig.clock.now_ms()
    nothing = Proof(Result.CONFIRMED, Method.NONE, confirmed_at=now)
    rig.recorder.on_event(LegEnded(call.id, now, nothing, HELD_BACK))
    ended = await rig.settled(call.id)

    assert ended.cause is not None
    assert (ended.cause.reason, ended.outcome) == (Reason.DIAL_BLOCKED, Outcome.CANCELED)
    native = (await client.get(f"/v1/calls/{call.id}")).json()
    assert (native["proof_method"], native["proof_result"], native["proof"]) == ("none", "confirmed", [])
    retells = (await client.get(f"/v2/get-call/{call.id}")).json()
    assert (retells["call_status"], retells["disconnection_reason"]) == ("ended", "manual_stopped")
    (listed,) = (await client.get("/api/v1/calls")).json()["data"]
    assert listed["status"] == "completed"
