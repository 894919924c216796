"""A crash while we are saying goodbye: the next life knows how far the last one came, and says it again rightly."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests.chaos.carrier import GatedCarrier, packets
from tests.chaos.server import Server, running_server

from onhook.lines.sandbox import CallState, SandboxCall

pytestmark = pytest.mark.chaos


@pytest.fixture
async def server(tmp_path: Path, carrier: GatedCarrier) -> AsyncIterator[Server]:
    async with running_server(tmp_path, carrier.uri) as server:
        yield server


async def crash(server: Server) -> None:
    os.kill(server.node_pid, signal.SIGKILL)
    await server.ready()


async def settled(server: Server) -> None:
    """Wait until every snapshot in flight is on disk: a write of ours goes through the same writer behind it."""
    assert (await server.client.post("/v1/keys", json={"name": "fence"})).status_code == 201


async def test_a_bye_after_an_answer_that_crossed_our_cancel(server: Server, carrier: GatedCarrier) -> None:
    call_id = await server.call("08")
    await server.until_state(call_id, "ringing")
    (far_end,) = carrier.calls
    carrier.hold(arrivals=lambda data: data.startswith(b"BYE"))
    await server.stop(call_id)
    await carrier.until(lambda: carrier.held > 0, 5)
    await settled(server)
    os.kill(server.node_pid, signal.SIGKILL)
    carrier.lose()
    assert far_end.state is CallState.ANSWERED
    await server.ready()
    await carrier.free(2)
    call = await server.ended_once(call_id)
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", "bye")
    assert call["cause"]["reason"] == "api_stop"
    assert carrier.faults() == []


async def test_a_bye_whose_challenges_have_used_up_the_next_cseqs(server: Server, carrier: GatedCarrier) -> None:
    call_id = await server.call("21")
    await server.until_state(call_id, "answered")
    (far_end,) = carrier.calls
    carrier.hold(arrivals=lambda data: data.startswith(b"BYE") and b"CSeq: 4 " in data)
    await server.stop(call_id)
    await carrier.until(lambda: carrier.held > 0, 5)
    await settled(server)
    os.kill(server.node_pid, signal.SIGKILL)
    carrier.lose()
    assert packets(far_end, "out", "BYE") == ["401", "401"]
    await server.ready()
    await carrier.free(2)
    call = await server.ended_once(call_id)
    assert (call["proof_result"], call["proof_method"]) == ("confirmed", "bye")
    assert carrier.faults() == ["BYE came again without Authorization"], "the new life does not know the challenge"


async def test_three_crashes_in_a_row_each_say_goodbye_with_a_new_cseq(server: Server, carrier: GatedCarrier) -> None:
    call_id = await server.call("10")
    await server.until_state(call_id, "answered")
    (far_end,) = carrier.calls
    for byes in (1, 2, 3):
        await crash(server)
        await carrier.until(partial(_has_seen_byes, far_end, byes), 5)
        await settled(server)
    assert carrier.faults() == []


async def test_a_crash_while_a_crashed_calls_late_answer_is_byed(server: Server, carrier: GatedCarrier) -> None:
    carrier.hold(departures=lambda message: message.what == "200" and message.cseq_method == "INVITE")
    call_id = await server.call("00")
    await carrier.until(lambda: carrier.held > 0, 5)
    await crash(server)
    carrier.release()
    carrier.hold(arrivals=lambda data: data.startswith(b"BYE"))
    await carrier.until(lambda: carrier.held > 0, 5)
    await settled(server)
    os.kill(server.node_pid, signal.SIGKILL)
    carrier.lose()
    await server.ready()
    await carrier.free(2)
    call = await server.ended_once(call_id)
    assert (call["cause"]["reason"], call["proof_method"]) == ("restart", "bye")
    assert carrier.faults() == []


async def test_a_ringing_call_through_three_crashes(server: Server, carrier: GatedCarrier) -> None:
    call_id = await server.call("01")
    await server.until_state(call_id, "ringing")
    carrier.hold(arrivals=lambda data: data.startswith(b"CANCEL"))
    for _ in range(3):
        carrier.lose()
        carrier.hold(arrivals=lambda data: data.startswith(b"CANCEL"))
        await asyncio.gather(crash(server), carrier.until(lambda: carrier.held > 0, 5))
    carrier.release()
    await carrier.free(2)
    call = await server.ended_once(call_id)
    assert (call["cause"]["reason"], call["proof_method"]) == ("restart", "cancel")
    assert carrier.faults() == []


def _has_seen_byes(far_end: SandboxCall, count: int) -> bool:
    """Say whether BYEs of so many CSeqs have come."""
    return len({one.cseq for one in far_end.packets if (one.direction, one.what) == ("in", "BYE")}) == count
