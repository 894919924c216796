"""A leg from the dial to its natural end."""

import asyncio

import pytest

from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, ProofStep, Result
from onhook.lines.engine import Answered, Dialed, DtmfReceived, LegEnded, ProofUpdated, Provisional, Tick, Trunk
from onhook.lines.media.session import SILENCE
from onhook.lines.sip.address import Destination
from onhook.lines.sip.context import SipSettings
from onhook.lines.sip.leg_states import LEG_MOVES, LegAction, LegInput, LegState
from onhook.lines.sip.snapshot import Snapshot
from tests.unit.sip_world import FAR, SDP, World

pytestmark = pytest.mark.unit

CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth"'
UNAUTHORIZED = {401: "WWW_Authenticate", 407: "Proxy_Authenticate"}


def test_the_table_is_whole_and_no_invite_follows_a_stop() -> None:
    reached = {state for moves in LEG_MOVES.values() for state, _ in moves.values()}
    assert reached | {LegState.PREPARING} == set(LegState) == set(LEG_MOVES)
    assert {action for moves in LEG_MOVES.values() for _, action in moves.values()} >= set(LegAction)
    retrying = {state for state, moves in LEG_MOVES.items() if LegInput.RETRY in moves}
    assert retrying == {LegState.CALLING, LegState.PROCEEDING}
    for ending in (LegState.HOLDING, LegState.CANCELING, LegState.CLEARING, LegState.SETTLED):
        assert all(
            state in (LegState.CANCELING, LegState.CLEARING, LegState.SETTLED)
            for state, _ in LEG_MOVES[ending].values()
        )


async def test_a_call_is_dialled_rings_is_answered_and_ended_by_the_far_end() -> None:
    world = World()
    invite = await world.place()
    world.clock.advance(0.2)
    world.reply(invite, 100)
    world.reply(invite, 180)
    world.clock.advance(1)
    world.reply(invite, 200, sdp=SDP)
    await world.idle()
    world.clock.advance(5)
    world.ask("BYE", invite, cseq=7, Reason='Q.850;cause=31;text="gone"')
    start = world.clock.now_ms() - 6200
    assert world.events[:-1] == [
        Dialed("c1", start),
        Provisional("c1", start + 200, 100, ringing=False),
        Provisional("c1", start + 200, 180, ringing=True),
        Answered("c1", start + 1200, "none"),
    ]
    assert world.responses("BYE")[0].status == 200
    step = ProofStep("BYE", 7, sent=False, at=start + 6200, status=200, answered_at=start + 6200, remote_tag="far")
    assert (world.proof.result, world.proof.method, world.proof.steps) == (
        Result.CONFIRMED,
        Method.FAR_END_BYE,
        (step,),
    )
    assert (world.ended.at, world.ended.cause) == (start + 6200, Cause("callee", Reason.HANGUP, q850=31))
    assert world.media.sessions[0].closed
    assert (world.agent.live_legs(), world.count("BYE")) == (0, 0)


async def test_the_snapshot_is_durable_before_the_first_byte() -> None:
    world = World()
    world.journal.hold()
    dialling = asyncio.create_task(world.agent.place(world.order()))
    await world.idle()
    assert (world.network.sent, world.events) == ([], [])
    world.journal.release()
    await dialling
    assert Snapshot.decode(world.journal.snapshots[0]).invite == world.last("INVITE").encode().decode()


async def test_a_call_that_may_not_be_dialled_any_more_sends_nothing() -> None:
    world = World()
    world.journal.allow = False
    await world.agent.place(world.order())
    assert world.network.sent == []
    assert (world.proof.result, world.proof.method, world.proof.steps) == (Result.CONFIRMED, Method.NONE, ())
    assert (world.agent.live_legs(), world.agent.remembered_legs(), world.media.sessions[0].closed) == (0, 0, True)


@pytest.mark.parametrize("trouble", ["disk", "network", "media", "header", "trunk"])
async def test_a_call_that_cannot_be_dialled_ends_with_proof_that_nothing_left(trouble: str) -> None:
    world = World(trunk=Trunk("t1", "sips:nowhere") if trouble == "trunk" else None)
    world.journal.fail = trouble == "disk"
    world.network.refuse = trouble == "network"
    world.media.fail = trouble == "media"
    await world.agent.place(world.order(**({"Evil": "a\r\nb"} if trouble == "header" else {})))
    assert world.network.sent == []
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.NONE)
    assert world.ended.cause.reason is Reason.TRANSPORT_FAILED
    assert world.agent.remembered_legs() == 0
    assert all(session.closed for session in world.media.sessions)


