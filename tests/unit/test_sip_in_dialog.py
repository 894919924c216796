"""The far end's requests, inside our dialogs and outside."""

import pytest

from onhook.calls.causes import Reason
from onhook.calls.proof import Result
from onhook.lines.engine import LegEnded
from tests.unit.sip_world import FAR, SDP, World, reply_to

pytestmark = pytest.mark.unit

HOLD = SDP + b"a=sendonly\r\n"


def statuses(world: World, method: str) -> list[int]:
    return [response.status for response in world.responses(method)]


async def test_a_reinvite_is_answered_with_sdp_repeated_until_its_ack() -> None:
    world = World()
    invite = await world.answered()
    world.ask("INVITE", invite, cseq=5, body=HOLD)
    (answer,) = world.responses("INVITE")
    assert (answer.status, answer.contact_uri) == (200, "sip:onhook@192.0.2.1:5070")
    assert b"a=recvonly" in answer.body
    assert world.media.sessions[0].remotes[-1].direction == "sendonly"
    world.clock.advance(1.6)
    assert statuses(world, "INVITE") == [200, 200, 200]
    world.ask("ACK", invite, cseq=5)
    world.clock.advance(40)
    assert statuses(world, "INVITE") == [200, 200, 200]
    assert world.of(LegEnded) == []


async def test_hold_and_resume_number_our_descriptions_upwards() -> None:
    world = World()
    invite = await world.answered()
    for cseq, body in ((5, HOLD), (6, SDP)):
        world.ask("INVITE", invite, cseq=cseq, body=body)
        world.ask("ACK", invite, cseq=cseq)
    versions = [int(response.body.split(b"\r\n")[1].split()[2]) for response in world.responses("INVITE")]
    session_ids = {response.body.split(b"\r\n")[1].split()[1] for response in world.responses("INVITE")}
    assert versions[1] == versions[0] + 1
    assert len(session_ids) == 1
    assert world.media.sessions[0].remotes[-1].direction == "sendrecv"


async def test_a_reinvite_without_sdp_gets_our_offer_and_its_ack_the_answer() -> None:
    world = World()
    invite = await world.answered()
    world.ask("INVITE", invite, cseq=5)
    assert b"m=audio 4100 RTP/AVP 0 8 101" in world.responses("INVITE")[0].body
    world.ask("ACK", invite, cseq=5, body=SDP.replace(b"4000", b"6000"))
    assert world.media.sessions[0].remotes[-1].port == 6000


async def test_a_2xx_to_a_reinvite_that_is_never_acked_ends_the_call() -> None:
    world = World()
    invite = await world.answered()
    world.ask("INVITE", invite, body=SDP)
    world.clock.advance(32.1)
    world.reply(world.last("BYE"), 200)
    assert world.ended.cause.reason is Reason.DIALOG_LOST


async def test_a_target_refresh_moves_our_next_request_and_is_saved() -> None:
    world = World()
    invite = await world.answered()
    before = len(world.journal.snapshots)
    world.ask("UPDATE", invite, Contact="<sip:moved@198.51.100.8:5099>")
    await world.idle()
    assert statuses(world, "UPDATE") == [200]
    assert len(world.journal.snapshots) == before + 1
    assert "moved@198.51.100.8" in world.journal.snapshots[-1].decode()
    world.hang_up()
    assert world.last("BYE").uri == "sip:moved@198.51.100.8:5099"
    assert (world.network.sent[-1][1].host, world.network.sent[-1][1].port) == ("198.51.100.8", 5099)


async def test_an_update_with_sdp_is_answered_and_needs_no_ack() -> None:
    world = World()
    invite = await world.answered()
    world.ask("UPDATE", invite, body=SDP.replace(b"c=IN IP4 192.0.2.9", b"c=IN IP4 0.0.0.0"))
    assert b"a=recvonly" in world.responses("UPDATE")[0].body
    world.clock.advance(40)
    assert (statuses(world, "UPDATE"), world.of(LegEnded)) == ([200], [])


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"v=0\r\nnonsense", {}, 488),
        (b"hello", {"Content_Type": "text/plain"}, 488),
        (SDP, {"Require": "100rel, timer"}, 420),
        (SDP, {"Session_Expires": "30", "Supported": "timer"}, 422),
    ],
)
async def test_a_reinvite_that_we_cannot_follow_is_refused_and_the_call_goes_on(
    body: bytes, headers: dict[str, str], status: int
) -> None:
    world = World()
    invite = await world.answered()
    world.ask("INVITE", invite, more=headers, body=body)
    (response,) = world.responses("INVITE")
    assert response.status == status
    assert response.first("Unsupported") == ("100rel" if status == 420 else None)
    assert response.first("Min-SE") == ("90" if status == 422 else None)
    assert (world.of(LegEnded), len(world.media.sessions[0].remotes)) == ([], 1)


async def test_a_reinvite_that_crosses_our_own_is_glare() -> None:
    world = World()
    invite = await world.answered(Session_Expires="90;refresher=uac", Allow="INVITE")
    world.clock.advance(45)
    assert world.count("INVITE") == 2
    world.ask("INVITE", invite, body=SDP)
    assert statuses(world, "INVITE") == [491]


