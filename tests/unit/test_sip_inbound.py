"""A leg that a far end starts, from its INVITE to its end."""

import pytest

from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, Incoming, LegEnded, ProofUpdated, Provisional
from onhook.lines.sip.context import SipSettings
from onhook.lines.sip.inbound_states import INBOUND_MOVES, InboundAction, InboundInput, InboundState
from onhook.lines.sip.snapshot import Snapshot
from tests.unit.sip_caller import Caller, accepted, answered, ringing, trusting
from tests.unit.sip_world import FAR, SDP, STOP, World

pytestmark = pytest.mark.unit

NOBODY = Cause("system", Reason.INVALID_DESTINATION, q850=1)
BUSY = Cause("system", Reason.SHUTDOWN, q850=41)


def test_the_table_is_whole_and_nothing_is_answered_after_a_stop() -> None:
    reached = {state for moves in INBOUND_MOVES.values() for state, _ in moves.values()}
    assert reached | {InboundState.INCOMING} == set(InboundState) == set(INBOUND_MOVES)
    assert {action for moves in INBOUND_MOVES.values() for _, action in moves.values()} >= set(InboundAction)
    answering = {state for state, moves in INBOUND_MOVES.items() if InboundInput.ANSWER in moves}
    assert answering == {InboundState.INCOMING, InboundState.RINGING}
    byes = {
        state
        for state, moves in INBOUND_MOVES.items()
        if (InboundState.CLEARING, InboundAction.CLEAR) in moves.values()
    }
    assert byes == {InboundState.ACCEPTED, InboundState.ANSWERED, InboundState.HOLDING}
    acked_or_given_up = {InboundInput.ACK, InboundInput.SILENCE}
    for state in (InboundState.ACCEPTED, InboundState.HOLDING):
        clearing = {happened for happened, move in INBOUND_MOVES[state].items() if move[1] is InboundAction.CLEAR}
        assert clearing <= acked_or_given_up, "no BYE before the ACK"


async def test_a_call_is_told_of_rings_is_answered_and_ended_by_its_caller() -> None:
    world = trusting()
    caller = Caller(world)
    caller.invite(X_Flow="7", P_Asserted_Identity="<tel:+1-202-555-0123>")
    start = world.clock.now_ms()
    assert world.events == [
        Incoming(
            caller.leg, start, "in1@far", "+12025550123", "+12025550100", ("192.0.2.9", 5060),
            headers={"P-Asserted-Identity": "<tel:+1-202-555-0123>", "X-Flow": "7"},
        )
    ]  # fmt: skip
    assert caller.statuses == [100]
    world.clock.advance(0.1)
    world.agent.ring(caller.leg)
    world.clock.advance(1)
    world.agent.answer(caller.leg)
    await world.idle()
    assert caller.statuses == [100, 180, 200]
    world.clock.advance(0.2)
    caller.ack()
    world.clock.advance(5)
    assert caller.ask("BYE", Reason='Q.850;cause=31;text="gone"').status == 200
    assert world.events[1:3] == [
        Provisional(caller.leg, start + 100, 180, ringing=True),
        Answered(caller.leg, start + 1100, "none"),
    ]
    (step,) = world.proof.steps
    assert (step.method, step.sent, step.status, step.at) == ("BYE", False, 200, start + 6300)
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.FAR_END_BYE)
    assert (world.ended.at, world.ended.cause) == (start + 6300, Cause("caller", Reason.HANGUP, q850=31))
    assert world.media.sessions[0].closed
    assert (world.agent.live_legs(), world.count("BYE")) == (0, 0)


async def test_the_answer_carries_our_sdp_contact_and_the_record_route() -> None:
    world = trusting()
    caller = await accepted(world, {"Record-Route": "<sip:p1.test;lr>, <sip:p2.test;lr>"})
    ok = caller.response
    assert (ok.status, ok.contact_uri) == (200, "sip:onhook@192.0.2.1:5070")
    assert b"m=audio 4100 RTP/AVP 0 101\r\n" in ok.body
    assert ok.raw("Record-Route") == ["<sip:p1.test;lr>, <sip:p2.test;lr>"]
    assert world.media.sessions[0].remotes[0].port == 4000
    assert {response.to_tag for response in caller.responses[1:]} == {ok.to_tag} != {""}
    caller.ack()
    world.agent.hangup(caller.leg, STOP)
    bye = world.last("BYE")
    assert (bye.uri, bye.raw("Route")) == ("sip:ann@192.0.2.9:5062", ["<sip:p1.test;lr>", "<sip:p2.test;lr>"])
    assert (bye.from_tag, bye.to_tag, bye.cseq.sequence) == (ok.to_tag, "caller", 1)


