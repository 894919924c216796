"""The hang-up suite, S1 to S18: every way a call ends, judged by the far end's packet log.

The showcase comes first: a stop before any provisional response, where engines report "ended" at once and a phone
rings and is answered more than a second later.
"""

import re
from pathlib import Path

import pytest
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import (
    FAST,
    REAL_TIMERS,
    STOP,
    assert_confirmed,
    fence,
    seen,
)
from tests.wire.peers.capture import Capture
from tests.wire.peers.compose import Act, sdp
from tests.wire.peers.raw_uas import ANSWER, LOST, OK, RING
from tests.wire.peers.rtp_tap import RtpTap

from onhook.calls.causes import Reason
from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, DtmfReceived, LegEnded, Provisional

pytestmark = pytest.mark.wire

LATE = (Act("180 Ringing", 1.5), Act("200 OK", 1.8))
CHALLENGE_401 = 'WWW-Authenticate: Digest realm="far", nonce="abc401", algorithm=SHA-256, qop="auth"\r\n'
CHALLENGE_407 = 'Proxy-Authenticate: Digest realm="far", nonce="abc407", algorithm=MD5, qop="auth"\r\n'


async def test_s4_a_stop_before_any_provisional_ends_the_phone_that_rings_and_answers_later(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    far = far_end({"INVITE": [LATE], "CANCEL": [OK]})
    line = await open_line(REAL_TIMERS)
    call = await line.place(far.port)
    await seen(far, lambda log: log.requests("INVITE"))
    assert line.engine.hangup(call, STOP)

    await seen(far, lambda log: log.responses("INVITE"), within=3)
    assert line.ends() == 0, "nothing is over while the far end may still ring"
    ended = await assert_confirmed(line, far, Method.BYE)

    ringing, answer = far.log.responses("INVITE")[:2]
    invites, cancels = far.log.requests("INVITE"), far.log.requests("CANCEL")
    assert len(invites) >= 2, "retransmissions go on: they draw the 1xx"
    assert far.log.branches("INVITE") == [invites[0].branch], "no second INVITE transaction after a stop"
    assert all(cancel.at >= ringing.at for cancel in cancels), "a CANCEL before a 1xx is forbidden (RFC 3261 9.1)"
    assert cancels[0].at - ringing.at < 20 + line.lag.ms
    (bye,) = far.log.requests("BYE")
    assert answer.at < far.log.requests("ACK")[0].at < bye.at
    assert bye.at - answer.at < 20 + line.lag.ms
    assert ended.at >= answer.at


async def test_s1_an_answered_call_is_ended_by_one_bye(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    await seen(far, lambda log: log.requests("ACK"))
    assert line.engine.hangup(call, STOP)
    ended = await assert_confirmed(line, far, Method.BYE)
    (bye,), (invite,) = far.log.requests("BYE"), far.log.requests("INVITE")
    assert bye.uri == f"sip:far1@127.0.0.1:{far.port}"
    assert bye.to_tag == "far1"
    assert bye.header("From") == invite.header("From")
    assert bye.cseq > invite.cseq
    assert "cause=16" in bye.header("Reason")
    assert ended.proof.bye_sent_at is not None


async def test_s2_a_ringing_call_is_ended_by_a_cancel_and_its_487(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"INVITE": [RING]}), await open_line()
    call = await line.place(far.port)
    assert (await line.until(Provisional, nth=2)).ringing
    assert line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.CANCEL)
    (invite,), (cancel,), (ack,) = (far.log.requests(method) for method in ("INVITE", "CANCEL", "ACK"))
    assert cancel.headers("Via") == invite.headers("Via"), "same top Via, and only that (RFC 3261 9.1)"
    assert (cancel.cseq, cancel.uri, cancel.header("To")) == (invite.cseq, invite.uri, invite.header("To"))
    assert (ack.branch, ack.cseq, ack.to_tag) == (invite.branch, invite.cseq, "far1")
    assert "cause=16" in cancel.header("Reason")


async def test_s3_a_200_that_crosses_the_cancel_is_acked_and_byed(far_end: FarEnd, open_line: OpenLine) -> None:
    far = far_end({"INVITE": [RING], "CANCEL": [(Act("200 OK", to="INVITE"), Act("200 OK"))]})
    line = await open_line()
    call = await line.place(far.port)
    await line.until(Provisional, nth=2)
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    (ack,), (bye,) = far.log.requests("ACK"), far.log.requests("BYE")
    assert ack.at < bye.at
    told = [type(event) for event in line.events if isinstance(event, Answered | LegEnded)]
    assert told == [Answered, LegEnded], "the carrier may bill for it, so the answer is told"


