"""kill -9 of the node while far ends call: the next life tells each caller that it is over, and writes one end."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.chaos.carrier import GatedCarrier
from tests.chaos.server import AGENT, FROM_NUMBER, Server, running_server

from onhook import supervisor
from onhook.lines.sandbox import CallerState, OutgoingCall, Plan, SandboxCaller

pytestmark = pytest.mark.chaos

FREE_WITHIN_S = 10.0


class Desk:
    """A server whose number takes calls, and a caller to it that survives the server."""

    def __init__(self, server: Server, caller: SandboxCaller, port: int) -> None:
        self.server = server
        self._caller = caller
        self._port = port

    async def called(self, user: str = FROM_NUMBER, plan: Plan | None = None) -> tuple[OutgoingCall, str]:
        """Call the number, or a registered call, until it is answered; return the caller's side, and the call's id."""
        far = await self._caller.call(f"sip:{user}@127.0.0.1:{self._port}", plan)
        await far.until(CallerState.ANSWERED)
        (call,) = (await self.server.client.get("/v1/calls")).json()["items"]
        return far, call["call_id"]

    def kill_node(self) -> None:
        os.kill(self.server.node_pid, signal.SIGKILL)


@pytest.fixture
async def desk(tmp_path: Path, carrier: GatedCarrier) -> AsyncIterator[Desk]:
    caller, port = SandboxCaller(), supervisor.free_port("127.0.0.1", *supervisor.SIP_SOCKETS)
    await caller.start()
    environment = {"ONHOOK_SIP_BIND": f"127.0.0.1:{port}"}
    async with running_server(tmp_path, carrier.uri, environment=environment) as server:
        (number,) = (await server.client.get("/v1/numbers")).json()["items"]
        body = {"number": FROM_NUMBER, "trunk_id": number["trunk_id"], "inbound_agent_id": AGENT}
        assert (await server.client.put(f"/v1/numbers/{number['id']}", json=body)).status_code == 200
        yield Desk(server, caller, port)
    await caller.close()


async def test_a_talking_caller_is_told_bye_by_the_next_life(desk: Desk) -> None:
    far, call_id = await desk.called()
    await desk.server.until_state(call_id, "answered")
    desk.kill_node()
    await far.until(CallerState.OVER, within=FREE_WITHIN_S)
    await desk.server.ready()
    call = await desk.server.ended_once(call_id)
    assert (call["cause"]["initiator"], call["cause"]["reason"]) == ("system", "restart")
    assert (call["outcome"], call["proof_result"], call["proof_method"]) == ("completed", "confirmed", "bye")
    assert far.faults == []


async def test_a_caller_that_has_not_acknowledged_its_answer_is_told_bye_too(desk: Desk) -> None:
    far, call_id = await desk.called(plan=Plan(acknowledges=False))
    desk.kill_node()
    await far.until(CallerState.OVER, within=FREE_WITHIN_S)
    await desk.server.ready()
    call = await desk.server.ended_once(call_id)
    assert call["cause"]["reason"] == "restart"
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", "bye")


async def test_a_registered_call_waits_through_a_crash_and_is_answered_by_the_next_life(desk: Desk) -> None:
    registered = (await desk.server.client.post("/v2/register-phone-call", json={"agent_id": AGENT})).json()["call_id"]
    desk.kill_node()
    await desk.server.ready()
    far, call_id = await desk.called(registered)
    talking = await desk.server.until_state(registered, "answered")
    assert (call_id, talking["sip_call_id"]) == (registered, far.call_id)