@pytest.mark.parametrize(
    ("method", "status"),
    [("OPTIONS", 200), ("INFO", 200), ("REFER", 405), ("NOTIFY", 405), ("FOO", 501), ("INVITE", 200)],
)
async def test_each_method_has_its_answer_in_the_dialog(method: str, status: int) -> None:
    world = World()
    invite = await world.answered()
    world.ask(method, invite)
    (response,) = world.responses(method)
    assert response.status == status
    assert (response.first("Allow") is None) is (method == "INFO")


async def test_a_lower_number_is_answered_500_and_ends_nothing() -> None:
    world = World()
    invite = await world.answered()
    world.ask("OPTIONS", invite, cseq=10)
    world.ask("BYE", invite, cseq=9)
    assert (statuses(world, "BYE"), world.of(LegEnded)) == ([500], [])


async def test_a_bye_with_a_foreign_tag_is_481_and_ends_nothing() -> None:
    world = World()
    invite = await world.answered()
    world.ask("BYE", invite, tag="stranger")
    world.ask("BYE", invite, To="<sip:us@192.0.2.1>;tag=stranger")
    world.ask("BYE", invite, Call_ID="other@x")
    assert (statuses(world, "BYE"), world.of(LegEnded)) == ([481, 481, 481], [])


async def test_while_our_bye_is_out_only_a_bye_is_served() -> None:
    world = World()
    invite = await world.answered()
    world.hang_up()
    world.ask("INVITE", invite, body=SDP)
    world.ask("OPTIONS", invite)
    world.ask("BYE", invite)
    assert [world.responses(m)[0].status for m in ("INVITE", "OPTIONS", "BYE")] == [481, 481, 200]
    assert world.proof.result is Result.CONFIRMED


async def test_a_cancel_of_an_answered_reinvite_is_acknowledged_and_changes_nothing() -> None:
    world = World()
    invite = await world.answered()
    world.ask("INVITE", invite, cseq=5, body=SDP, branch="z9hG4bKre")
    world.ask("CANCEL", invite, cseq=5, branch="z9hG4bKre")
    world.ask("CANCEL", invite, cseq=5, branch="z9hG4bKnone")
    assert (statuses(world, "CANCEL"), statuses(world, "INVITE"), world.of(LegEnded)) == ([200, 481], [200], [])


@pytest.mark.parametrize(
    ("method", "status"),
    [("INVITE", 403), ("BYE", 481), ("INFO", 481), ("UPDATE", 481), ("CANCEL", 481), ("OPTIONS", 200),
     ("REGISTER", 405), ("WHAT", 501)],
)  # fmt: skip
async def test_strangers_get_their_answer_with_a_tag(method: str, status: int) -> None:
    world = World()
    invite = await world.place()
    world.ask(method, invite, To="<sip:onhook@192.0.2.1>", Call_ID="stranger@x")
    (response,) = world.responses(method)
    assert (response.status, bool(response.to_tag)) == (status, True)
    assert world.of(LegEnded) == []
    world.clock.advance(70)
    assert world.count("BYE") == 0


async def test_every_via_and_record_route_comes_back_in_our_responses() -> None:
    world = World()
    invite = await world.answered()
    via = "SIP/2.0/UDP p1:5060;branch=z9hG4bKp1, SIP/2.0/UDP p2;branch=z9hG4bKp2"
    world.ask("BYE", invite, Via=via, Record_Route="<sip:p1;lr>")
    (response,) = world.responses("BYE")
    assert [item.split(";")[0] for item in response.all("Via")] == ["SIP/2.0/UDP p1:5060", "SIP/2.0/UDP p2"]
    assert response.raw("Record-Route") == ["<sip:p1;lr>"]


async def test_a_stray_ack_or_response_moves_nothing() -> None:
    world = World()
    invite = await world.answered()
    sent = len(world.network.sent)
    world.ask("ACK", invite, cseq=77)
    world.ask("ACK", invite, Call_ID="x@y")
    world.agent.layer.receive(reply_to(invite, 200).replace(b"c1@test", b"c9@test"), FAR)
    world.agent.layer.receive(reply_to(invite, 180), FAR)
    assert (len(world.network.sent), world.of(LegEnded)) == (sent, [])


@pytest.mark.parametrize("method", ["INVITE", "BYE", "OPTIONS", "REGISTER"])
async def test_a_flood_of_strangers_leaves_nothing_and_draws_one_answer_each(method: str) -> None:
    world = World()
    invite = await world.place()
    kept, timers = len(world.agent.layer), world.clock.pending
    for number in range(100):
        branch = f"z9hG4bKflood{number}"
        world.ask(method, invite, branch=branch, cseq=1, Call_ID=f"{number}@flood", To="<sip:us@192.0.2.1>")
    assert (len(world.agent.layer), world.clock.pending, len(world.responses(method))) == (kept, timers, 100)
    world.ask(method, invite, branch="z9hG4bKflood0", cseq=1, Call_ID="0@flood", To="<sip:us@192.0.2.1>")
    again, first = world.responses(method)[-1], world.responses(method)[0]
    assert again.to_tag == first.to_tag != world.responses(method)[1].to_tag
    assert first.to_tag


async def test_a_flood_of_reinvites_without_acks_keeps_one_answer_in_the_air() -> None:
    world = World()
    invite = await world.answered()
    for _ in range(50):
        world.ask("INVITE", invite, body=SDP)
    world.clock.advance(0.6)
    assert len(world.responses("INVITE")) == 50 + 1
    world.ask("ACK", invite, cseq=world._cseq)
    world.clock.advance(40)
    assert (len(world.responses("INVITE")), world.of(LegEnded)) == (50 + 1, [])
