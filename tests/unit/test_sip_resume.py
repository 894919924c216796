"""Ending what an earlier life of the process left."""

import pytest

from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, LegEnded
from onhook.lines.sip.message import Request
from tests.unit.sip_world import SDP, World

pytestmark = pytest.mark.unit

RESTART = Cause("system", Reason.RESTART)
CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth"'


async def next_life(first: World) -> World:
    """Start a new agent on the last snapshot of `first` and let it take over the call."""
    await first.idle()
    second = World()
    second.agent.resume("c1", first.journal.snapshots[-1], RESTART)
    return second


def sent(world: World) -> list[str]:
    return [request.method for request in world.requests()]


async def test_an_answered_call_is_ended_by_a_bye_in_its_dialog() -> None:
    first = World()
    invite = await first.place()
    first.reply(invite, 200, sdp=SDP, contact="<sip:far@198.51.100.4>", Record_Route="<sip:198.51.100.3;lr>")
    second = await next_life(first)
    assert sent(second) == ["ACK", "BYE"], "the ACK may not have left in the earlier life"
    bye = second.last("BYE")
    assert (bye.call_id, bye.from_tag, bye.to_tag, bye.uri) == (
        invite.call_id,
        invite.from_tag,
        "far",
        "sip:far@198.51.100.4",
    )
    assert bye.raw("Route") == ["<sip:198.51.100.3;lr>"]
    assert bye.cseq.sequence == 3, "number 2 may be used by a BYE that nobody noted"
    assert bye.raw("Reason") == ["Q.850;cause=41"]
    second.reply(bye, 200)
    assert (second.proof.result, second.ended.cause) == (Result.CONFIRMED, RESTART)
    answered = second.of(Answered)
    assert [one.at for one in answered] == [one.at for one in first.of(Answered)], "told again, for it may be unwritten"


async def test_a_ringing_call_is_cancelled() -> None:
    first = World()
    invite = await first.place()
    first.reply(invite, 180)
    second = await next_life(first)
    assert sent(second) == ["CANCEL"]
    assert second.last("CANCEL").via.branch == invite.via.branch
    second.reply(invite, 487)
    assert (second.proof.result, second.proof.method) == (Result.CONFIRMED, Method.CANCEL)
    assert second.proof.steps[1].at == invite_left_at(first)


def invite_left_at(world: World) -> int:
    return world.events[0].at


async def test_an_invite_without_a_1xx_is_never_repeated_and_its_1xx_draws_the_cancel() -> None:
    first = World()
    invite = await first.place()
    second = await next_life(first)
    second.clock.advance(10)
    assert sent(second) == []
    second.reply(invite, 180)
    assert sent(second) == ["CANCEL"]
    second.reply(invite, 200, sdp=SDP)
    assert sent(second) == ["CANCEL", "ACK", "BYE"]
    second.reply(second.last("BYE"), 200)
    assert second.proof.result is Result.CONFIRMED


async def test_an_invite_that_perhaps_never_left_is_unconfirmed_after_64_t1_and_watched() -> None:
    first = World()
    invite = await first.place()
    second = await next_life(first)
    second.clock.advance(32.1)
    assert (second.proof.result, sent(second)) == (Result.UNCONFIRMED, [])
    second.clock.advance(100)
    second.reply(invite, 200, sdp=SDP)
    assert sent(second) == ["ACK", "BYE"]
    second.clock.advance(300)
    assert (second.agent.remembered_legs(), len(second.of(LegEnded))) == (0, 1)


async def test_a_final_response_is_acked_and_settles() -> None:
    first = World()
    invite = await first.place()
    second = await next_life(first)
    second.reply(invite, 486)
    assert sent(second) == ["ACK"]
    assert (second.proof.result, second.proof.method) == (Result.CONFIRMED, Method.REJECTED)


async def test_with_a_407_in_flight_only_the_retried_invite_counts() -> None:
    first = World()
    first.reply(await first.place(), 407, Proxy_Authenticate=CHALLENGE)
    await first.idle()
    retried = first.last("INVITE")
    second = await next_life(first)
    assert sent(second) == [], "the 407 was no 1xx of the new INVITE"
    second.reply(retried, 180)
    cancel = second.last("CANCEL")
    assert (cancel.via.branch, cancel.cseq.sequence) == (retried.via.branch, 2)


