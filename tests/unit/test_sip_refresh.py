"""Session timers in a running call (RFC 4028)."""

import pytest

from onhook.calls.causes import Reason
from onhook.lines.engine import Answered, LegEnded
from tests.unit.sip_world import FAR, SDP, World

pytestmark = pytest.mark.unit

OURS = {"Session_Expires": "90;refresher=uac", "Allow": "INVITE, BYE, UPDATE"}
CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth"'


@pytest.mark.parametrize(
    ("header", "timer"), [("1800;refresher=uas", "peer"), ("1800;refresher=uac", "us"), ("1800", "us"), ("", "none")]
)
async def test_the_answer_says_who_refreshes(header: str, timer: str) -> None:
    world = World()
    await world.answered(**({"Session_Expires": header} if header else {}))
    assert world.of(Answered)[0].session_timer == timer


async def test_we_refresh_at_half_the_interval_again_and_again() -> None:
    world = World()
    await world.answered(**OURS)
    for number in (1, 2, 3):
        world.clock.advance(44.9)
        assert world.count("UPDATE") == number - 1
        world.clock.advance(0.1)
        update = world.last("UPDATE")
        assert (update.first("Session-Expires"), update.body) == ("90;refresher=uac", b"")
        assert update.contact_uri == "sip:onhook@192.0.2.1:5070"
        world.reply(update, 200, Session_Expires="90;refresher=uac")
    assert [update.cseq.sequence for update in world.requests("UPDATE")] == [2, 3, 4]
    assert world.of(LegEnded) == []
    await world.idle()
    assert '"local_cseq":4' in world.journal.snapshots[-1].decode()


async def test_without_update_we_refresh_by_a_reinvite_with_the_same_sdp_and_ack_it() -> None:
    world = World()
    invite = await world.answered(Session_Expires="90;refresher=uac", Allow="INVITE, BYE")
    world.clock.advance(45)
    refresh = world.last("INVITE")
    assert (refresh.body, refresh.cseq.sequence, refresh.to_tag) == (invite.body, 2, "far")
    world.reply(refresh, 200, sdp=SDP.replace(b"4000", b"7000"), Session_Expires="90;refresher=uac")
    world.reply(refresh, 200, sdp=SDP.replace(b"4000", b"7000"), Session_Expires="90;refresher=uac")
    acks = [data for data, _ in world.network.sent if data.startswith(b"ACK")]
    assert acks[1] == acks[2] != acks[0]
    assert world.media.sessions[0].remotes[-1].port == 7000


async def test_a_refresh_that_updates_the_target_moves_the_bye() -> None:
    world = World()
    await world.answered(Session_Expires="90;refresher=uac")
    world.clock.advance(45)
    world.reply(world.last("INVITE"), 200, contact="<sip:moved@192.0.2.9>", Session_Expires="90;refresher=uac")
    assert world.last("ACK").uri == "sip:moved@192.0.2.9"
    world.hang_up()
    assert world.last("BYE").uri == "sip:moved@192.0.2.9"


async def test_a_peer_that_stops_refreshing_is_hung_up() -> None:
    world = World()
    await world.answered(Session_Expires="90;refresher=uas")
    world.clock.advance(59.9)
    assert world.count("BYE") == 0
    world.clock.advance(0.2)
    assert world.last("BYE").raw("Reason") == ["Q.850;cause=102"]
    world.reply(world.last("BYE"), 481)
    assert world.ended.cause.reason is Reason.SESSION_EXPIRED


async def test_a_peer_that_refreshes_keeps_the_call() -> None:
    world = World()
    invite = await world.answered(Session_Expires="90;refresher=uas")
    for _ in range(3):
        world.clock.advance(50)
        world.ask("UPDATE", invite, Session_Expires="90;refresher=uac", Supported="timer")
    assert world.responses("UPDATE")[-1].first("Session-Expires") == "90;refresher=uac"
    assert world.count("BYE") == 0
    world.clock.advance(60.1)
    assert world.count("BYE") == 1


@pytest.mark.parametrize("status", [408, 481])
async def test_a_refresh_that_finds_no_dialog_ends_the_call(status: int) -> None:
    world = World()
    await world.answered(**OURS)
    world.clock.advance(45)
    world.reply(world.last("UPDATE"), status)
    world.reply(world.last("BYE"), 481)
    assert world.ended.cause.reason is Reason.DIALOG_LOST