async def test_the_dialog_is_durable_before_the_200() -> None:
    world = trusting()
    caller = Caller(world)
    caller.invite()
    world.journal.hold()
    world.agent.answer(caller.leg)
    await world.idle()
    assert caller.statuses == [100]
    world.journal.release()
    await world.idle()
    assert caller.statuses == [100, 200]
    snapshot = Snapshot.decode(world.journal.snapshots[0])
    assert (snapshot.incoming_tag, len(snapshot.dialogs)) == (caller.our_tag, 1)


@pytest.mark.parametrize(
    ("fail", "status", "reason"), [(True, 503, Reason.TRANSPORT_FAILED), (False, 480, Reason.API_STOP)]
)
async def test_a_dialog_that_may_not_be_durable_is_not_answered(fail: bool, status: int, reason: Reason) -> None:
    world = trusting()
    world.journal.fail, world.journal.allow = fail, False
    caller = await accepted(world)
    assert caller.statuses == [100, status]
    caller.ack()
    assert (world.ended.cause.reason, world.proof.method) == (reason, Method.REFUSED)


async def test_the_200_is_repeated_until_its_ack() -> None:
    world = trusting()
    caller = await accepted(world)
    world.clock.advance(3.6)
    assert caller.statuses == [100, 200, 200, 200, 200]
    assert world.of(Answered) == []
    caller.ack()
    world.clock.advance(40)
    assert caller.statuses == [100, 200, 200, 200, 200]
    assert len(world.of(Answered)) == 1


async def test_a_200_that_is_never_acknowledged_ends_in_a_bye_after_64_t1() -> None:
    world = trusting()
    caller = await accepted(world)
    world.clock.advance(31.9)
    assert world.count("BYE") == 0
    world.clock.advance(0.2)
    assert world.count("BYE") == 1
    assert len(caller.statuses) == 1 + 11
    world.reply(world.last("BYE"), 200)
    assert (world.ended.cause.reason, world.proof.method) == (Reason.DIALOG_LOST, Method.BYE)
    assert world.of(Answered) == []


async def test_a_repeated_invite_gets_the_last_response_again_and_is_no_second_call() -> None:
    world = trusting()
    caller = await ringing(world)
    caller.invite()
    caller.invite()
    assert caller.statuses == [100, 180, 180, 180]
    assert len(world.of(Incoming)) == 1


async def test_the_same_call_on_another_way_is_merged() -> None:
    world = trusting()
    caller = await answered(world)
    caller.invite(branch="z9hG4bKfork")
    assert caller.response.status == 482
    caller.ask("BYE")
    caller._cseq = 1
    caller.invite(branch="z9hG4bKlate")
    assert caller.response.status == 482
    assert len(world.of(Incoming)) == 1


async def test_a_caller_that_was_refused_may_call_again_under_its_call_id() -> None:
    world = trusting()
    caller = await ringing(world)
    world.agent.refuse(caller.leg, 503, BUSY)
    assert caller.response.first("Retry-After") == "10"
    caller.ack()
    caller._cseq = 2
    caller.invite(branch="z9hG4bKagain")
    assert (len(world.of(Incoming)), caller.response.status) == (2, 100)
    world.agent.ring(caller.leg)
    world.clock.advance(200)
    assert world.agent.remembered_legs() == 1
    assert caller.ask("OPTIONS").status == 500