async def test_a_call_that_rings_behind_a_407_is_cancelled_although_both_invites_drew_a_100() -> None:
    first = World()
    challenged = await first.place()
    first.reply(challenged, 100)
    first.reply(challenged, 407, Proxy_Authenticate=CHALLENGE)
    await first.idle()
    first.reply(first.last("INVITE"), 100)
    first.reply(first.last("INVITE"), 180)
    second = await next_life(first)
    assert sent(second) == ["CANCEL"]
    assert second.last("CANCEL").cseq.sequence == 2


async def test_a_fork_that_answers_while_the_first_answer_is_being_written_is_left_to_the_next_life_too() -> None:
    first = World()
    invite = await first.place()
    first.journal.hold()
    first.reply(invite, 200, sdp=SDP)
    await first.idle()
    first.reply(invite, 200, tag="other", sdp=SDP)
    first.journal.release()
    second = await next_life(first)
    assert {bye.to_tag for bye in second.requests("BYE")} == {"far", "other"}


async def test_every_fork_left_behind_is_ended_but_not_those_proved_over() -> None:
    first = World()
    invite = await first.answered()
    first.reply(invite, 200, tag="gone", sdp=SDP)
    first.reply(first.last("BYE"), 200)
    first.reply(invite, 200, tag="open", sdp=SDP)
    first.ask("UPDATE", invite, Contact="<sip:far@192.0.2.9:6000>")
    second = await next_life(first)
    assert {bye.to_tag for bye in second.requests("BYE")} == {"far", "open"}


async def test_the_far_ends_bye_and_a_repeated_2xx_find_the_resumed_call() -> None:
    first = World()
    invite = await first.answered()
    second = await next_life(first)
    second.reply(invite, 200, sdp=SDP)
    assert second.count("ACK") == 2
    second.ask("BYE", invite)
    assert (second.responses("BYE")[0].status, second.proof.method) == (200, Method.FAR_END_BYE)


async def test_a_challenged_bye_finds_its_credentials_by_the_trunk() -> None:
    first = World()
    await first.answered()
    second = await next_life(first)
    second.reply(second.last("BYE"), 401, WWW_Authenticate=CHALLENGE)
    assert second.last("BYE").first("Authorization")
    assert b"secret" not in first.journal.snapshots[-1]


async def test_the_snapshot_holds_the_whole_invite() -> None:
    first = World()
    invite = await first.place()
    (snapshot,) = first.journal.snapshots
    second = await next_life(first)
    second.reply(invite, 180)
    assert isinstance(second.last("CANCEL"), Request)
    assert b'"provisional":false' in snapshot


async def test_a_leg_is_resumed_once_and_an_unreadable_snapshot_is_an_error() -> None:
    first = World()
    await first.answered()
    second = await next_life(first)
    second.agent.resume("c1", first.journal.snapshots[-1], RESTART)
    assert second.count("BYE") == 1
    for junk in (b"", b"{}", first.journal.snapshots[-1].replace(b"INVITE sip", b"NONSENSE"), b'{"version":1}'):
        with pytest.raises(ValueError, match=r".*"):
            second.agent.resume("c2", junk, RESTART)
    assert second.agent.live_legs() == 1


async def test_snapshots_that_wait_together_are_written_as_one_and_in_order() -> None:
    world = World()
    invite = await world.place()
    world.journal.hold()
    world.reply(invite, 180)
    await world.idle()
    world.reply(invite, 200, sdp=SDP)
    world.ask("UPDATE", invite, Contact="<sip:a@192.0.2.7>")
    await world.idle()
    world.journal.release()
    await world.idle()
    assert len(world.journal.snapshots) == 3, "the INVITE, the 1xx that was on its way, and all that came since"
    assert b"a@192.0.2.7" in world.journal.snapshots[-1]


async def test_after_the_end_no_snapshot_is_written_any_more() -> None:
    world = World()
    invite = await world.place()
    world.journal.hold()
    world.reply(invite, 180)
    world.reply(invite, 486)
    world.journal.release()
    await world.idle()
    assert len(world.journal.snapshots) == 1


async def test_an_answer_that_comes_after_an_unconfirmed_end_is_left_to_the_next_life() -> None:
    first = World()
    invite = await first.place()
    first.clock.advance(33)
    assert first.proof.result is Result.UNCONFIRMED
    first.reply(invite, 200, sdp=SDP)
    second = await next_life(first)
    assert sent(second) == ["ACK", "BYE"], "the BYE of the first life may be lost"