async def test_a_trunk_by_name_is_resolved_first() -> None:
    world = World(trunk=Trunk("t1", "sip:gw.example:5080;transport=tcp"))
    world.network.names["gw.example"] = "198.51.100.4"
    invite = await world.place()
    assert world.network.sent[0][1] == Destination("tcp", "198.51.100.4", 5080)
    assert (invite.uri, invite.via.transport) == ("sip:+12025550123@gw.example:5080;transport=tcp", "TCP")
    assert invite.contact_uri == "sip:onhook@192.0.2.1:5070;transport=tcp"


async def test_the_advertised_address_is_what_others_see() -> None:
    world = World(SipSettings(advertised_address="203.0.113.5", media_host="203.0.113.6"))
    invite = await world.place()
    assert invite.via.sent_by == "203.0.113.5:5070"
    assert invite.contact_uri == "sip:onhook@203.0.113.5:5070"
    assert b"c=IN IP4 203.0.113.6\r\n" in invite.body


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (486, Reason.BUSY),
        (603, Reason.DECLINED),
        (404, Reason.INVALID_DESTINATION),
        (302, Reason.REDIRECTED),
        (503, Reason.CARRIER_UNAVAILABLE),
    ],
)
async def test_a_rejection_ends_the_leg_and_is_its_proof(status: int, reason: Reason) -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 180)
    world.reply(invite, status, Contact="<sip:elsewhere@198.51.100.1>")
    assert world.last("ACK").via.branch == invite.via.branch
    (step,) = world.proof.steps
    assert (step.method, step.cseq, step.status, step.count) == ("INVITE", 1, status, 1)
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.REJECTED)
    assert (world.ended.cause.reason, world.ended.cause.sip_status) == (reason, status)
    await world.idle()
    assert world.count("INVITE") == 1


async def test_silence_is_given_up_at_timer_b_and_watched() -> None:
    world = World(SipSettings(watch=180))
    await world.place()
    world.clock.advance(31.9)
    assert world.of(LegEnded) == []
    world.clock.advance(0.2)
    (step,) = world.proof.steps
    assert (world.proof.result, world.proof.method, step.count, step.status) == (
        Result.UNCONFIRMED,
        Method.TIMEOUT,
        7,
        None,
    )
    assert world.ended.cause.reason is Reason.NO_RESPONSE
    world.clock.advance(179)
    assert world.agent.remembered_legs() == 1
    world.clock.advance(2)
    assert (world.agent.remembered_legs(), len(world.agent.layer), world.clock.pending) == (0, 0, 0)


async def test_a_dead_destination_ends_the_call_at_once_unconfirmed() -> None:
    world = World()
    await world.place()
    world.agent.layer.unreachable(FAR)
    assert (world.proof.result, world.ended.cause.reason) == (Result.UNCONFIRMED, Reason.TRANSPORT_FAILED)


@pytest.mark.parametrize("status", [401, 407])
async def test_a_challenge_is_acked_and_answered_by_a_new_invite_after_a_new_snapshot(status: int) -> None:
    world = World()
    first = await world.place()
    world.reply(first, status, {UNAUTHORIZED[status]: CHALLENGE})
    assert world.requests("ACK")[0].via.branch == first.via.branch
    assert world.count("INVITE") == 1
    await world.idle()
    second = world.last("INVITE")
    assert (second.cseq.sequence, second.call_id, second.from_tag) == (2, first.call_id, first.from_tag)
    assert second.via.branch != first.via.branch
    assert len(world.journal.snapshots) == 2
    assert second.via.branch in world.journal.snapshots[1].decode()
    world.reply(second, 200, sdp=SDP)
    await world.idle()
    assert world.last("ACK").cseq.sequence == 2
    assert len(world.of(Dialed)) == 1


async def test_wrong_credentials_end_the_call() -> None:
    world = World()
    world.reply(await world.place(), 401, WWW_Authenticate=CHALLENGE)
    await world.idle()
    world.reply(world.last("INVITE"), 401, WWW_Authenticate=CHALLENGE.replace("n1", "n2"))
    await world.idle()
    assert (world.count("INVITE"), world.ended.cause.reason) == (2, Reason.AUTHENTICATION_FAILED)


async def test_a_session_interval_too_small_is_raised_once() -> None:
    world = World(trunk=Trunk("t1", "sip:192.0.2.9", session_expires_s=120))
    world.reply(await world.place(), 422, Min_SE="600")
    await world.idle()
    second = world.last("INVITE")
    assert (second.first("Session-Expires"), second.first("Min-SE"), second.cseq.sequence) == ("600", "600", 2)
    world.reply(second, 422, Min_SE="900")
    await world.idle()
    assert (world.count("INVITE"), world.ended.cause.sip_status) == (2, 422)