async def test_a_refresh_that_nobody_answers_ends_the_call() -> None:
    world = World()
    await world.answered(Session_Expires="600;refresher=uac", Allow="UPDATE")
    world.clock.advance(300 + 32.1)
    world.reply(world.last("BYE"), 200)
    assert world.ended.cause.reason is Reason.DIALOG_LOST


@pytest.mark.parametrize(("allow", "method"), [("UPDATE", "UPDATE"), ("BYE", "INVITE")])
async def test_a_network_that_is_away_for_a_moment_ends_no_call(allow: str, method: str) -> None:
    world = World()
    await world.answered(Session_Expires="90;refresher=uac", Allow=allow)
    world.clock.advance(45)
    world.agent.layer.unreachable(FAR)
    world.clock.advance(9)
    assert (world.count("BYE"), len({request.via.branch for request in world.requests(method)})) == (
        0,
        1 if method == "UPDATE" else 3,
    )
    world.reply(world.last(method), 200, Session_Expires="90;refresher=uac")
    world.clock.advance(40)
    assert world.count("BYE") == 0


async def test_a_repeated_2xx_to_an_earlier_refresh_is_acked_as_that_one() -> None:
    world = World()
    await world.answered(Session_Expires="90;refresher=uac", Allow="BYE")
    world.clock.advance(45)
    earlier = world.last("INVITE")
    world.reply(earlier, 200, Session_Expires="4;refresher=uac")
    world.clock.advance(2)
    later = world.last("INVITE")
    world.reply(earlier, 200, Session_Expires="4;refresher=uac")
    world.reply(later, 200, Session_Expires="90;refresher=uac")
    assert [ack.cseq.sequence for ack in world.requests("ACK")] == [1, 2, 2, 3]
    world.clock.advance(44)
    assert (world.last("INVITE"), world.count("BYE")) == (later, 0)


async def test_a_refused_refresh_is_tried_again_before_the_session_runs_out() -> None:
    world = World()
    await world.answered(**OURS)
    world.clock.advance(45)
    world.reply(world.last("UPDATE"), 500, Retry_After="10")
    world.clock.advance(10)
    assert world.count("UPDATE") == 2
    world.reply(world.last("UPDATE"), 200, Session_Expires="90;refresher=uac")
    world.clock.advance(44)
    assert world.count("BYE") == 0


async def test_a_refused_refresh_lets_the_session_run_out() -> None:
    world = World()
    await world.answered(**OURS)
    world.clock.advance(45)
    world.reply(world.last("UPDATE"), 500)
    assert world.count("BYE") == 0
    world.clock.advance(15.1)
    world.reply(world.last("BYE"), 200)
    assert world.ended.cause.reason is Reason.SESSION_EXPIRED


async def test_a_challenged_refresh_is_repeated_with_credentials() -> None:
    world = World()
    await world.answered(**OURS)
    world.clock.advance(45)
    world.reply(world.last("UPDATE"), 401, WWW_Authenticate=CHALLENGE)
    assert world.count("UPDATE") == 2
    assert world.last("UPDATE").first("Authorization")


async def test_a_refresh_too_short_is_repeated_with_the_longer_interval() -> None:
    world = World()
    await world.answered(**OURS)
    world.clock.advance(45)
    world.reply(world.last("UPDATE"), 422, Min_SE="300")
    assert world.last("UPDATE").first("Session-Expires") == "300;refresher=uac"


@pytest.mark.parametrize("status", [405, 501])
async def test_a_peer_that_refuses_update_gets_a_reinvite(status: int) -> None:
    world = World()
    await world.answered(**OURS)
    world.clock.advance(45)
    world.reply(world.last("UPDATE"), status)
    assert world.count("INVITE") == 2


async def test_after_glare_we_wait_longer_than_the_other_side_and_try_again() -> None:
    world = World()
    await world.answered(**OURS)
    world.clock.advance(45)
    world.reply(world.last("UPDATE"), 491)
    world.clock.advance(2.0)
    assert world.count("UPDATE") == 1
    world.clock.advance(2.1)
    assert {update.cseq.sequence for update in world.requests("UPDATE")} == {2, 3}


async def test_a_reinvite_of_ours_that_a_hang_up_overtakes_is_still_acked() -> None:
    world = World()
    await world.answered(Session_Expires="90;refresher=uac")
    world.clock.advance(45)
    world.hang_up()
    world.reply(world.last("INVITE"), 200, sdp=SDP)
    assert world.last("ACK").cseq.sequence == 2
    assert world.last("BYE").cseq.sequence == 3
    world.clock.advance(40)
    assert world.count("INVITE") == 2