@pytest.mark.parametrize("rung", [True, False])
async def test_a_caller_that_cancels_gets_200_and_487(rung: bool) -> None:
    world = trusting()
    caller = Caller(world)
    caller.invite()
    if rung:
        world.agent.ring(caller.leg)
    world.clock.advance(3)
    caller.cancel()
    (cancelled,) = world.responses("CANCEL")
    assert (cancelled.status, caller.response.status) == (200, 487)
    assert cancelled.to_tag == caller.our_tag
    assert (world.ended.cause.initiator, world.ended.cause.reason) == ("caller", Reason.CALLER_CANCELED)
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.FAR_END_CANCEL)
    assert [(step.method, step.status) for step in world.proof.steps] == [("CANCEL", 200), ("INVITE", 487)]
    world.clock.advance(1.6)
    assert caller.statuses[-3:] == [487, 487, 487]
    caller.ack()
    world.clock.advance(40)
    assert caller.statuses[-4:] != [487, 487, 487, 487]
    assert len(world.events) == (3 if rung else 2)


async def test_a_cancel_that_crosses_the_answer_wins_before_the_200_and_loses_after_it() -> None:
    world = trusting()
    caller = Caller(world)
    caller.invite()
    world.journal.hold()
    world.agent.answer(caller.leg)
    await world.idle()
    caller.cancel()
    world.journal.release()
    await world.idle()
    assert caller.statuses == [100, 487]
    assert world.media.sessions[0].closed

    world = trusting()
    caller = await accepted(world)
    caller.cancel()
    assert (world.responses("CANCEL")[0].status, caller.statuses) == (200, [100, 200])
    caller.ack()
    caller.ask("BYE")
    assert (world.proof.method, len(world.of(Answered))) == (Method.FAR_END_BYE, 1)


async def test_a_cancel_of_nothing_is_481() -> None:
    world = trusting()
    Caller(world).cancel()
    assert [response.status for response in world.responses("CANCEL")] == [481]


@pytest.mark.parametrize(
    ("cause", "status"), [(STOP, 480), (Cause("agent", Reason.AGENT_HANGUP, q850=21), 603)]
)  # fmt: skip
@pytest.mark.parametrize("moment", ["incoming", "ringing", "answering"])
async def test_an_unanswered_call_that_is_stopped_is_refused_until_the_ack(
    moment: str, cause: Cause, status: int
) -> None:
    world = trusting()
    caller = Caller(world)
    caller.invite()
    if moment == "ringing":
        world.agent.ring(caller.leg)
    if moment == "answering":
        world.journal.hold()
        world.agent.answer(caller.leg)
        await world.idle()
    start = world.clock.now_ms()
    assert world.agent.hangup(caller.leg, cause)
    world.journal.release()
    await world.idle()
    assert (caller.response.status, caller.response.q850) == (status, cause.q850)
    world.clock.advance(0.6)
    assert (caller.statuses.count(status), world.of(LegEnded)) == (2, [])
    caller.ack()
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.REFUSED)
    (step,) = world.proof.steps
    assert (step.method, step.sent, step.status, step.answered_at) == ("INVITE", False, status, start)
    assert world.proof.confirmed_at == world.ended.at == start + 600
    assert (world.ended.cause, world.cuts) == (cause, [caller.leg])
    assert 200 not in caller.statuses


async def test_a_refusal_that_is_never_acknowledged_is_unconfirmed() -> None:
    world = trusting()
    caller = await ringing(world)
    world.agent.refuse(caller.leg, 404, NOBODY)
    world.clock.advance(31.9)
    assert world.of(LegEnded) == []
    world.clock.advance(0.2)
    assert (world.proof.result, world.proof.method, world.ended.cause) == (Result.UNCONFIRMED, Method.REFUSED, NOBODY)
    assert world.cuts == []


async def test_the_first_refusal_stays() -> None:
    world = trusting()
    caller = await ringing(world)
    world.agent.refuse(caller.leg, 404, NOBODY)
    world.agent.hangup(caller.leg, STOP)
    world.agent.refuse(caller.leg, 486, BUSY)
    world.agent.ring(caller.leg)
    world.agent.answer(caller.leg)
    caller.cancel()
    caller.ack()
    await world.idle()
    assert (caller.statuses, world.ended.cause) == ([100, 180, 404], NOBODY)
    assert world.agent.hangup(caller.leg, STOP) is False