async def test_the_ack_waits_for_the_dialog_to_be_durable_but_not_long() -> None:
    world = World()
    invite = await world.place()
    world.journal.hold()
    world.reply(invite, 200, sdp=SDP)
    await world.idle()
    assert (world.count("ACK"), world.of(Answered)) == (0, [])
    world.clock.advance(0.2)
    assert (world.count("ACK"), len(world.of(Answered))) == (1, 1)
    world.journal.release()
    await world.idle()
    assert (world.count("ACK"), len(world.of(Answered))) == (1, 1)


async def test_a_journal_that_fails_does_not_keep_the_ack() -> None:
    world = World()
    invite = await world.place()
    world.journal.fail = True
    world.reply(invite, 200, sdp=SDP)
    await world.idle()
    assert (world.count("ACK"), len(world.of(Answered))) == (1, 1)


async def test_a_repeated_2xx_gets_the_same_ack_again() -> None:
    world = World()
    invite = await world.answered()
    world.clock.advance(0.5)
    world.reply(invite, 200, sdp=SDP)
    world.clock.advance(40)
    world.reply(invite, 200, sdp=SDP)
    acks = [data for data, _ in world.network.sent if data.startswith(b"ACK")]
    assert len(acks) == 3, "also when the transaction is long over"
    assert len(set(acks)) == 1
    assert len(world.of(Answered)) == 1


async def test_early_media_opens_the_audio_and_the_2xx_sets_it() -> None:
    world = World()
    invite = await world.place()
    session = world.media.sessions[0]
    world.reply(invite, 183, sdp=SDP)
    world.reply(invite, 183, sdp=SDP)
    assert [(remote.host, remote.port) for remote in session.remotes] == [("192.0.2.9", 4000)]
    world.reply(invite, 200, sdp=SDP.replace(b"4000", b"5000"))
    await world.idle()
    assert session.remotes[-1].port == 5000
    assert world.of(LegEnded) == []


async def test_a_2xx_without_sdp_keeps_the_early_media() -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 183, sdp=SDP)
    world.reply(invite, 200)
    await world.idle()
    assert (len(world.of(Answered)), world.count("BYE")) == (1, 0)


@pytest.mark.parametrize("sdp", [b"", b"nonsense", SDP.replace(b"RTP/AVP 0", b"RTP/AVP 18").replace(b"4000", b"0")])
async def test_an_answer_without_usable_audio_is_acked_and_ended(sdp: bytes) -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 200, sdp=sdp)
    await world.idle()
    assert [request.method for request in world.requests()] == ["INVITE", "ACK", "BYE"]
    assert world.last("BYE").raw("Reason") == ["Q.850;cause=88"]
    world.reply(world.last("BYE"), 200)
    assert (world.ended.cause.reason, world.proof.result) == (Reason.MEDIA_REJECTED, Result.CONFIRMED)


async def test_an_answer_that_lost_its_tag_repeats_the_first_and_is_no_fork() -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 200, sdp=SDP)
    await world.idle()
    world.reply(invite, 200, tag="", sdp=SDP)
    await world.idle()
    assert [ack.to_tag for ack in world.requests("ACK")] == ["far", "far"]
    assert world.requests("BYE") == []


async def test_every_other_fork_is_acked_and_ended_and_the_first_goes_on() -> None:
    world = World()
    invite = await world.answered()
    world.reply(invite, 200, tag="fork2", sdp=SDP, contact="<sip:two@198.51.100.2>")
    assert [ack.to_tag for ack in world.requests("ACK")] == ["far", "fork2"]
    bye = world.last("BYE")
    assert (bye.to_tag, bye.uri) == ("fork2", "sip:two@198.51.100.2")
    world.reply(bye, 200)
    assert (world.of(LegEnded), len(world.of(Answered)), world.media.sessions[0].muted) == ([], 1, False)
    world.ask("BYE", invite)
    assert {step.remote_tag for step in world.proof.steps} == {"far", "fork2"}
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.FAR_END_BYE)


async def test_audio_and_keys_pass_both_ways() -> None:
    world = World()
    await world.answered()
    session = world.media.sessions[0]
    world.agent.send_audio("c1", b"\x00" * 1600)
    assert world.agent.flush_audio("c1") == 200
    world.agent.send_dtmf("c1", "42#")
    session.on_audio(b"frame")
    session.on_dtmf("5", 140)
    assert (session.keys, world.frames) == ("42#", [b"frame"])
    assert world.of(DtmfReceived) == [DtmfReceived("c1", world.clock.now_ms(), "5", 140)]
    assert world.agent.flush_audio("nobody") == 0


