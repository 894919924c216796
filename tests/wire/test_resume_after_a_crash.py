"""A second life of the engine, on the same port, ends what the first left: from the snapshots alone."""

from dataclasses import dataclass

import pytest
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import FAST, REAL_TIMERS, RESTART, STOP, Line, fence, seen
from tests.wire.peers.compose import Act
from tests.wire.peers.packet import PacketLog
from tests.wire.peers.raw_uas import ANSWER, LOST, OK, RING, RawUas, Script

from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, LegEnded
from onhook.lines.sip.engine import SipSettings

pytestmark = pytest.mark.wire


@dataclass
class Crash:
    """The far end and what its log held at the crash."""

    far: RawUas
    second: Line
    before: int

    @property
    def after(self) -> PacketLog:
        """The packets since the crash."""
        return PacketLog(self.far.log[self.before :])

    async def ended(self) -> LegEnded:
        """Wait for the end of the leg, and until the far end has seen all of it."""
        ended = await self.second.ended()
        await fence(self.far, self.second)
        return ended


def reborn(settings: SipSettings, port: int) -> SipSettings:
    """The same settings on the first life's port."""
    return SipSettings(bind_port=port, t1=settings.t1, t2=settings.t2, t4=settings.t4, watch=settings.watch)


async def crash(first: Line, far: RawUas, call: str, open_line: OpenLine) -> Crash:
    """Drop the first life's sockets, start another and hand it the last snapshot."""
    port, snapshot = first.port, first.journal.snapshots[call][-1]
    await first.close()
    before = len(far.log)
    second = await open_line(reborn(FAST, port))
    second.engine.resume(call, snapshot, RESTART)
    return Crash(far, second, before)


async def test_dialing_before_any_provisional_is_ended_once_the_far_end_rings_and_answers(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    far: RawUas = far_end({"INVITE": [(Act("180 Ringing", 0.6), Act("200 OK", 0.8))], "CANCEL": [OK]})
    first = await open_line(REAL_TIMERS)
    call = await first.place(far.port)
    await seen(far, lambda log: log.requests("INVITE"))
    crashed = await crash(first, far, call, open_line)
    ended = await crashed.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.BYE)
    assert not crashed.after.requests("INVITE"), "a restart never dials"
    ringing = next(p for p in crashed.after if p.status == 180)
    assert crashed.after.requests("CANCEL")[0].at >= ringing.at
    assert crashed.after.requests("ACK")[0].at < crashed.after.requests("BYE")[0].at
    crashed.second.assert_proved(ended.proof, crashed.after)


async def test_an_invite_that_may_never_have_left_is_not_sent_again_and_stays_unconfirmed(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    far = far_end({"INVITE": [LOST]})
    first = await open_line(REAL_TIMERS)
    call = await first.place(far.port)
    await seen(far, lambda log: log.requests("INVITE"))
    crashed = await crash(first, far, call, open_line)
    ended = await crashed.ended()
    assert ended.proof.result is Result.UNCONFIRMED
    assert not [p for p in crashed.after if not p.sent and p.status is None], (
        "nothing to say to a far end that never spoke"
    )


async def test_a_ringing_call_is_cancelled_at_once(far_end: FarEnd, open_line: OpenLine) -> None:
    far, first = far_end({"INVITE": [RING]}), await open_line()
    call = await first.place(far.port)
    await seen(far, lambda log: any(p.status == 180 for p in log.responses("INVITE")))
    await fence(far, first)
    crashed = await crash(first, far, call, open_line)
    ended = await crashed.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.CANCEL)
    (cancel,), invite = crashed.after.requests("CANCEL"), far.log.requests("INVITE")[0]
    assert (cancel.branch, cancel.cseq, cancel.uri) == (invite.branch, invite.cseq, invite.uri)
    assert crashed.after.requests("ACK")[0].branch == invite.branch


async def test_a_407_in_flight_is_cancelled_with_the_retried_invites_branch(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    challenge = Act("407 Proxy Authentication Required", extra='Proxy-Authenticate: Digest realm="f", nonce="n"\r\n')
    far: RawUas = far_end({"INVITE": [(challenge,), (Act("180 Ringing", 0.6),)]})
    first = await open_line(REAL_TIMERS)
    call = await first.place(far.port)
    await seen(far, lambda log: len(log.branches("INVITE")) == 2)
    crashed = await crash(first, far, call, open_line)
    ended = await crashed.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.CANCEL)
    retried = far.log.requests("INVITE")[-1]
    assert {(p.branch, p.cseq) for p in crashed.after.requests("CANCEL")} == {(retried.branch, retried.cseq)}
    assert not crashed.after.requests("INVITE")


@pytest.mark.parametrize("script", [{}, {"BYE": [LOST, OK]}], ids=["at-once", "bye-lost"])
async def test_an_answered_call_is_byed(far_end: FarEnd, open_line: OpenLine, script: Script) -> None:
    far, first = far_end({"INVITE": [ANSWER], **script}), await open_line()
    call = await first.place(far.port)
    await first.until(Answered)
    await seen(far, lambda log: log.requests("ACK"))
    crashed = await crash(first, far, call, open_line)
    ended = await crashed.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.BYE)
    assert crashed.after.requests("BYE")[0].to_tag == "far1"
    assert crashed.after.requests("BYE")[0].cseq > far.log.requests("INVITE")[0].cseq
    crashed.second.assert_proved(ended.proof, crashed.after)
    assert crashed.second.ends() == 1


async def test_a_resumed_calls_bye_that_is_challenged_is_sent_with_credentials(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    challenge = 'Proxy-Authenticate: Digest realm="f", nonce="n", qop="auth"\r\n'
    far = far_end({"BYE": [(Act("407 Proxy Authentication Required", extra=challenge),), OK]})
    first = await open_line()
    call = await first.place(far.port)
    await first.until(Answered)
    await seen(far, lambda log: log.requests("ACK"))
    crashed = await crash(first, far, call, open_line)
    ended = await crashed.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.BYE)
    crashed.second.assert_proved(ended.proof, crashed.after)
    assert len(far.verified) == 1
    assert far.faults == []


async def test_an_ending_call_whose_bye_was_not_confirmed_is_byed_anew(far_end: FarEnd, open_line: OpenLine) -> None:
    far, first = far_end({"BYE": [LOST, OK]}), await open_line(REAL_TIMERS)
    call = await first.place(far.port)
    await first.until(Answered)
    first.engine.hangup(call, STOP)
    await seen(far, lambda log: log.requests("BYE"))
    crashed = await crash(first, far, call, open_line)
    ended = await crashed.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.BYE)
    lost, again = far.log.requests("BYE")[0], crashed.after.requests("BYE")[0]
    assert again.cseq > lost.cseq
    assert again.branch != lost.branch


async def test_an_ending_call_whose_cancel_was_lost_is_cancelled_again(far_end: FarEnd, open_line: OpenLine) -> None:
    lost_once = [LOST, (Act("200 OK"), Act("487 Request Terminated", to="INVITE"))]
    far, first = far_end({"INVITE": [RING], "CANCEL": lost_once}), await open_line(REAL_TIMERS)
    call = await first.place(far.port)
    await seen(far, lambda log: any(p.status == 180 for p in log.responses("INVITE")))
    await fence(far, first)
    first.engine.hangup(call, STOP)
    await seen(far, lambda log: log.requests("CANCEL"))
    crashed = await crash(first, far, call, open_line)
    ended = await crashed.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, Method.CANCEL)