async def test_a_stop_before_the_ack_waits_for_it() -> None:
    world = trusting()
    caller = await accepted(world)
    world.agent.hangup(caller.leg, STOP)
    assert (world.count("BYE"), world.media.sessions[0].muted) == (0, True)
    world.clock.advance(0.6)
    assert caller.statuses == [100, 200, 200]
    caller.ack()
    assert world.count("BYE") == 1
    world.reply(world.last("BYE"), 200)
    assert (world.ended.cause, world.proof.result, world.proof.method) == (STOP, Result.CONFIRMED, Method.BYE)
    assert [type(event) for event in world.events] == [Incoming, Answered, LegEnded]


async def test_a_stop_whose_ack_never_comes_says_bye_after_64_t1() -> None:
    world = trusting()
    caller = await accepted(world)
    world.clock.advance(10)
    world.agent.hangup(caller.leg, STOP)
    world.clock.advance(21.9)
    assert world.count("BYE") == 0
    world.clock.advance(0.2)
    assert world.count("BYE") == 1
    world.reply(world.last("BYE"), 481)
    assert (world.ended.cause, world.proof.result, world.of(Answered)) == (STOP, Result.CONFIRMED, [])


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_bye_that_overtakes_the_ack_ends_the_call(stopped: bool) -> None:
    world = trusting()
    caller = await accepted(world)
    if stopped:
        world.agent.hangup(caller.leg, STOP)
    assert caller.ask("BYE").status == 200
    world.clock.advance(40)
    assert (caller.statuses, world.count("BYE")) == ([100, 200], 0)
    assert [type(event) for event in world.events] == [Incoming, Answered, LegEnded]
    assert world.ended.cause.reason is (Reason.API_STOP if stopped else Reason.HANGUP)
    assert world.proof.method is Method.FAR_END_BYE


async def test_a_bye_before_the_answer_ends_the_invite_too() -> None:
    world = trusting()
    caller = await ringing(world)
    assert caller.ask("BYE").status == 200
    assert caller.response.status == 487
    assert (world.ended.cause.reason, world.proof.method) == (Reason.CALLER_CANCELED, Method.FAR_END_BYE)
    assert [(step.method, step.status) for step in world.proof.steps] == [("BYE", 200), ("INVITE", 487)]


async def test_our_bye_ends_an_answered_call_and_its_answer_proves_it() -> None:
    world = trusting()
    caller = await answered(world)
    world.agent.hangup(caller.leg, STOP)
    world.clock.advance(0.1)
    world.reply(world.last("BYE"), 200)
    (step,) = world.proof.steps
    assert (step.method, step.sent, step.count, step.status, step.remote_tag) == ("BYE", True, 1, 200, "caller")
    assert (world.ended.cause, world.proof.result) == (STOP, Result.CONFIRMED)


async def test_a_bye_that_is_challenged_is_said_again_with_the_trunks_account() -> None:
    world = trusting()
    caller = await answered(world)
    world.agent.hangup(caller.leg, STOP)
    world.reply(world.last("BYE"), 401, WWW_Authenticate='Digest realm="r", nonce="n1", qop="auth"')
    again = world.last("BYE")
    assert (again.cseq.sequence, "alice" in (again.first("Authorization") or "")) == (2, True)
    world.reply(again, 200)
    assert world.proof.result is Result.CONFIRMED


async def test_a_bye_that_crosses_theirs_is_late_evidence() -> None:
    world = trusting()
    caller = await answered(world)
    world.agent.hangup(caller.leg, STOP)
    world.clock.advance(32.1)
    assert world.proof.result is Result.UNCONFIRMED
    assert caller.ask("BYE").status == 200
    assert world.of(ProofUpdated)[-1].proof.result is Result.CONFIRMED


async def test_an_invite_without_sdp_gets_our_offer_and_its_ack_the_answer() -> None:
    world = trusting()
    caller = await accepted(world, sdp=b"")
    assert b"m=audio 4100 RTP/AVP 0 8 101" in caller.response.body
    caller.ack(sdp=SDP.replace(b"4000", b"6000"))
    assert world.media.sessions[0].remotes[-1].port == 6000
    assert len(world.of(Answered)) == 1