async def test_a_repeated_bye_is_answered_again_and_a_later_one_is_not_our_dialog() -> None:
    world = World()
    invite = await world.answered()
    data = world.ask("BYE", invite)
    world.clock.advance(20)
    world.agent.layer.receive(data, FAR)
    world.ask("BYE", invite)
    assert [response.status for response in world.responses("BYE")] == [200, 200, 200]
    world.clock.advance(33)
    world.ask("BYE", invite)
    assert world.responses("BYE")[-1].status == 481
    assert len(world.of(LegEnded)) + len(world.of(ProofUpdated)) == 1


async def test_nothing_is_left_of_a_finished_call() -> None:
    world = World()
    invite = await world.answered(Session_Expires="1800;refresher=uac", Allow="UPDATE")
    world.ask("BYE", invite)
    world.clock.advance(65)
    assert (world.agent.remembered_legs(), len(world.agent.layer), world.clock.pending) == (0, 0, 0)


async def test_the_same_call_is_not_placed_twice() -> None:
    world = World()
    await world.place()
    await world.agent.place(world.order())
    assert world.count("INVITE") == 1


async def test_a_closed_agent_keeps_no_clock_running_and_says_nothing() -> None:
    world = World()
    await world.answered(Session_Expires="1800;refresher=uac")
    await world.place("c2")
    world.journal.hold()
    dialling = asyncio.create_task(world.agent.place(world.order("c3")))
    await world.idle()
    sent = len(world.network.sent)
    await world.agent.abandon()
    world.journal.release()
    await dialling
    world.clock.advance(4000)
    assert (len(world.network.sent), world.of(LegEnded), world.agent.remembered_legs()) == (sent, [], 0)


async def test_marks_ticks_and_the_queue_pass_both_ways() -> None:
    world = World()
    await world.answered()
    session = world.media.sessions[0]
    session.queued_ms = 60
    world.agent.mark("c1", "said")
    world.agent.listen("c1")
    session.on_mark("said", False)
    assert session.on_tick is not None
    tick = Tick(SILENCE, SILENCE, arrived=True)
    session.on_tick(tick)
    assert (session.marks, world.agent.queued_ms("c1")) == (["said"], 60)
    assert (world.marks, world.ticks) == ([("c1", "said", False)], [("c1", tick)])
    assert world.agent.queued_ms("nobody") == 0
    world.agent.listen("nobody")


async def test_a_mark_on_a_leg_that_says_nothing_any_more_comes_back_as_cleared() -> None:
    world = World()
    await world.answered()
    world.agent.mute("c1")
    world.agent.mark("c1", "muted")
    world.agent.mark("nobody", "unknown")
    assert world.marks == []
    world.clock.advance(0)
    assert world.marks == [("c1", "muted", True), ("nobody", "unknown", True)]


async def test_a_cut_is_told_once_after_the_bye_and_before_the_end() -> None:
    world = World()
    await world.answered()
    world.agent.mute("c1")
    world.clock.advance(0)
    assert world.cuts == [], "a mute is no cut"
    world.hang_up()
    assert (world.count("BYE"), world.cuts) == (1, [])
    world.clock.advance(0)
    assert world.cuts == ["c1"]
    world.hang_up()
    world.reply(world.last("BYE"), 200)
    world.clock.advance(1)
    assert (world.cuts, len(world.of(LegEnded))) == (["c1"], 1)


async def test_a_cut_is_told_before_the_end_when_both_come_at_once() -> None:
    world = World()
    await world.answered()
    world.hang_up()
    world.reply(world.last("BYE"), 200)
    assert (world.cuts, len(world.of(LegEnded))) == (["c1"], 1)


async def test_a_cut_is_told_when_the_cancel_is_still_held() -> None:
    world = World()
    invite = await world.place()
    world.hang_up()
    world.clock.advance(0)
    assert (world.count("CANCEL"), world.cuts) == (0, ["c1"])
    world.reply(invite, 180)
    assert (world.count("CANCEL"), world.cuts) == (1, ["c1"])


async def test_a_far_ends_bye_is_no_cut() -> None:
    world = World()
    invite = await world.answered()
    world.ask("BYE", invite)
    world.clock.advance(1)
    assert (world.cuts, len(world.of(LegEnded))) == ([], 1)
