"""Races and refusals harvested from public bugs of other stacks: T1 to T5, T7 to T11 and T19.

The others need a whole node: `test_torture_of_a_node.py`.
"""

import asyncio
import re

import pytest
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import FAST, STOP, assert_confirmed, fence, seen
from tests.wire.peers.compose import Act, sdp
from tests.wire.peers.raw_uas import LOST, OK, RING, Lines

from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, ProofUpdated, Provisional

pytestmark = pytest.mark.wire

CHALLENGE = 'Proxy-Authenticate: Digest realm="far", nonce="{}", algorithm=MD5, qop="auth"\r\n'
TIMER_64_T1 = 64 * FAST.t1


@pytest.mark.parametrize(
    "to_cancel",
    [
        (Act("200 OK", to="INVITE"), Act("481 Call/Transaction Does Not Exist")),
        (Act("200 OK", to="INVITE"), Act("200 OK", after=0.2)),
        (Act("200 OK"), Act("200 OK", after=0.2, to="INVITE")),
        (Act("200 OK", to="INVITE"),),
    ],
    ids=["481-to-the-cancel", "200-late-to-the-cancel", "200-to-the-invite-after", "cancel-never-answered"],
)
async def test_t1_every_order_of_a_crossing_200_ends_in_ack_and_bye(
    far_end: FarEnd, open_line: OpenLine, to_cancel: tuple[Act, ...]
) -> None:
    far, line = far_end({"INVITE": [RING], "CANCEL": [to_cancel]}), await open_line()
    call = await line.place(far.port)
    await line.until(Provisional, nth=2)
    line.engine.hangup(call, STOP)
    await seen(far, lambda log: log.responses("BYE"))
    ended = await line.ended()
    await fence(far, line)
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.BYE)
    assert far.log.requests("ACK")[0].at < far.log.requests("BYE")[0].at
    assert len(far.log.requests("BYE")) == 1
    assert line.ends() == 1


async def test_t2_a_200_without_any_provisional_after_the_stop_is_acked_and_byed(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    far, line = far_end({"INVITE": [(Act("200 OK", 0.3),)]}), await open_line()
    call = await line.place(far.port)
    await seen(far, lambda log: log.requests("INVITE"))
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    assert not far.log.requests("CANCEL")


async def test_t2_a_100_is_enough_to_let_the_held_cancel_go(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"INVITE": [(Act("100 Trying", 0.3),)]}), await open_line()
    call = await line.place(far.port)
    await seen(far, lambda log: log.requests("INVITE"))
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.CANCEL)
    assert far.log.requests("CANCEL")[0].at >= far.log.responses("INVITE")[0].at


async def test_t2_a_stop_before_any_provisional_on_a_dead_trunk_is_unconfirmed_and_still_watched(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    far, line = far_end({"INVITE": [(Act("200 OK", TIMER_64_T1 + 0.5),)]}), await open_line()
    call = await line.place(far.port)
    await seen(far, lambda log: log.requests("INVITE"))
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.UNCONFIRMED, Method.TIMEOUT)
    assert not far.log.requests("CANCEL")
    update = await line.until(ProofUpdated)
    assert (update.proof.result, update.proof.method) == (Result.CONFIRMED, Method.BYE)
    line.assert_proved(update.proof, far.log)
    assert line.ends() == 1


async def test_t2_a_stop_before_the_invite_was_saved_sends_nothing_at_all(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    line.journal.may_dial = False
    await line.place(far.port)
    ended = await line.ended()
    await fence(far, line)
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.NONE)
    assert not far.log.requests("INVITE")