async def test_a_late_offer_that_is_not_answered_ends_the_call() -> None:
    world = trusting()
    caller = await accepted(world, sdp=b"")
    caller.ack()
    assert world.count("BYE") == 1
    world.reply(world.last("BYE"), 200)
    assert world.ended.cause.reason is Reason.MEDIA_REJECTED
    assert world.cuts == [caller.leg]


async def test_without_a_media_port_the_caller_is_asked_to_come_later() -> None:
    world = trusting()
    world.media.fail = True
    caller = await accepted(world)
    assert (caller.statuses, caller.response.first("Retry-After")) == ([100, 503], "10")
    caller.ack()
    assert world.proof.method is Method.REFUSED


async def test_with_all_legs_taken_a_caller_is_asked_to_come_later() -> None:
    world = trusting(World(SipSettings(max_legs=1)))
    await ringing(world)
    second = Caller(world, call_id="in2@far")
    second.invite()
    assert (second.statuses, second.response.first("Retry-After")) == ([503], "10")
    assert (world.agent.live_legs(), len(world.of(Incoming))) == (1, 1)


async def test_the_180_is_said_again_each_minute_until_the_answer() -> None:
    world = trusting()
    caller = await ringing(world)
    world.clock.advance(121)
    assert caller.statuses == [100, 180, 180, 180]
    world.agent.ring(caller.leg)
    world.agent.answer(caller.leg)
    await world.idle()
    caller.ack()
    world.clock.advance(121)
    assert caller.statuses == [100, 180, 180, 180, 200]
    assert len(world.of(Provisional)) == 1


@pytest.mark.parametrize("method", ["UPDATE", "INFO", "INVITE", "PRACK"])
async def test_what_a_caller_asks_before_the_answer_ends_nothing(method: str) -> None:
    world = trusting()
    caller = await ringing(world)
    answer = caller.ask(method)
    assert (answer.status, answer.first("Retry-After")) == (500, "1")
    assert world.of(LegEnded) == []


async def test_an_answered_call_is_held_and_refreshed_like_any_other() -> None:
    world = trusting()
    caller = await answered(world)
    response = caller.ask("INVITE", body=SDP + b"a=sendonly\r\n")
    assert (response.status, b"a=recvonly" in response.body) == (200, True)
    caller.ack()
    assert caller.ask("UPDATE", Contact="<sip:moved@198.51.100.8:5099>").status == 200
    world.agent.hangup(caller.leg, STOP)
    assert world.last("BYE").uri == "sip:moved@198.51.100.8:5099"


async def test_a_caller_that_keeps_the_session_and_falls_silent_is_hung_up_on() -> None:
    world = trusting()
    caller = await answered(world, Supported="timer", Session_Expires="90")
    ok = caller.response
    assert (ok.first("Session-Expires"), ok.first("Require")) == ("90;refresher=uac", "timer")
    assert world.of(Answered)[0].session_timer == "peer"
    world.clock.advance(61)
    world.reply(world.last("BYE"), 200)
    assert world.ended.cause.reason is Reason.SESSION_EXPIRED


async def test_the_session_is_ours_to_keep_where_the_caller_wants_that() -> None:
    world = trusting()
    await answered(world, Supported="timer", Session_Expires="90;refresher=uas", Allow="UPDATE")
    world.clock.advance(46)
    update = world.last("UPDATE")
    assert update.first("Session-Expires") == "90;refresher=uac"
    world.reply(update, 491)
    world.clock.advance(2.1)
    assert {request.cseq.sequence for request in world.requests("UPDATE")} == {1, 2}


async def test_a_caller_without_timers_has_none() -> None:
    world = trusting()
    caller = await answered(world)
    assert caller.response.first("Session-Expires") is None
    world.clock.advance(100_000)
    assert world.of(LegEnded) == []


async def test_two_callers_may_use_one_call_id() -> None:
    world = trusting()
    one = await answered(world)
    two = Caller(world, tag="other")
    two.invite()
    assert (two.response.status, len(world.of(Incoming))) == (100, 2)
    first, second = (event.call_id for event in world.of(Incoming))
    assert one.ask("BYE").status == 200
    assert (world.ended.call_id, world.agent.hangup(second, STOP)) == (first, True)


