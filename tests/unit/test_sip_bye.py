"""Ending an answered call, and what is proved each time."""

import pytest

from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, LegEnded, ProofUpdated, Trunk
from onhook.lines.sip.message import Request
from tests.unit.sip_world import FAR, SDP, STOP, World, reply_to

pytestmark = pytest.mark.unit

CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth"'
STALE = 'Digest realm="r", nonce="n2", qop="auth", stale=true'


def sent(world: World) -> list[str]:
    return [request.method for request in world.requests()]


async def test_an_answered_call_is_ended_by_a_bye_before_hangup_returns() -> None:
    world = World()
    await world.answered()
    assert world.hang_up()
    assert sent(world) == ["INVITE", "ACK", "BYE"]
    assert (world.media.sessions[0].muted, world.media.sessions[0].closed) == (True, False)
    world.agent.send_audio("c1", b"late")
    assert world.media.sessions[0].played == b""
    world.clock.advance(0.6)
    world.reply(world.last("BYE"), 200)
    (step,) = world.proof.steps
    now = world.clock.now_ms()
    assert (step.method, step.cseq, step.count, step.status, step.remote_tag) == ("BYE", 2, 2, 200, "far")
    assert (step.at, step.last_at, step.answered_at) == (now - 600, now - 100, now)
    assert (world.proof.confirmed_at, world.ended.at, world.proof.bye_sent_at) == (now, now, now - 600)
    assert world.media.sessions[0].closed


async def test_a_stop_between_the_2xx_and_its_ack_sends_both_at_once() -> None:
    world = World()
    invite = await world.place()
    world.journal.hold()
    world.reply(invite, 200, sdp=SDP)
    world.hang_up()
    assert sent(world) == ["INVITE", "ACK", "BYE"]
    world.clock.advance(1)
    world.journal.release()
    await world.idle()
    assert (world.count("ACK"), len(world.of(Answered))) == (1, 1)


async def test_the_first_stop_wins_and_repeats_are_harmless() -> None:
    world = World()
    await world.answered()
    world.hang_up()
    assert world.agent.hangup("c1", Cause("operator", Reason.OPERATOR_STOP))
    world.reply(world.last("BYE"), 200)
    assert (world.count("BYE"), world.ended.cause) == (1, STOP)
    assert not world.hang_up()
    assert not world.agent.hangup("unknown", STOP)


@pytest.mark.parametrize(
    ("status", "result"),
    [(200, Result.CONFIRMED), (202, Result.CONFIRMED), (481, Result.CONFIRMED), (404, Result.UNCONFIRMED),
     (408, Result.UNCONFIRMED), (500, Result.UNCONFIRMED), (503, Result.UNCONFIRMED), (603, Result.UNCONFIRMED)],
)  # fmt: skip
async def test_only_a_2xx_or_481_confirms_a_bye(status: int, result: Result) -> None:
    world = World()
    await world.answered()
    world.hang_up()
    world.reply(world.last("BYE"), 100)
    assert world.of(LegEnded) == []
    world.reply(world.last("BYE"), status)
    assert (world.proof.result, world.proof.steps[0].status, world.count("BYE")) == (result, status, 1)


async def test_a_bye_that_nobody_answers_is_unconfirmed_after_64_t1() -> None:
    world = World()
    await world.answered()
    world.hang_up()
    world.clock.advance(32.1)
    (step,) = world.proof.steps
    assert (world.proof.result, step.count, step.status) == (Result.UNCONFIRMED, 11, None)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_bye_put_off_for_a_moment_is_sent_once_more(status: int) -> None:
    world = World()
    await world.answered()
    world.hang_up()
    world.reply(world.last("BYE"), status, Retry_After="5 (busy)")
    world.clock.advance(4.9)
    assert world.count("BYE") == 1
    world.clock.advance(0.2)
    again = world.last("BYE")
    assert (again.cseq.sequence, world.of(LegEnded)) == (3, [])
    world.reply(again, status, Retry_After="1")
    world.clock.advance(3)
    assert ([step.status for step in world.proof.steps], world.proof.result) == ([status, status], Result.UNCONFIRMED)
    assert world.count("BYE") == 2


async def test_a_bye_put_off_for_long_is_not_waited_for() -> None:
    world = World()
    await world.answered()
    world.hang_up()
    world.reply(world.last("BYE"), 503, Retry_After="6")
    assert world.proof.result is Result.UNCONFIRMED


@pytest.mark.parametrize(("status", "header"), [(401, "WWW_Authenticate"), (407, "Proxy_Authenticate")])
async def test_a_challenged_bye_is_repeated_with_credentials_and_the_next_number(status: int, header: str) -> None:
    world = World()
    await world.answered()
    world.hang_up()
    world.reply(world.last("BYE"), status, {header: CHALLENGE})
    second = world.last("BYE")
    assert second.cseq.sequence == 3
    assert second.first(
        header.replace("WWW_Authenticate", "Authorization").replace("Proxy_Authenticate", "Proxy-Authorization")
    )
    world.reply(second, status, {header: STALE})
    third = world.last("BYE")
    assert third.cseq.sequence == 4
    world.reply(third, 200)
    assert [(step.cseq, step.status) for step in world.proof.steps] == [(2, status), (3, status), (4, 200)]
    assert world.proof.result is Result.CONFIRMED


async def test_a_bye_whose_credentials_are_refused_is_unconfirmed() -> None:
    world = World()
    await world.answered()
    world.hang_up()
    world.reply(world.last("BYE"), 401, WWW_Authenticate=CHALLENGE)
    world.reply(world.last("BYE"), 401, WWW_Authenticate=CHALLENGE.replace("n1", "n9"))
    assert (world.proof.result, world.count("BYE")) == (Result.UNCONFIRMED, 2)


