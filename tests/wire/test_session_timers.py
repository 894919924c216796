"""Session timers on the wire (RFC 4028), with intervals of a few seconds that the far end asks for."""

import asyncio

import pytest
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import FAST, STOP, assert_confirmed, seen
from tests.wire.peers.compose import Act
from tests.wire.peers.raw_uas import ANSWER, LOST

from onhook.calls.causes import Reason
from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered

pytestmark = pytest.mark.wire


def answer_with(expires: str, allow: str = "INVITE, ACK, BYE, CANCEL") -> tuple[Act, ...]:
    """Answer at once with a session timer."""
    headers = f"Require: timer\r\nSupported: timer\r\nSession-Expires: {expires}\r\nAllow: {allow}\r\n"
    return (Act("100 Trying"), Act("200 OK", 0.02, extra=headers))


async def test_the_invite_offers_a_session_timer_and_says_when_the_peer_has_none(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    far, line = far_end({"INVITE": [ANSWER]}), await open_line()
    call = await line.place(far.port, session_expires_s=1800)
    assert (await line.until(Answered)).session_timer == "none"
    (invite,) = far.log.requests("INVITE")
    assert "timer" in invite.header("Supported")
    assert invite.header("Session-Expires").startswith("1800")
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


@pytest.mark.parametrize(("allow", "method"), [("INVITE, ACK, BYE, UPDATE", "UPDATE"), ("INVITE, ACK, BYE", "INVITE")])
async def test_we_refresh_at_half_of_the_interval_when_told_to(
    far_end: FarEnd, open_line: OpenLine, allow: str, method: str
) -> None:
    refreshed = Act("200 OK", extra="Require: timer\r\nSession-Expires: 2;refresher=uac\r\n")
    far = far_end({"INVITE": [answer_with("2;refresher=uac", allow), (refreshed,)], "UPDATE": [(refreshed,)]})
    line = await open_line()
    call = await line.place(far.port)
    answered = await line.until(Answered)
    assert answered.session_timer == "us"
    await seen(far, lambda log: len([p for p in log.requests(method) if p.to_tag]) == 2)
    first, second = [p for p in far.log.requests(method) if p.to_tag]
    assert first.at - answered.at == pytest.approx(1000, abs=150)
    assert second.at - first.at == pytest.approx(1000, abs=150)
    assert "refresher=uac" in first.header("Session-Expires")
    assert second.cseq > first.cseq
    line.engine.hangup(call, STOP)
    ended = await assert_confirmed(line, far, Method.BYE)
    assert far.log.requests("BYE")[0].cseq > second.cseq
    assert ended.proof.result is Result.CONFIRMED


async def test_a_peer_that_ought_to_refresh_and_falls_silent_is_byed(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"INVITE": [answer_with("3;refresher=uas")]}), await open_line()
    await line.place(far.port)
    answered = await line.until(Answered)
    assert answered.session_timer == "peer"
    ended = await assert_confirmed(line, far, Method.BYE)
    assert ended.cause.reason is Reason.SESSION_EXPIRED
    (bye,) = far.log.requests("BYE")
    assert bye.at - answered.at == pytest.approx(2000, abs=150), "the interval less a third (RFC 4028 10)"


async def test_a_peers_refresh_keeps_the_call(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"INVITE": [answer_with("3;refresher=uas", "UPDATE")]}), await open_line()
    await line.place(far.port)
    answered = await line.until(Answered)
    headers = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n"
    far.perform(Act("UPDATE", after=1.5, extra=headers))
    await seen(far, lambda log: log.responses("UPDATE", sent=False))
    (reply,) = far.log.responses("UPDATE", sent=False)
    assert reply.status == 200
    assert "refresher=uac" in reply.header("Session-Expires")
    seconds_left = (answered.at + 2500 - reply.at) / 1000
    assert not await asyncio.to_thread(far.wait_for, lambda log: log.requests("BYE"), seconds_left)


async def test_a_422_is_retried_once_with_the_interval_it_asks_for(far_end: FarEnd, open_line: OpenLine) -> None:
    too_small = (Act("100 Trying"), Act("422 Session Interval Too Small", extra="Min-SE: 3600\r\n"))
    far, line = far_end({"INVITE": [too_small, ANSWER]}), await open_line()
    call = await line.place(far.port, session_expires_s=1800)
    await line.until(Answered)
    first, second = far.log.requests("INVITE")
    assert second.cseq == first.cseq + 1
    assert second.header("Session-Expires").startswith("3600")
    assert second.header("Min-SE") == "3600"
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


async def test_a_second_422_ends_the_call(far_end: FarEnd, open_line: OpenLine) -> None:
    too_small = (Act("100 Trying"), Act("422 Session Interval Too Small", extra="Min-SE: 3600\r\n"))
    far, line = far_end({"INVITE": [too_small]}), await open_line()
    await line.place(far.port)
    ended = await assert_confirmed(line, far, Method.REJECTED)
    assert ended.cause.sip_status == 422
    assert len(far.log.branches("INVITE")) == 2


@pytest.mark.parametrize("update", [(Act("481 Call/Transaction Does Not Exist"),), LOST], ids=["481", "silence"])
async def test_a_refresh_that_finds_no_dialog_ends_the_call(
    far_end: FarEnd, open_line: OpenLine, update: tuple[Act, ...] | None
) -> None:
    far = far_end({"INVITE": [answer_with("2;refresher=uac", "UPDATE")], "UPDATE": [update]})
    line = await open_line()
    await line.place(far.port)
    await line.until(Answered)
    ended = await line.ended(within=1 + 64 * FAST.t1 + 2)
    assert ended.cause.reason in (Reason.DIALOG_LOST, Reason.SESSION_EXPIRED)
    line.assert_proved(ended.proof, far.log)
    assert line.ends() == 1
