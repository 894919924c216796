"""Hanging up before the answer, every race, and what is proved each time."""

import asyncio

import pytest

from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, LegEnded, Provisional
from tests.unit.sip_world import SDP, STOP, World

pytestmark = pytest.mark.unit

CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth"'
STALE = 'Digest realm="r", nonce="n2", qop="auth", stale=true'


def sent(world: World) -> list[str]:
    return [request.method for request in world.requests()]


async def test_a_stop_before_the_invite_leaves_nothing_on_the_wire() -> None:
    world = World()
    world.journal.hold()
    dialling = asyncio.create_task(world.agent.place(world.order()))
    await world.idle()
    assert world.hang_up()
    assert (world.proof.result, world.proof.method, world.ended.cause) == (Result.CONFIRMED, Method.NONE, STOP)
    world.journal.release()
    await dialling
    assert (world.network.sent, world.agent.remembered_legs(), world.hang_up()) == ([], 0, False)


async def test_before_any_1xx_the_cancel_is_held_and_the_invite_goes_on_drawing_one() -> None:
    world = World()
    invite = await world.place()
    assert world.hang_up()
    assert (sent(world), world.media.sessions[0].muted, world.of(LegEnded)) == (["INVITE"], True, [])
    world.clock.advance(1.5)
    assert sent(world) == ["INVITE"] * 3
    world.reply(invite, 180)
    assert sent(world)[3:] == ["CANCEL"]
    cancel = world.last("CANCEL")
    assert (cancel.via.branch, cancel.cseq.sequence, cancel.uri) == (invite.via.branch, 1, invite.uri)
    assert world.of(Provisional)[0].status == 180
    world.reply(cancel, 200)
    assert world.of(LegEnded) == [], "a 200 to the CANCEL proves nothing"
    world.clock.advance(0.3)
    world.reply(invite, 487)
    cancelled, refused = world.proof.steps
    assert (cancelled.method, cancelled.status, cancelled.count) == ("CANCEL", 200, 1)
    assert (refused.method, refused.status, refused.count) == ("INVITE", 487, 3)
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.CANCEL)
    assert world.proof.confirmed_at == world.ended.at == world.clock.now_ms()
    assert world.ended.cause == STOP


async def test_a_2xx_before_any_1xx_draws_ack_and_bye() -> None:
    world = World()
    invite = await world.place()
    world.hang_up()
    world.reply(invite, 200, sdp=SDP)
    assert sent(world) == ["INVITE", "ACK", "BYE"]
    assert len(world.of(Answered)) == 1, "it was answered on the wire, and may be billed"
    world.reply(world.last("BYE"), 200)
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.BYE)


async def test_ringing_is_cancelled_before_hangup_returns() -> None:
    world = World()
    world.reply(await world.place(), 180)
    assert world.hang_up()
    assert sent(world) == ["INVITE", "CANCEL"]
    assert world.last("CANCEL").raw("Reason") == ["Q.850;cause=16"]
    world.clock.advance(1.5)
    assert sent(world) == ["INVITE", "CANCEL", "CANCEL", "CANCEL"], "a lost CANCEL is repeated"


async def test_a_cancel_that_a_200_crosses_becomes_ack_and_bye_for_every_fork() -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 180)
    world.hang_up()
    world.reply(invite, 200, tag="one", sdp=SDP)
    world.reply(invite, 200, tag="two", sdp=SDP)
    world.reply(world.last("CANCEL"), 200)
    assert sent(world) == ["INVITE", "CANCEL", "ACK", "BYE", "ACK", "BYE"]
    one, two = world.requests("BYE")
    world.clock.advance(0.5)
    world.reply(one, 200)
    assert world.of(LegEnded) == [], "the leg settles when all forks are settled"
    world.reply(two, 481)
    steps = {(step.method, step.remote_tag): step for step in world.proof.steps}
    assert {key: step.status for key, step in steps.items()} == {
        ("CANCEL", None): 200, ("BYE", "one"): 200, ("BYE", "two"): 481,
    }  # fmt: skip
    assert [step.count for key, step in steps.items() if key[0] == "BYE"] == [2, 2]
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.BYE)
    world.clock.advance(10)
    assert world.count("CANCEL") == 1, "the INVITE is decided: nobody repeats its CANCEL"


async def test_one_fork_that_stays_silent_leaves_the_end_unconfirmed() -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 180)
    world.hang_up()
    world.reply(invite, 200, tag="one", sdp=SDP)
    world.reply(invite, 200, tag="two", sdp=SDP)
    world.reply(world.requests("BYE")[0], 200)
    world.clock.advance(32.1)
    assert (world.proof.result, world.proof.confirmed_at) == (Result.UNCONFIRMED, None)


