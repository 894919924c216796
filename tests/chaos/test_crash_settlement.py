"""kill -9 of the node in every state of a call: the next life frees the far end and writes one end."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.chaos.carrier import GatedCarrier, packets
from tests.chaos.server import Server, running_server

from onhook.lines.sandbox import CallState

pytestmark = pytest.mark.chaos

FREE_WITHIN_S = 2.0
"""From the kill, or from the far end's first word after it, to the moment when nothing rings or talks there."""


@pytest.fixture
async def server(tmp_path: Path, carrier: GatedCarrier) -> AsyncIterator[Server]:
    async with running_server(tmp_path, carrier.uri) as server:
        yield server


def kill_node(server: Server) -> None:
    os.kill(server.node_pid, signal.SIGKILL)


async def assert_ended_by_the_restart(server: Server, carrier: GatedCarrier, call_id: str, method: str) -> None:
    await server.ready()
    call = await server.ended_once(call_id)
    assert (call["cause"]["initiator"], call["cause"]["reason"]) == ("system", "restart")
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", method)
    assert carrier.live_dialogs() == 0
    assert carrier.faults() == []


async def test_ringing(server: Server, carrier: GatedCarrier) -> None:
    call_id = await server.call("01")
    await server.until_state(call_id, "ringing")
    kill_node(server)
    await carrier.free(FREE_WITHIN_S)
    await assert_ended_by_the_restart(server, carrier, call_id, "cancel")


async def test_answered(server: Server, carrier: GatedCarrier) -> None:
    call_id = await server.call("00")
    await server.until_state(call_id, "answered")
    kill_node(server)
    await carrier.free(FREE_WITHIN_S)
    await assert_ended_by_the_restart(server, carrier, call_id, "bye")
    assert (await server.get(call_id))["outcome"] == "completed"


async def test_dialing_with_a_trunk_that_answers_after_the_crash(server: Server, carrier: GatedCarrier) -> None:
    call_id = await server.call("07")
    far_end = await carrier.called("07")
    kill_node(server)
    await carrier.until(lambda: far_end.state is CallState.ANSWERED, 5)
    await carrier.free(FREE_WITHIN_S)
    await assert_ended_by_the_restart(server, carrier, call_id, "bye")
    assert (await server.get(call_id))["billable"]
    assert len(far_end.branches) == 1, "a restart never dials"


async def test_dialing_with_an_invite_still_on_its_way(server: Server, carrier: GatedCarrier) -> None:
    carrier.hold(arrivals=lambda data: data.startswith(b"INVITE"))
    call_id = await server.call("00")
    await carrier.until(lambda: carrier.held > 0, 5)
    kill_node(server)
    await server.ready()
    carrier.release()
    assert carrier.live_dialogs() == 1
    await carrier.free(FREE_WITHIN_S)
    call = await server.ended_once(call_id)
    assert (call["cause"]["reason"], call["proof_method"]) == ("restart", "cancel")
    assert carrier.faults() == []


async def test_a_challenge_that_arrives_after_the_crash_is_acknowledged_and_not_followed(
    server: Server, carrier: GatedCarrier
) -> None:
    carrier.hold(departures=lambda message: message.what == "407")
    call_id = await server.call("14")
    far_end = await carrier.called("14")
    await carrier.until(lambda: carrier.held > 0, 5)
    kill_node(server)
    await server.ready()
    carrier.release()
    await server.ended_once(call_id)
    await carrier.until(lambda: packets(far_end, "in", "ACK") != [], 2)
    assert len(far_end.branches) == 1
    assert (await server.get(call_id))["cause"]["reason"] == "restart"
    assert carrier.live_dialogs() == 0
    assert carrier.faults() == []


async def test_the_invite_with_credentials_still_on_its_way(server: Server, carrier: GatedCarrier) -> None:
    carrier.hold(arrivals=lambda data: data.startswith(b"INVITE") and b"Proxy-Authorization" in data)
    call_id = await server.call("14")
    await carrier.until(lambda: carrier.held > 0, 5)
    kill_node(server)
    await server.ready()
    carrier.release()
    await carrier.free(FREE_WITHIN_S)
    call = await server.ended_once(call_id)
    assert (call["cause"]["reason"], call["proof_method"]) == ("restart", "cancel")
    assert carrier.faults() == []


async def test_an_answer_that_crosses_the_crash(server: Server, carrier: GatedCarrier) -> None:
    carrier.hold(departures=lambda message: message.what == "200" and message.cseq_method == "INVITE")
    call_id = await server.call("00")
    await carrier.until(lambda: carrier.held > 0, 5)
    kill_node(server)
    await server.ready()
    carrier.release()
    await carrier.free(FREE_WITHIN_S)
    call = await server.ended_once(call_id)
    assert (call["cause"]["reason"], call["proof_method"], call["billable"]) == ("restart", "bye", True)
    assert carrier.faults() == []


async def test_ending_keeps_the_cause_that_was_written_before_the_crash(server: Server, carrier: GatedCarrier) -> None:
    call_id = await server.call("09")
    await server.until_state(call_id, "answered")
    await server.stop(call_id)
    stopped = await server.get(call_id)
    assert stopped["state"] == "ending"
    kill_node(server)
    await carrier.free(FREE_WITHIN_S)
    await server.ready()
    call = await server.ended_once(call_id)
    assert call["cause"] == stopped["cause"]
    assert call["cause"]["initiator"].startswith("api_key:")
    assert call["ended_at"] == stopped["ended_at"]
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", "bye")
    assert carrier.faults() == []


async def test_a_scheduled_call_outlives_the_crash_and_can_still_be_stopped(
    server: Server, carrier: GatedCarrier
) -> None:
    call_id = await server.call("00", delay_seconds=600)
    kill_node(server)
    await server.ready()
    assert (await server.get(call_id))["state"] == "scheduled"
    await server.stop(call_id)
    call = await server.ended_once(call_id)
    assert (call["cause"]["reason"], call["proof_method"]) == ("api_stop", "none")
    assert carrier.calls == []


async def test_a_scheduled_call_whose_time_comes_during_the_crash_is_dialled_once(
    server: Server, carrier: GatedCarrier
) -> None:
    call_id = await server.call("01", delay_seconds=1)
    kill_node(server)
    await server.ready()
    await server.until_state(call_id, "ringing")
    kill_node(server)
    await carrier.free(FREE_WITHIN_S)
    await assert_ended_by_the_restart(server, carrier, call_id, "cancel")
    assert len(carrier.calls) == 1
    assert (await server.events(call_id)).count("call.dialed") == 1


async def test_many_calls_in_many_states_at_once(server: Server, carrier: GatedCarrier) -> None:
    ringing = [await server.call("01") for _ in range(5)]
    talking = [await server.call("00") for _ in range(5)]
    for call_id in talking:
        await server.until_state(call_id, "answered")
    early = [await server.call("07") for _ in range(5)]
    await carrier.until(lambda: len(carrier.calls) == 15, 5)
    kill_node(server)
    await carrier.free(2 * FREE_WITHIN_S)
    await server.ready()
    for call_id in [*ringing, *talking, *early]:
        call = await server.ended_once(call_id)
        assert (call["cause"]["reason"], call["proof_result"]) == ("restart", "confirmed")
    assert carrier.live_dialogs() == 0
    assert carrier.faults() == []