async def test_s5_a_bye_that_is_lost_twice_is_sent_three_times(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"BYE": [LOST, LOST, OK]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    ended = await assert_confirmed(line, far, Method.BYE)
    (step,) = (step for step in ended.proof.steps if step.method == "BYE")
    assert (step.count, step.status) == (3, 200)
    first, second, third = (p.at for p in far.log.requests("BYE"))
    assert second - first == pytest.approx(1000 * FAST.t1, abs=25 + line.lag.ms)
    assert third - second == pytest.approx(2000 * FAST.t1, abs=25 + line.lag.ms)


async def test_s6_a_cancel_that_is_lost_once_is_sent_again(far_end: FarEnd, open_line: OpenLine) -> None:
    far = far_end({"INVITE": [RING], "CANCEL": [LOST, (Act("200 OK"), Act("487 Request Terminated", to="INVITE"))]})
    line = await open_line()
    call = await line.place(far.port)
    await line.until(Provisional, nth=2)
    line.engine.hangup(call, STOP)
    ended = await assert_confirmed(line, far, Method.CANCEL)
    assert next(step.count for step in ended.proof.steps if step.method == "CANCEL") == 2


async def test_s7_an_invite_that_is_lost_twice_still_becomes_a_call(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"INVITE": [LOST, LOST, ANSWER]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    assert len(far.log.requests("INVITE")) == 3
    assert len(far.log.branches("INVITE")) == 1
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("486 Busy Here", Reason.BUSY), ("603 Decline", Reason.DECLINED), ("404 Not Found", Reason.INVALID_DESTINATION)],
)
async def test_s8_a_rejection_is_acked_and_is_its_own_proof(
    far_end: FarEnd, open_line: OpenLine, answer: str, reason: Reason
) -> None:
    far, line = far_end({"INVITE": [(Act("100 Trying"), Act(answer, 0.02))]}), await open_line()
    call = await line.place(far.port)
    ended = await assert_confirmed(line, far, Method.REJECTED)
    assert ended.cause.reason is reason
    assert ended.cause.sip_status == int(answer[:3])
    (ack,), (invite,) = far.log.requests("ACK"), far.log.requests("INVITE")
    assert (ack.branch, ack.cseq) == (invite.branch, invite.cseq)
    assert not line.engine.hangup(call, STOP), "a settled leg is held no more"


async def test_s9_a_silent_far_end_is_given_up_at_timer_b_without_a_claim(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"INVITE": [LOST]}), await open_line()
    await line.place(far.port)
    ended = await line.ended(within=5)
    assert (ended.proof.result, ended.proof.method) == (Result.UNCONFIRMED, Method.TIMEOUT)
    assert ended.proof.confirmed_at is None
    assert ended.cause.reason is Reason.NO_RESPONSE
    invites = far.log.requests("INVITE")
    assert len(invites) == 7, "timer A doubles from T1; seven fit into 64*T1 (RFC 3261 17.1.1.2)"
    assert ended.at - invites[0].at == pytest.approx(64_000 * FAST.t1, abs=100)
    line.assert_proved(ended.proof, far.log)


@pytest.mark.parametrize(
    ("status", "challenge", "header"),
    [
        ("401 Unauthorized", CHALLENGE_401, "Authorization"),
        ("407 Proxy Authentication Required", CHALLENGE_407, "Proxy-Authorization"),
    ],
    ids=["s10-401", "s11-407"],
)
async def test_s10_s11_a_digest_challenge_is_answered_in_a_new_transaction(
    far_end: FarEnd, open_line: OpenLine, status: str, challenge: str, header: str
) -> None:
    far = far_end({"INVITE": [(Act("100 Trying"), Act(status, extra=challenge)), ANSWER]})
    line = await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    first, second = far.log.requests("INVITE")
    assert (second.cseq, second.header("Call-ID")) == (first.cseq + 1, first.header("Call-ID"))
    assert second.branch != first.branch
    assert second.header(header)
    assert far.verified == [f"INVITE {second.cseq}"]
    assert far.log.requests("ACK")[0].branch == first.branch, "the challenge is ACKed"
    assert far.log.requests("ACK")[0].at < second.at
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    assert far.faults == []