async def test_t3_a_strict_route_gets_its_own_uri_and_the_contact_last(far_end: FarEnd, open_line: OpenLine) -> None:
    routes = "Record-Route: <sip:127.0.0.1:PORT;hop=near;lr>\r\nRecord-Route: <sip:127.0.0.1:PORT;hop=strict>\r\n"
    far, line = far_end({"INVITE": [(Act("200 OK", extra=routes),)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    (bye,) = far.log.requests("BYE")
    assert bye.uri == f"sip:127.0.0.1:{far.port};hop=strict", "RFC 3261 12.2.1.1"
    assert re.findall(r"<(?:[^>]*hop=(\w+)[^>]*|sip:(\w+)@[^>]*)>", ",".join(bye.headers("Route"))) == [
        ("near", ""),
        ("", "far1"),
    ]


async def test_t4_the_cseq_grows_over_hold_and_resume_and_the_bye_finds_the_new_target(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    for version, direction, mirrored in ((2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")):
        body = sdp(far.media_port, direction, version=version)
        far.perform(Act("INVITE", body=body, edit=lambda text: text.replace("<sip:far1@", "<sip:moved@")))
        await seen(far, lambda log, version=version: len(log.requests("ACK", sent=True)) == version - 1)  # type: ignore[misc]
        answer = [p for p in far.log.responses("INVITE", sent=False) if p.status == 200][-1]
        assert f"a={mirrored}" in answer.body
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    (bye,) = far.log.requests("BYE")
    assert bye.cseq > far.log.requests("INVITE")[0].cseq
    assert bye.uri.startswith("sip:moved@"), "a re-INVITE refreshes the remote target (RFC 3261 12.2)"


async def test_t4_an_older_cseq_in_the_dialog_is_refused_and_ends_nothing(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    far.perform(Act("INFO"))
    await seen(far, lambda log: log.responses("INFO", sent=False))
    far.perform(Act("BYE", edit=lambda text: re.sub(r"CSeq: \d+", "CSeq: 1", text)))
    await seen(far, lambda log: log.responses("BYE", sent=False))
    assert far.log.responses("BYE", sent=False)[0].status == 500, "RFC 3261 12.2.2"
    assert line.ends() == 0
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


async def test_t5_a_cancel_after_a_407_has_the_retried_invites_branch_and_cseq(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    challenge = (Act("100 Trying"), Act("407 Proxy Authentication Required", extra=CHALLENGE.format("n1")))
    far, line = far_end({"INVITE": [challenge, RING]}), await open_line()
    call = await line.place(far.port)
    await seen(far, lambda log: any(p.status == 180 for p in log.responses("INVITE")))
    await fence(far, line)
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.CANCEL)
    first, second = far.log.requests("INVITE")
    (cancel,) = far.log.requests("CANCEL")
    assert (cancel.cseq, cancel.branch) == (second.cseq, second.branch)
    assert cancel.cseq == first.cseq + 1
    assert far.verified[0] == f"INVITE {second.cseq}"
    assert far.faults == []


@pytest.mark.parametrize(
    ("byes", "result", "sent", "status"),
    [
        ([LOST], Result.UNCONFIRMED, 1, None),
        ([(Act("408 Request Timeout"),)], Result.UNCONFIRMED, 1, 408),
        ([(Act("500 Server Internal Error"),)], Result.UNCONFIRMED, 1, 500),
        ([(Act("503 Service Unavailable", extra="Retry-After: 60\r\n"),)], Result.UNCONFIRMED, 1, 503),
        ([(Act("503 Service Unavailable", extra="Retry-After: 1\r\n"),), OK], Result.CONFIRMED, 2, 200),
        ([(Act("500 Server Internal Error", extra="Retry-After: 1\r\n"),)], Result.UNCONFIRMED, 2, 500),
        ([(Act("403 Forbidden"),)], Result.UNCONFIRMED, 1, 403),
        ([(Act("100 Trying"), Act("202 Accepted", after=0.2))], Result.CONFIRMED, 1, 202),
    ],
    ids=["silence", "408", "500", "503-later", "503-soon-then-200", "500-soon-twice", "403", "202"],
)
async def test_t7_only_a_2xx_or_481_confirms_a_bye(
    far_end: FarEnd, open_line: OpenLine, byes: Lines, result: Result, sent: int, status: int | None
) -> None:
    far, line = far_end({"BYE": byes}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    await fence(far, line)
    assert (ended.proof.result, ended.proof.method) == (result, Method.BYE)
    assert len(far.log.branches("BYE")) == sent
    assert ended.proof.steps[-1].status == status
    line.assert_proved(ended.proof, far.log)
    assert line.ends() == 1


async def test_t7_an_unanswered_bye_is_given_up_after_64_t1(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"BYE": [LOST]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    byes = far.log.requests("BYE")
    assert ended.at - byes[0].at == pytest.approx(1000 * TIMER_64_T1, abs=100), "timer F (RFC 3261 17.1.2.2)"
    assert len(byes) == 11, "timer E doubles from T1 and stays at T2"


@pytest.mark.parametrize("stale", [False, True])
async def test_t7_a_challenged_bye_is_sent_again_with_credentials(
    far_end: FarEnd, open_line: OpenLine, stale: bool
) -> None:
    challenges = [CHALLENGE.format("n1"), CHALLENGE.format("n2").replace("qop", "stale=true, qop")][: 1 + stale]
    byes = [(Act("407 Proxy Authentication Required", extra=challenge),) for challenge in challenges]
    far, line = far_end({"BYE": [*byes, OK]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    numbers = [bye.cseq for bye in far.log.requests("BYE")]
    assert numbers == list(range(numbers[0], numbers[0] + 2 + stale))
    assert f"BYE {numbers[-1]}" in far.verified
    assert far.faults == []


async def test_t8_a_bye_that_comes_before_our_ack_ends_the_call(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"INVITE": [(Act("200 OK"), Act("BYE"))]}), await open_line()
    await line.place(far.port)
    await assert_confirmed(line, far, Method.FAR_END_BYE)
    assert len(far.log.requests("ACK")) >= 1, "the 200 is ACKed all the same"
    assert far.log.responses("BYE", sent=False)[0].status == 200


async def test_t8_byes_that_cross_are_both_answered_and_end_the_call_once(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"BYE": [(Act("BYE"),)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    assert ended.proof.result is Result.CONFIRMED
    await seen(far, lambda log: log.responses("BYE", sent=False))
    assert far.log.responses("BYE", sent=False)[0].status == 200
    assert line.ends() == 1


async def test_t8_a_cancel_of_a_finished_reinvite_ends_nothing(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end(), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    far.perform(Act("INVITE", body=sdp(far.media_port, version=2)), Act("CANCEL", after=0.05))
    await seen(far, lambda log: log.responses("CANCEL", sent=False))
    assert far.log.responses("CANCEL", sent=False)[0].status in (200, 481)
    assert line.ends() == 0
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


async def test_t8_of_two_forks_the_first_is_kept_and_the_second_is_byed(far_end: FarEnd, open_line: OpenLine) -> None:
    far = far_end({"INVITE": [(Act("180 Ringing"), Act("200 OK", 0.03), Act("200 OK", 0.08, tag="far2"))]})
    line = await open_line()
    call = await line.place(far.port)
    await seen(far, lambda log: log.responses("BYE"))
    assert {p.to_tag for p in far.log.requests("ACK")} == {"far1", "far2"}
    assert [p.to_tag for p in far.log.requests("BYE")] == ["far2"]
    assert far.log.requests("BYE")[0].uri.startswith("sip:far2@")
    assert line.ends() == 0
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    assert [p.to_tag for p in far.log.requests("BYE")] == ["far2", "far1"]


async def test_t8_a_stop_ends_every_fork_that_answers(far_end: FarEnd, open_line: OpenLine) -> None:
    answers = (Act("200 OK", to="INVITE"), Act("200 OK", to="INVITE", tag="far2"), Act("200 OK"))
    far, line = far_end({"INVITE": [RING], "CANCEL": [answers]}), await open_line()
    call = await line.place(far.port)
    await line.until(Provisional, nth=2)
    line.engine.hangup(call, STOP)
    await seen(far, lambda log: len(log.responses("BYE")) == 2)
    await line.ended()
    await fence(far, line)
    assert {p.to_tag for p in far.log.requests("BYE")} == {"far1", "far2"}
    assert line.engine.live_legs() == 0
    told = [event.proof for event in line.events if isinstance(event, ProofUpdated)]
    proof = told[-1] if told else (await line.ended()).proof
    assert proof.result is Result.CONFIRMED
    assert {step.remote_tag for step in proof.steps if step.method == "BYE"} == {"far1", "far2"}


async def test_t8_a_repeated_200_gets_the_same_ack_again(far_end: FarEnd, open_line: OpenLine) -> None:
    far, line = far_end({"ACK": [LOST, LOST, ()]}), await open_line()
    call = await line.place(far.port)
    await seen(far, lambda log: len(log.requests("ACK")) == 3)
    acks = far.log.requests("ACK")
    assert len({ack.raw for ack in acks}) == 1
    assert sum(isinstance(event, Answered) for event in line.events) == 1
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


async def test_t9_a_cancel_whose_487_never_comes_is_unconfirmed_until_a_late_answer_is_byed(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    late = Act("200 OK", after=TIMER_64_T1 + 0.6, to="INVITE")
    far, line = far_end({"INVITE": [RING], "CANCEL": [(Act("200 OK"), late)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Provisional, nth=2)
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.UNCONFIRMED, Method.CANCEL)
    cancel = far.log.requests("CANCEL")[0]
    assert ended.at - cancel.at == pytest.approx(1000 * TIMER_64_T1, abs=100), "RFC 3261 9.1"
    line.assert_proved(ended.proof, far.log)

    update = await line.until(ProofUpdated)
    assert update.proof.result is Result.CONFIRMED
    (answer,) = [p for p in far.log.responses("INVITE") if p.status == 200]
    assert answer.at < far.log.requests("ACK")[0].at < far.log.requests("BYE")[0].at
    assert line.ends() == 1, "later evidence is never a second end"
    line.assert_proved(update.proof, far.log)


@pytest.mark.parametrize("refusal", ["404 Not Found", "410 Gone"])
async def test_t10_a_bye_refused_as_if_the_call_was_gone_ends_the_leg_once_and_claims_nothing(
    far_end: FarEnd, open_line: OpenLine, refusal: str
) -> None:
    far, line = far_end({"BYE": [(Act(refusal),)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    line.engine.hangup(call, STOP)
    await fence(far, line)
    assert (ended.proof.result, ended.proof.steps[-1].status) == (Result.UNCONFIRMED, int(refusal[:3]))
    assert len(far.log.requests("BYE")) == 1
    assert (line.ends(), line.engine.live_legs()) == (1, 0)


async def test_t11_a_hang_up_refused_with_a_503_is_tried_again_though_nobody_asks_again(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    refusal = (Act("503 Service Unavailable", extra="Retry-After: 1\r\n"),)
    far, line = far_end({"BYE": [refusal, OK]}), await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)
    first, second = far.log.requests("BYE")
    assert second.cseq == first.cseq + 1
    assert second.at - first.at >= 1000, "not before the far end wants it"


async def test_t19_a_bye_repeated_after_our_200_is_answered_again_and_then_forgotten(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    far, line = far_end(), await open_line()
    await line.place(far.port)
    await line.until(Answered)
    far.perform(Act("BYE"))
    await line.ended()
    far.perform(Act("BYE", again=True))
    await seen(far, lambda log: len(log.responses("BYE", sent=False)) == 2)
    first, second = far.log.responses("BYE", sent=False)
    assert first.raw == second.raw
    assert line.ends() == 1
    await asyncio.to_thread(far.wait_for, lambda _: False, TIMER_64_T1 + 0.3)  # timer J, the dialog's memory
    far.perform(Act("BYE", again=True))
    await seen(far, lambda log: len(log.responses("BYE", sent=False)) == 3)
    assert far.log.responses("BYE", sent=False)[2].status == 481, "swept: nothing leaks"
    assert line.engine.live_legs() == 0