async def test_our_own_call_may_come_back_to_us() -> None:
    world = trusting()
    await world.place("c1")
    caller = Caller(world, call_id="c1@test")
    caller.invite()
    assert len(world.of(Incoming)) == 1
    world.agent.answer(caller.leg)
    await world.idle()
    caller.ack()
    assert caller.ask("BYE").status == 200
    assert (world.ended.call_id, world.agent.live_legs()) == (caller.leg, 1)


async def test_a_call_that_was_waited_for_takes_its_leg() -> None:
    world = trusting()
    caller = Caller(world)
    caller.invite()
    world.agent.rename(caller.leg, "call_registered")
    assert world.agent.hangup(caller.leg, STOP) is False
    world.agent.answer("call_registered")
    await world.idle()
    caller.ack()
    world.media.sessions[0].on_dtmf("5", 100)
    assert {event.call_id for event in world.events[1:]} == {"call_registered"}
    other = Caller(world, call_id="in2@far")
    other.invite()
    with pytest.raises(ValueError, match="has a leg"):
        world.agent.rename(other.leg, "call_registered")


async def test_nothing_is_left_of_a_finished_call() -> None:
    world = trusting()
    caller = await answered(world, Supported="timer", Session_Expires="1800")
    caller.ask("BYE")
    other = Caller(world, call_id="in2@far")
    other.invite()
    other.cancel()
    other.ack()
    world.clock.advance(65)
    assert (world.agent.remembered_legs(), len(world.agent.layer), world.clock.pending) == (0, 0, 0)


async def test_a_closed_agent_keeps_no_clock_running_and_says_nothing() -> None:
    world = trusting()
    await ringing(world)
    await accepted(world)
    sent = len(world.network.sent)
    await world.agent.abandon()
    world.clock.advance(300)
    assert (len(world.network.sent), world.clock.pending, world.of(LegEnded)) == (sent, 0, [])


# --- a later life -----------------------------------------------------------------------------------------


async def test_a_ringing_caller_of_an_earlier_life_is_refused_by_the_next() -> None:
    world = trusting()
    caller = await ringing(world)
    later = World()
    later.agent.resume("c9", world.journal.snapshots[-1], STOP)
    (refusal,) = later.responses("INVITE")
    assert (refusal.status, refusal.to_tag) == (480, caller.our_tag)
    assert later.network.sent[-1][1] == FAR
    later.clock.advance(0.6)
    assert len(later.responses("INVITE")) == 2
    Caller(later).ack()
    assert (later.proof.result, later.proof.method, later.ended.cause) == (Result.CONFIRMED, Method.REFUSED, STOP)
    assert [type(event) for event in later.events] == [LegEnded]


async def test_an_answered_caller_of_an_earlier_life_gets_a_bye() -> None:
    world = trusting()
    caller = await answered(world)
    later = World()
    later.agent.resume("c9", world.journal.snapshots[-1], STOP)
    await later.idle()
    bye = later.last("BYE")
    assert (bye.from_tag, bye.to_tag, bye.cseq.sequence) == (caller.our_tag, "caller", 2)
    assert later.responses() == []
    later.reply(bye, 200)
    assert (later.proof.result, later.proof.method, len(later.of(Answered))) == (Result.CONFIRMED, Method.BYE, 1)
    assert Snapshot.decode(later.journal.snapshots[-1]).dialogs[0].local_cseq == 2


async def test_a_caller_that_may_have_been_answered_gets_both_ends() -> None:
    world = trusting()
    await accepted(world)
    later = World()
    later.agent.resume("c9", world.journal.snapshots[0], STOP)
    assert ([one.status for one in later.responses("INVITE")], later.count("BYE")) == ([480], 1)
    later.clock.advance(3)
    assert len(later.responses("INVITE")) == 1
    later.reply(later.last("BYE"), 481)
    assert (later.proof.result, later.proof.method, later.of(Answered)) == (Result.CONFIRMED, Method.BYE, [])


async def test_a_snapshot_keeps_nobodys_credentials() -> None:
    world = trusting()
    await accepted(world, {"Authorization": 'Digest username="x", response="secret"'})
    assert b"secret" not in world.journal.snapshots[0]
