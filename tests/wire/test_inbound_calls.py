"""A far end calls a whole node over SIP: who answers, how either side ends it, and a stop at each moment of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.wire.node import NodeUnderTest, running_node

from onhook.agents.definition import AgentKind
from onhook.calls.call import Call
from onhook.lines.engine import Trunk
from onhook.lines.sandbox import CallerState, OutgoingCall, Plan, SandboxCaller
from onhook.lines.sandbox.talker import Line, When
from onhook.store.store import Arrival, Number

pytestmark = pytest.mark.wire

CALLER = "+12025550177"
SCRIPT = {
    "start": "question",
    "states": {
        "question": {"say": "Press one.", "expect": [{"words": ["one"], "keys": "1", "goto": "bye"}]},
        "bye": {"say": "Goodbye.", "hang_up": True},
    },
}
SPEAKS_S = 20.0


class Desk:
    """A node whose sandbox number takes calls, and a caller to it."""

    def __init__(self, under_test: NodeUnderTest, caller: SandboxCaller) -> None:
        self.under_test = under_test
        self.node = under_test.node
        self.client = under_test.client
        self.caller = caller

    async def agent(self, **fields: Any) -> str:
        """Make an agent that takes the number's calls; return its id."""
        made = await self.client.post("/v1/agents", json={"name": "Ann", "published": True} | fields)
        assert made.status_code == 201, made.text
        agent_id: str = made.json()["id"]
        (number,) = await self.node.store.find(Number, None)
        body = {"number": number.number, "trunk_id": number.trunk_id, "inbound_agent_id": agent_id}
        assert (await self.client.put(f"/v1/numbers/{number.id}", json=body)).status_code == 200
        return agent_id

    async def dial(self, user: str | None = None, plan: Plan | None = None) -> OutgoingCall:
        _, port = self.node.engine.address
        suffix = "" if self.caller.transport == "udp" else ";transport=tcp"
        return await self.caller.call(
            f"sip:{user or self.under_test.sandbox.from_number}@127.0.0.1:{port}{suffix}", plan
        )

    async def the_call(self) -> dict[str, Any]:
        """Return the one call that there is, once all that was reported is written."""
        await self.node.inbound.decided()
        (call,) = (await self.under_test.get("/v1/calls"))["items"]
        return dict(call)

    async def over(self) -> dict[str, Any]:
        """Return the call once its leg is settled and its end is written."""
        async with asyncio.timeout(10):
            await self.under_test.all_ended()
        call = await self.the_call()
        assert call["state"] == "ended"
        return call

    async def stop(self, call_id: str) -> dict[str, Any]:
        answer = await self.client.post(f"/v1/calls/{call_id}/stop", json={"wait_ms": 0, "reason": "enough"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest_asyncio.fixture(params=["udp"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    caller = SandboxCaller(transport=request.param)
    await caller.start()
    async with running_node(tmp_path, t1=0.05) as under_test:
        await under_test.node.peers.refresh()
        desk = Desk(under_test, caller)
        await desk.agent(kind=AgentKind.GREETING.value)
        yield desk
    await caller.close()


over_both = pytest.mark.parametrize("desk", ["udp", "tcp"], indirect=True)


def never_answers(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the node ring and leave it at that."""

    def wait(call_id: str, trunk: Trunk | None = None) -> None:
        del call_id, trunk

    monkeypatch.setattr(desk.node.engine, "answer", wait)


async def heard(far: OutgoingCall, packets: int = 10) -> None:
    """Wait until the caller hears us."""
    async with asyncio.timeout(SPEAKS_S):
        while far.echo.received < packets:  # noqa: ASYNC110 (the sandbox's audio sets no event)
            await asyncio.sleep(0.01)


# --- answered --------------------------------------------------------------------------------------------


@over_both
async def test_a_number_answers_and_its_caller_hangs_up(desk: Desk) -> None:
    far = await desk.dial()
    await far.until(CallerState.ANSWERED)
    await heard(far)
    far.hang_up()
    call = await desk.over()
    assert (far.statuses, far.faults) == ([100, 180, 200], [])
    assert (call["direction"], call["from_number"], call["sip_call_id"]) == ("inbound", CALLER, far.call_id)
    assert (call["outcome"], call["cause"]["initiator"], call["cause"]["reason"]) == ("completed", "caller", "hangup")
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", "far_end_bye")
    assert call["duration_ms"] > 0


async def test_the_scripted_agent_answers_talks_and_ends_the_call_when_it_is_asked_to(desk: Desk) -> None:
    await desk.agent(kind=AgentKind.SCRIPTED.value, settings={"script": SCRIPT})
    await desk.node.open_agents()
    far = await desk.dial(plan=Plan(lines=(Line(When.AFTER_A_PROMPT, 0.5, press="1"),)))
    await far.until(CallerState.ANSWERED)
    await far.until(CallerState.OVER, within=SPEAKS_S)
    call = await desk.over()
    assert (call["cause"]["initiator"], call["cause"]["reason"]) == ("agent", "agent_hangup")
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", "bye")
    assert far.faults == []
    turns = (await desk.under_test.get(f"/v1/calls/{call['call_id']}/transcript"))["turns"]
    assert [turn["text"] for turn in turns if turn["role"] == "agent"] == ["Press one.", "Goodbye."]


# --- a stop at each moment -------------------------------------------------------------------------------


async def test_a_stop_that_comes_with_the_leg_refuses_it_before_it_has_rung(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (number,) = await desk.node.store.find(Number, None)
    body = {"agent_id": number.inbound_agent_id}
    registered = (await desk.client.post("/v2/register-phone-call", json=body)).json()["call_id"]
    came, go_on, arrive = asyncio.Event(), asyncio.Event(), desk.node.store.arrive

    async def slowly(arrival: Arrival) -> Call | None:
        came.set()
        await go_on.wait()
        return await arrive(arrival)

    monkeypatch.setattr(desk.node.store, "arrive", slowly)
    far = await desk.dial(registered)
    await came.wait()
    await desk.stop(registered)
    go_on.set()
    await far.until(CallerState.OVER)
    call = await desk.over()
    assert (far.statuses, far.faults) == ([100, 480], [])
    assert (call["outcome"], call["cause"]["reason"], call["proof_result"]) == ("canceled", "api_stop", "confirmed")
    assert call["billable"] is False


async def test_a_stop_while_it_rings_refuses_the_caller(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    never_answers(desk, monkeypatch)
    far = await desk.dial()
    await far.until(CallerState.RINGING)
    call = await desk.the_call()
    assert (call["state"], call["ringing_at"] is not None) == ("ringing", True)
    await desk.stop(call["call_id"])
    await far.until(CallerState.OVER)
    call = await desk.over()
    assert (far.statuses, far.faults) == ([100, 180, 480], [])
    assert (call["outcome"], call["cause"]["reason"], call["duration_ms"]) == ("canceled", "api_stop", 0)
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", "refused")
    assert [(step["method"], step["status"]) for step in call["proof"]] == [("INVITE", 480)]


async def test_a_stop_of_an_answer_that_nobody_has_acknowledged_says_bye_after_the_last_moment_for_an_ack(
    desk: Desk,
) -> None:
    far = await desk.dial(plan=Plan(acknowledges=False))
    await far.until(CallerState.ANSWERED)
    call = await desk.the_call()
    assert call["state"] == "ringing"
    assert (await desk.stop(call["call_id"]))["stop"]["result"] == "pending"
    call = await desk.over()
    assert (call["outcome"], call["duration_ms"], call["proof_method"]) == ("canceled", 0, "bye")
    assert [step["method"] for step in call["proof"]][-1] == "BYE"
    assert [packet.what for packet in far.packets].count("BYE") >= 1


async def test_a_stop_of_a_conversation_says_bye_at_once(desk: Desk) -> None:
    far = await desk.dial()
    await far.until(CallerState.ANSWERED)
    await heard(far)
    call = await desk.the_call()
    assert call["state"] == "answered"
    await desk.stop(call["call_id"])
    await far.until(CallerState.OVER)
    call = await desk.over()
    assert (call["outcome"], call["cause"]["reason"], call["cause"]["text"]) == ("completed", "api_stop", "enough")
    assert (call["proof_result"], call["proof_method"], far.faults) == ("confirmed", "bye", [])
    log = await desk.under_test.get(f"/v1/calls/{call['call_id']}/timeline")
    assert [event["type"] for event in log["events"]][:4] == [
        "call.created",
        "call.dialed",
        "call.ringing",
        "call.answered",
    ]
    assert log["moments"]["last_audio_sent_at"] is not None


# --- refused, and given up -------------------------------------------------------------------------------


async def test_a_caller_who_gives_up_while_it_rings_is_told_487(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    never_answers(desk, monkeypatch)
    far = await desk.dial()
    await far.until(CallerState.RINGING)
    far.cancel()
    call = await desk.over()
    await far.until(CallerState.OVER)
    assert (far.final, far.faults) == (487, [])
    assert (call["outcome"], call["cause"]["initiator"], call["cause"]["reason"]) == (
        "no_answer",
        "caller",
        "caller_canceled",
    )
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", "far_end_cancel")


async def test_numbers_that_nobody_answers_are_refused_and_leave_nothing(desk: Desk) -> None:
    unknown = await desk.dial("+12025550999")
    await unknown.until(CallerState.OVER)
    await desk.agent(kind=AgentKind.GREETING.value, published=False)
    unpublished = await desk.dial()
    await unpublished.until(CallerState.OVER)
    assert (unknown.final, unpublished.final) == (404, 480)
    assert (await desk.under_test.get("/v1/calls"))["items"] == []


async def test_a_dial_block_refuses_for_now_until_it_is_released(desk: Desk) -> None:
    block = (await desk.client.post("/v1/dial-blocks", json={"selector": {"all": True}})).json()
    refused = await desk.dial()
    await refused.until(CallerState.OVER)
    call = await desk.over()
    assert (refused.final, call["cause"]["reason"], call["outcome"]) == (503, "dial_blocked", "canceled")
    await desk.client.delete(f"/v1/dial-blocks/{block['id']}")
    taken = await desk.dial()
    await taken.until(CallerState.ANSWERED)


async def test_a_trunk_that_asks_for_credentials_takes_no_call_without_them(desk: Desk) -> None:
    (trunk,) = (await desk.under_test.get("/v1/trunks"))["items"]
    body = {"name": trunk["name"], "uri": trunk["uri"], "username": trunk["username"]}
    account = {"inbound_username": "carrier", "inbound_password": "wonderland"}
    assert (await desk.client.put(f"/v1/trunks/{trunk['id']}", json=body | account)).status_code == 200
    await desk.node.peers.refresh()
    stranger = await desk.dial()
    await stranger.until(CallerState.OVER)
    known = await desk.dial(plan=Plan(account=("carrier", "wonderland")))
    await known.until(CallerState.ANSWERED)
    assert (stranger.final, known.final) == (401, 200)
    assert (await desk.the_call())["sip_call_id"] == known.call_id


async def test_a_server_that_shuts_down_ends_the_calls_that_it_took(tmp_path: Path) -> None:
    caller = SandboxCaller()
    await caller.start()
    async with running_node(tmp_path, t1=0.05) as under_test:
        await under_test.node.peers.refresh()
        desk = Desk(under_test, caller)
        await desk.agent(kind=AgentKind.GREETING.value)
        far = await desk.dial()
        await far.until(CallerState.ANSWERED)
        await heard(far)
        store = under_test.node.store
        call_id = (await desk.the_call())["call_id"]
        await under_test.node._end_all_calls()
        await far.until(CallerState.OVER)
        late = await desk.dial()
        await late.until(CallerState.OVER)
        call = await store.get_call(call_id, None)
    await caller.close()
    assert call is not None
    assert call.cause is not None
    assert (call.cause.reason, call.proof_so_far.result) == ("shutdown", "confirmed")
    assert (late.final, far.faults) == (503, [])


# --- registered ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named_by", ["uri", "header"])
async def test_a_registered_calls_leg_is_answered_under_its_own_id(desk: Desk, named_by: str) -> None:
    (number,) = await desk.node.store.find(Number, None)
    body = {"agent_id": number.inbound_agent_id, "metadata": {"order": 7}, "direction": "inbound"}
    registered = (await desk.client.post("/v2/register-phone-call", json=body)).json()["call_id"]
    plan = Plan(headers=(("X-Onhook-Call-Id", registered),) if named_by == "header" else ())
    far = await desk.dial(registered if named_by == "uri" else "+12025550999", plan)
    await far.until(CallerState.ANSWERED)
    await heard(far)
    talking = (await desk.client.get(f"/v2/get-call/{registered}")).json()
    assert (talking["call_status"], talking["from_number"], talking["metadata"]) == ("ongoing", CALLER, {"order": 7})
    far.hang_up()
    call = await desk.over()
    assert (call["call_id"], call["sip_call_id"]) == (registered, far.call_id)
    over = (await desk.client.get(f"/v2/get-call/{registered}")).json()
    assert (over["call_status"], over["disconnection_reason"]) == ("ended", "user_hangup")
