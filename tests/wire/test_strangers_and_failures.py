"""What strangers send ends nothing, and a far end that is gone is never claimed to be ended."""

import socket

import pytest
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import STOP, assert_confirmed, assert_proof_equals_capture, fence, seen
from tests.wire.peers.compose import Act
from tests.wire.peers.packet import PacketLog
from tests.wire.peers.raw_uas import RING

from onhook.calls.causes import Reason
from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, LegEnded, Provisional

pytestmark = pytest.mark.wire


@pytest.mark.parametrize(
    ("method", "status"), [("INVITE", 403), ("BYE", 481), ("UPDATE", 481), ("INFO", 481), ("CANCEL", 481)]
)
async def test_a_request_outside_any_dialog_is_refused(
    far_end: FarEnd, open_line: OpenLine, method: str, status: int
) -> None:
    far, line = far_end(), await open_line()
    far.perform(Act(method, tag=""), peer_port=line.port)
    await seen(far, lambda log: log.responses(method, sent=False))
    assert far.log.responses(method, sent=False)[-1].status == status


@pytest.mark.parametrize("method", ["BYE", "UPDATE", "INFO"])
async def test_a_request_with_our_call_id_but_a_foreign_tag_ends_nothing(
    far_end: FarEnd, open_line: OpenLine, method: str
) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    far.perform(Act(method, tag="stranger"))
    await seen(far, lambda log: log.responses(method, sent=False))
    assert far.log.responses(method, sent=False)[0].status == 481
    assert line.ends() == 0
    far.perform(Act("OPTIONS"))
    await seen(far, lambda log: log.responses("OPTIONS", sent=False))
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    assert ended.proof.method is Method.BYE


async def test_an_unknown_method_is_refused_and_ends_nothing(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    far.perform(Act("PUBLISH"))
    await seen(far, lambda log: log.responses("PUBLISH", sent=False))
    assert far.log.responses("PUBLISH", sent=False)[0].status in (405, 501)
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 40,
        b"\r\n\r\n",
        b"SIP/2.0 200",
        b"SIP/2.0 99999 Oh\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nCSeq: 1 BYE\r\n\r\n",
        b"BYE sip:us SIP/2.0\r\n\r\n",
        b"BYE sip:us SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z\r\nCSeq: 99999999999999999999 BYE\r\n\r\n",
        b"\xff\xfe INVITE \xf0\x28\x8c\x28 SIP/2.0\r\nContent-Length: -5\r\n\r\n",
    ],
    ids=["nulls", "keep-alive", "half a line", "odd status", "bare", "huge cseq", "no utf-8"],
)
async def test_garbage_is_dropped_and_the_call_goes_on(far_end: FarEnd, open_line: OpenLine, garbage: bytes) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(garbage, ("127.0.0.1", line.port))
    await fence(far, line)
    assert line.ends() == 0
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


async def test_a_trunk_that_takes_no_tcp_connection_ends_the_call_with_nothing_sent(open_line: OpenLine) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: a connection is refused
        line = await open_line()
        await line.place(taken.getsockname()[1], transport="tcp")
        ended = await line.ended()
    assert ended.cause.reason is Reason.TRANSPORT_FAILED
    assert not ended.proof.steps
    assert line.engine.live_legs() == 0


async def test_a_trunk_whose_udp_port_is_closed_ends_the_call(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    far.close()
    await line.place(far.port)
    ended = await line.ended()
    assert ended.cause.reason in (Reason.TRANSPORT_FAILED, Reason.NO_RESPONSE)
    assert line.ends() == 1


async def test_a_bye_to_a_far_end_that_vanished_is_unconfirmed(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    await seen(far, lambda log: log.requests("ACK"))
    far.close()
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.UNCONFIRMED, Method.BYE)
    assert ended.proof.bye_sent_at is not None
    assert line.ends() == 1


async def test_a_cancel_to_a_far_end_that_vanished_is_unconfirmed(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"INVITE": [RING]}), await open_line()
    call = await line.place(far.port)
    await line.until(Provisional, nth=2)
    far.close()
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.UNCONFIRMED, Method.CANCEL)


async def test_a_second_hang_up_adds_nothing_to_the_wire(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"BYE": [(Act("200 OK", after=0.03),)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    assert line.engine.hangup(call, STOP)
    assert line.engine.hangup(call, STOP), "the leg is still held: repeats are harmless"
    ended = await assert_confirmed(line, far, Method.BYE)
    assert len(far.log.branches("BYE")) == 1
    assert not line.engine.hangup(call, STOP)
    line.assert_proved(ended.proof, far.log)


async def test_many_calls_at_once_are_each_ended_with_their_own_proof(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    calls = [await line.place(far.port) for _ in range(20)]
    await line.until(Answered, nth=len(calls))
    for call in calls:
        line.engine.hangup(call, STOP)
    await line.until(LegEnded, nth=len(calls))
    by_call = {event.call_id: event for event in line.events if isinstance(event, LegEnded)}
    for call in calls:
        assert by_call[call].proof.result is Result.CONFIRMED
        own = PacketLog(p for p in far.log if p.header("Call-ID").startswith(f"{call}@"))
        assert_proof_equals_capture(by_call[call].proof, own, tolerance_ms=100)  # both sides share one busy process
    assert line.engine.live_legs() == 0