async def test_a_bye_after_a_challenged_invite_brings_its_credentials_along() -> None:
    world = World()
    world.reply(await world.place(), 407, Proxy_Authenticate=CHALLENGE)
    await world.idle()
    world.reply(world.last("INVITE"), 200, sdp=SDP)
    await world.idle()
    assert world.last("ACK").first("Proxy-Authorization") == world.last("INVITE").first("Proxy-Authorization")
    world.hang_up()
    bye = world.last("BYE")
    assert bye.cseq.sequence == 3
    assert "nc=00000002" in (bye.first("Proxy-Authorization") or "")


async def test_byes_that_cross_are_both_answered_and_confirm_at_once() -> None:
    world = World()
    invite = await world.answered()
    world.hang_up()
    world.clock.advance(0.1)
    world.ask("BYE", invite, cseq=50)
    assert world.responses("BYE")[0].status == 200
    ours, theirs = world.proof.steps
    assert (ours.sent, ours.status, theirs.sent, theirs.cseq, theirs.status) == (True, None, False, 50, 200)
    assert (world.proof.result, world.ended.cause) == (Result.CONFIRMED, STOP)
    world.reply(world.last("BYE"), 481)
    assert len(world.events) == len([e for e in world.events if not isinstance(e, ProofUpdated)])


async def test_a_bye_of_the_far_end_after_an_unconfirmed_one_of_ours_completes_the_proof() -> None:
    world = World()
    invite = await world.answered()
    world.hang_up()
    world.clock.advance(33)
    world.ask("BYE", invite)
    assert world.updated.result is Result.CONFIRMED


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"branch=z9hG4bK", b"branch=z9hG4bKf"), (b"CSeq: 2 BYE", b"CSeq: 2 INVITE"), (b"CSeq: 2", b"CSeq: 3")],
)
async def test_a_response_with_a_foreign_branch_or_cseq_confirms_nothing(old: bytes, new: bytes) -> None:
    world = World()
    await world.answered()
    world.hang_up()
    forged = reply_to(world.last("BYE"), 200)
    assert old in forged
    world.agent.layer.receive(forged.replace(old, new, 1), FAR)
    assert world.of(LegEnded) == []
    world.clock.advance(0.5)
    assert world.count("BYE") == 2, "and stops no repetition"


async def test_a_200_with_a_foreign_branch_does_not_answer_a_call() -> None:
    world = World()
    invite = await world.place()
    world.agent.layer.receive(reply_to(invite, 200, sdp=SDP).replace(b"branch=z9hG4bK", b"branch=z9hG4bKf", 1), FAR)
    await world.idle()
    assert sent(world) == ["INVITE"]


async def test_a_late_fork_after_the_end_is_ended_too() -> None:
    world = World()
    invite = await world.answered()
    world.ask("BYE", invite)
    assert world.proof.method is Method.FAR_END_BYE
    world.reply(invite, 200, tag="late", sdp=SDP)
    world.reply(world.last("BYE"), 200)
    assert {step.remote_tag for step in world.updated.steps} == {"far", "late"}
    assert (world.updated.result, len(world.of(LegEnded))) == (Result.CONFIRMED, 1)


async def test_the_far_ends_bye_before_our_ack_ends_the_call_and_stops_its_2xx() -> None:
    world = World()
    invite = await world.place()
    world.journal.hold()
    world.reply(invite, 200, sdp=SDP)
    world.ask("BYE", invite)
    assert (world.count("ACK"), world.responses("BYE")[0].status, world.proof.method) == (1, 200, Method.FAR_END_BYE)


async def test_the_reason_text_goes_out_only_where_the_trunk_says_so() -> None:
    world = World(trunk=Trunk("t1", "sip:192.0.2.9", send_reason_text=True))
    await world.answered()
    world.hang_up()
    assert world.last("BYE").raw("Reason") == ["Q.850;cause=16", 'SIP;cause=200;text="enough"']


async def test_a_bye_follows_the_route_set() -> None:
    world = World()
    invite = await world.place()
    route = "<sip:198.51.100.2;lr>, <sip:198.51.100.3;lr>"
    world.reply(invite, 200, sdp=SDP, contact="<sip:far@198.51.100.4>", Record_Route=route)
    await world.idle()
    world.hang_up()
    bye = world.last("BYE")
    assert isinstance(bye, Request)
    assert (bye.uri, bye.raw("Route")) == ("sip:far@198.51.100.4", ["<sip:198.51.100.3;lr>", "<sip:198.51.100.2;lr>"])
    assert world.network.sent[-1][1].host == "198.51.100.3"


async def test_a_bye_is_not_given_up_because_the_network_says_that_nobody_is_there() -> None:
    world = World()
    await world.answered()
    world.hang_up()
    world.agent.layer.unreachable(FAR)
    world.clock.advance(0.5)
    assert world.count("BYE") == 2, "an ICMP message may be forged, and a proxy may be failing over"
    world.clock.advance(31.6)
    assert (world.proof.result, world.proof.method) == (Result.UNCONFIRMED, Method.BYE)


async def test_the_proof_tells_of_no_bye_that_never_left() -> None:
    world = World()
    await world.answered()
    world.network.down = True
    world.hang_up()
    world.clock.advance(32.1)
    assert (world.proof.result, world.proof.steps, world.proof.bye_sent_at) == (Result.UNCONFIRMED, (), None)


async def test_a_bye_counts_from_when_it_really_left() -> None:
    world = World()
    await world.answered()
    world.network.down = True
    world.hang_up()
    world.clock.advance(3)
    world.network.down = False
    world.clock.advance(0.5)
    world.reply(world.last("BYE"), 200)
    (step,) = world.proof.steps
    assert (step.count, step.at, world.count("BYE")) == (1, world.clock.now_ms(), 1)