async def test_s12_the_far_ends_bye_ends_the_call(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    await line.place(far.port)
    await line.until(Answered)
    far.perform(Act("BYE"))
    ended = await assert_confirmed(line, far, Method.FAR_END_BYE)
    assert ended.cause.reason is Reason.HANGUP
    assert [p.status for p in far.log.responses("BYE", sent=False)] == [200]
    assert not far.log.requests("BYE")
    (step,) = (step for step in ended.proof.steps if not step.sent)
    assert (step.method, step.status) == ("BYE", 200)


async def test_s13_a_bye_follows_the_record_routes_to_the_contact(far_end: FarEnd, open_line: OpenLine) -> None:
    routes = "Record-Route: <sip:127.0.0.1:PORT;lr;hop=near>\r\nRecord-Route: <sip:127.0.0.1:PORT;lr;hop=far>\r\n"

    def behind_a_proxy(text: str) -> str:
        return re.sub(r"Contact: <[^>]*>", "Contact: <sip:far1@192.0.2.1:5060>", text)

    far = far_end({"INVITE": [(Act("180 Ringing"), Act("200 OK", 0.03, extra=routes, edit=behind_a_proxy))]})
    line = await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    for request in (*far.log.requests("ACK"), *far.log.requests("BYE")):
        assert request.uri == "sip:far1@192.0.2.1:5060"
        assert re.findall(r"hop=(\w+)", ",".join(request.headers("Route"))) == ["far", "near"]


async def test_s13_without_record_route_the_bye_goes_to_the_contacts_address(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    moved = far_end()

    def elsewhere(text: str) -> str:
        return re.sub(r"Contact: <[^>]*>", f"Contact: <sip:far1@127.0.0.1:{moved.port}>", text)

    far, line = far_end({"INVITE": [(Act("200 OK", edit=elsewhere),)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    assert ended.proof.result is Result.CONFIRMED
    assert len(moved.log.requests("BYE")) == 1
    assert not far.log.requests("BYE")
    line.assert_proved(ended.proof, moved.log)


async def test_s14_early_media_is_taken_and_the_call_still_ends_by_cancel(far_end: FarEnd, open_line: OpenLine) -> None:
    with RtpTap() as tap:
        far = far_end({"INVITE": [(Act("100 Trying"), Act("183 Session Progress", 0.02))]}, media_port=tap.port)
        line = await open_line()
        call = await line.place(far.port)
        progress = await line.until(Provisional, nth=2)
        assert (progress.status, progress.ringing) == (183, True)
        await tap.received(frames=10)
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.CANCEL)


async def test_s15_options_and_reinvite_in_the_dialog_are_answered(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    far.perform(Act("OPTIONS"))
    await seen(far, lambda log: log.responses("OPTIONS", sent=False))
    assert far.log.responses("OPTIONS", sent=False)[0].status == 200
    far.perform(Act("INVITE", body=sdp(far.media_port, version=2)))
    await seen(far, lambda log: log.requests("ACK", sent=True))
    (answer,) = [p for p in far.log.responses("INVITE", sent=False) if (p.status or 0) >= 200]
    assert answer.status == 200
    assert "m=audio" in answer.body
    for method in ("INFO", "UPDATE"):
        far.perform(Act(method))
        await seen(far, lambda log, method=method: log.responses(method, sent=False))  # type: ignore[misc]
        assert far.log.responses(method, sent=False)[0].status == 200
    assert line.ends() == 0
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


async def test_s16_a_key_pressed_at_the_far_end_is_heard_once(far_end: FarEnd, open_line: OpenLine) -> None:
    with RtpTap() as tap:
        far, line = far_end(media_port=tap.port), await open_line()
        call = await line.place(far.port)
        await line.until(Answered)
        await tap.received(frames=3)
        tap.press("5", duration_ms=140)
        key = await line.until(DtmfReceived)
        assert key.digit == "5"
        assert key.duration_ms == pytest.approx(140, abs=20)
        await fence(far, line)
        assert sum(isinstance(event, DtmfReceived) for event in line.events) == 1
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)


async def test_s17_a_bye_answered_481_is_a_confirmed_end(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"BYE": [(Act("481 Call/Transaction Does Not Exist"),)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    ended = await assert_confirmed(line, far, Method.BYE)
    assert ended.proof.steps[-1].status == 481


async def test_s18_the_proof_of_an_end_equals_a_kernel_capture(
    far_end: FarEnd, open_line: OpenLine, tcpdump_program: str, tmp_path: Path
) -> None:
    far, line = far_end({"BYE": [LOST, OK]}), await open_line()
    async with Capture(tcpdump_program, far.port, tmp_path / "sip.pcap") as capture:
        call = await line.place(far.port)
        await line.until(Answered)
        line.engine.hangup(call, STOP)
        ended = await assert_confirmed(line, far, Method.BYE)
    assert len(capture.log.requests("BYE")) == 2
    line.assert_proved(ended.proof, capture.log)
    assert [event for event in line.events if isinstance(event, LegEnded)] == [ended]