async def test_any_final_response_confirms_a_cancel() -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 180)
    world.hang_up()
    world.reply(invite, 486)
    assert (world.proof.result, world.proof.method) == (Result.CONFIRMED, Method.CANCEL)
    assert world.last("ACK").via.branch == invite.via.branch


@pytest.mark.parametrize("status", [302, 401, 407, 422, 486, 503])
@pytest.mark.parametrize("ringing", [False, True])
async def test_after_a_stop_no_refusal_is_met_with_a_new_invite(status: int, ringing: bool) -> None:
    world = World()
    invite = await world.place()
    if ringing:
        world.reply(invite, 180)
    world.hang_up()
    challenge = {"WWW_Authenticate": CHALLENGE, "Proxy_Authenticate": CHALLENGE, "Min_SE": "3600", "Retry_After": "1"}
    world.reply(invite, status, Contact="<sip:other@198.51.100.1>", more=challenge)
    await world.idle()
    world.clock.advance(60)
    assert (world.count("INVITE"), world.last("ACK").via.branch) == (1, invite.via.branch)
    assert (world.proof.result, world.proof.method) == (
        Result.CONFIRMED, Method.CANCEL if ringing else Method.REJECTED,
    )  # fmt: skip


async def test_a_stop_while_the_retried_invite_is_being_committed_leaves_it_unsent() -> None:
    world = World()
    invite = await world.place()
    world.journal.hold()
    world.reply(invite, 407, Proxy_Authenticate=CHALLENGE)
    await world.idle()
    world.hang_up()
    (step,) = world.proof.steps
    assert (step.method, step.status, world.proof.method) == ("INVITE", 407, Method.REJECTED)
    world.journal.release()
    await world.idle()
    assert world.count("INVITE") == 1


async def test_the_cancel_of_a_retried_invite_has_the_retrys_branch_and_number() -> None:
    world = World()
    world.reply(await world.place(), 401, WWW_Authenticate=CHALLENGE)
    await world.idle()
    retried = world.last("INVITE")
    world.hang_up()
    assert world.count("CANCEL") == 0, "the 401 was no 1xx of this INVITE"
    world.reply(retried, 100)
    cancel = world.last("CANCEL")
    assert (cancel.via.branch, cancel.cseq.sequence) == (retried.via.branch, 2)


async def test_no_final_response_to_a_cancelled_invite_is_unconfirmed_and_watched() -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 180)
    world.hang_up()
    world.reply(world.last("CANCEL"), 200)
    world.clock.advance(32.1)
    assert (world.proof.result, world.proof.method) == (Result.UNCONFIRMED, Method.CANCEL)
    world.clock.advance(100)
    world.reply(invite, 200, sdp=SDP)
    assert sent(world)[-2:] == ["ACK", "BYE"]
    world.reply(world.last("BYE"), 200)
    assert (world.updated.result, world.updated.method) == (Result.CONFIRMED, Method.BYE)
    assert len(world.of(LegEnded)) == 1
    assert world.of(Answered) == [], "nothing but ProofUpdated follows the end"


async def test_a_late_487_completes_the_proof() -> None:
    world = World()
    invite = await world.place()
    world.reply(invite, 180)
    world.hang_up()
    world.clock.advance(60)
    world.reply(invite, 487)
    assert world.last("ACK").via.branch == invite.via.branch
    assert (world.updated.result, world.updated.method) == (Result.CONFIRMED, Method.CANCEL)


async def test_a_far_end_that_wakes_up_after_timer_b_is_cancelled_or_hung_up() -> None:
    world = World()
    invite = await world.place()
    world.clock.advance(33)
    assert world.proof.result is Result.UNCONFIRMED
    world.clock.advance(60)
    world.reply(invite, 180)
    assert sent(world)[-1] == "CANCEL"
    world.reply(invite, 200, sdp=SDP)
    assert sent(world)[-2:] == ["ACK", "BYE"]
    world.reply(world.last("BYE"), 200)
    assert world.updated.result is Result.CONFIRMED
    world.clock.advance(400)
    assert (world.agent.remembered_legs(), len(world.agent.layer), world.clock.pending) == (0, 0, 0)


async def test_a_stop_before_any_1xx_of_a_silent_far_end_ends_at_timer_b() -> None:
    world = World()
    await world.place()
    world.hang_up()
    world.clock.advance(32.1)
    assert (world.proof.result, world.proof.method, world.proof.steps[0].count) == (
        Result.UNCONFIRMED,
        Method.TIMEOUT,
        7,
    )
    assert (world.ended.cause, world.count("CANCEL")) == (STOP, 0)
