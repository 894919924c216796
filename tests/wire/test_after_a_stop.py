"""After a stop no new INVITE ever leaves, and no foreign response confirms the end."""

import re
from collections.abc import Callable

import pytest
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import STOP, assert_confirmed, fence, seen
from tests.wire.peers.compose import Act
from tests.wire.peers.raw_uas import ANSWER, RING

from onhook.calls.proof import Method
from onhook.lines.engine import Answered, Provisional

pytestmark = pytest.mark.wire

FINALS = [
    Act("401 Unauthorized", extra='WWW-Authenticate: Digest realm="far", nonce="n", qop="auth"\r\n'),
    Act("407 Proxy Authentication Required", extra='Proxy-Authenticate: Digest realm="far", nonce="n"\r\n'),
    Act("422 Session Interval Too Small", extra="Min-SE: 3600\r\n"),
    Act("302 Moved Temporarily", extra="Contact: <sip:elsewhere@127.0.0.1:PORT>\r\n"),
    Act("503 Service Unavailable", extra="Retry-After: 1\r\n"),
]
every_final = pytest.mark.parametrize("final", FINALS, ids=[act.say[:3] for act in FINALS])


@every_final
async def test_a_final_that_invites_a_retry_settles_a_cancelled_call(
    far_end: FarEnd, open_line: OpenLine, final: Act
) -> None:
    to_the_invite = Act(final.say, extra=final.extra, to="INVITE")
    far, line = far_end({"INVITE": [RING, ANSWER], "CANCEL": [(Act("200 OK"), to_the_invite)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Provisional, nth=2)
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.CANCEL)
    assert len(far.log.branches("INVITE")) == 1
    assert far.log.requests("ACK")[0].branch == far.log.branches("INVITE")[0]


@every_final
async def test_a_final_that_invites_a_retry_settles_a_call_stopped_before_any_provisional(
    far_end: FarEnd, open_line: OpenLine, final: Act
) -> None:
    later = Act(final.say, after=0.2, extra=final.extra)
    far, line = far_end({"INVITE": [(later,), ANSWER]}), await open_line()
    call = await line.place(far.port)
    await seen(far, lambda log: log.requests("INVITE"))
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.REJECTED)
    assert len(far.log.branches("INVITE")) == 1
    assert not far.log.requests("CANCEL")
    assert far.log.requests("ACK")[0].branch == far.log.branches("INVITE")[0]


async def test_a_stop_while_the_authenticated_invite_is_being_saved_lets_it_not_leave(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    challenge = Act("407 Proxy Authentication Required", extra=FINALS[1].extra)
    far, line = far_end({"INVITE": [(Act("100 Trying"), challenge), ANSWER]}), await open_line()
    saved = line.journal.before_invite

    async def stop_first(call_id: str, snapshot: bytes) -> bool:
        if line.journal.snapshots.get(call_id):
            line.engine.hangup(call_id, STOP)
        return await saved(call_id, snapshot)

    line.journal.before_invite = stop_first  # type: ignore[method-assign]
    await line.place(far.port)
    ended = await line.ended()
    await fence(far, line)
    assert len(far.log.branches("INVITE")) == 1
    assert ended.proof.confirmed_at is not None
    line.assert_proved(ended.proof, far.log)


def foreign_branch(text: str) -> str:
    """Make a response one of a transaction that we never began."""
    return re.sub(r"branch=[^;\r\n]+", "branch=z9hG4bKsomebody-elses", text, count=1)


def foreign_method(text: str) -> str:
    """Let a response speak of another method than the one it is for."""
    return re.sub(r"(CSeq: \d+) \w+", r"\1 INFO", text)


foreign = pytest.mark.parametrize("spoil", [foreign_branch, foreign_method])


@foreign
async def test_a_foreign_200_does_not_confirm_a_bye(
    far_end: FarEnd, open_line: OpenLine, spoil: Callable[[str], str]
) -> None:
    far = far_end({"BYE": [(Act("200 OK", edit=spoil), Act("200 OK", after=0.4))]})
    line = await open_line()
    call = await line.place(far.port)
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    await seen(far, lambda log: any("200" in p.first and spoil(p.raw) == p.raw for p in log if p.sent))
    await fence(far, line)
    assert line.ends() == 0
    ended = await assert_confirmed(line, far, Method.BYE)
    bye = far.log.requests("BYE")[0]
    assert (ended.proof.confirmed_at or 0) >= bye.at + 390


@foreign
async def test_a_foreign_487_does_not_confirm_a_cancel(
    far_end: FarEnd, open_line: OpenLine, spoil: Callable[[str], str]
) -> None:
    wrong = Act("487 Request Terminated", to="INVITE", tag="other", edit=spoil)
    right = Act("487 Request Terminated", to="INVITE", after=0.4)
    far, line = far_end({"INVITE": [RING], "CANCEL": [(Act("200 OK"), wrong, right)]}), await open_line()
    call = await line.place(far.port)
    await line.until(Provisional, nth=2)
    line.engine.hangup(call, STOP)
    await seen(far, lambda log: any("487" in p.first for p in log if p.sent))
    await fence(far, line)
    assert line.ends() == 0, "neither the 200 to the CANCEL nor a foreign 487 is a proof"
    await assert_confirmed(line, far, Method.CANCEL)
