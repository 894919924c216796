"""The moments of a call, and the spans between them."""

import msgspec
import pytest

from onhook.calls.call import Call, Event, EventType, Stop
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Proof, ProofStep, Result
from onhook.calls.states import State
from onhook.calls.timeline import Moments, moments, spans
from onhook.testing.calls import sample_call

pytestmark = pytest.mark.unit

T = 1_700_000_000_000
STOPPED = Cause("api_key:k", Reason.API_STOP)
CREATED = sample_call(created_at=T)


def call(**fields: object) -> Call:
    return msgspec.structs.replace(CREATED, **fields)


def audio(sent: int | None, received: int | None) -> Event:
    return Event(CREATED.id, 5, T, EventType.AUDIO, {"last_sent_at": sent, "last_received_at": received})


TALKED = call(
    state=State.ENDED,
    dialed_at=T + 10,
    first_provisional_at=T + 20,
    ringing_at=T + 300,
    answered_at=T + 2_000,
    ended_at=T + 9_000,
    stop=Stop(T + 9_000, STOPPED, Result.CONFIRMED),
    proof=Proof(Result.CONFIRMED, Method.BYE, (ProofStep("BYE", 2, True, T + 9_003),), T + 9_040),
)


def test_a_call_that_was_talked_on_has_every_moment_and_every_span() -> None:
    found = moments(TALKED, [Event(CREATED.id, 1, T, EventType.CREATED), audio(T + 9_001, T + 9_030)])
    assert found == Moments(
        created_at=T,
        dialed_at=T + 10,
        first_provisional_at=T + 20,
        ringing_at=T + 300,
        answered_at=T + 2_000,
        stop_requested_at=T + 9_000,
        last_audio_sent_at=T + 9_001,
        end_sent_at=T + 9_003,
        bye_sent_at=T + 9_003,
        confirmed_at=T + 9_040,
        last_audio_received_at=T + 9_030,
        ended_at=T + 9_000,
    )
    assert msgspec.structs.asdict(spans(found)) == {
        "dial_to_ringing": 290,
        "dial_to_answer": 1_990,
        "stop_to_silence": 1,
        "stop_to_wire": 3,
        "stop_to_bye": 3,
        "stop_to_confirmed": 40,
        "talk": 7_000,
        "wire": 7_040,
    }


def test_the_spans_agree_with_what_the_call_says_of_itself() -> None:
    found = spans(moments(TALKED, []))
    assert (found.talk, found.wire) == (TALKED.duration_ms, TALKED.wire_duration_ms)


def test_a_call_that_has_only_been_created_has_no_other_moment_and_no_span() -> None:
    found = moments(CREATED, [])
    assert found == Moments(created_at=T)
    assert {*msgspec.structs.astuple(spans(found))} == {None, 0}


def test_a_2xx_that_crosses_the_stop_may_be_billed_but_nobody_talked() -> None:
    steps = (ProofStep("CANCEL", 1, True, T + 102), ProofStep("BYE", 2, True, T + 151))
    crossed = call(
        state=State.ENDED,
        dialed_at=T,
        answered_on_wire_at=T + 150,
        ended_at=T + 100,
        stop=Stop(T + 100, STOPPED),
        proof=Proof(Result.CONFIRMED, Method.BYE, steps, T + 180),
    )
    found = moments(crossed, [])
    assert (found.answered_at, found.end_sent_at, found.bye_sent_at) == (T + 150, T + 102, T + 151)
    assert (spans(found).talk, spans(found).wire) == (0, 30)
    assert (spans(found).wire, spans(found).talk) == (crossed.wire_duration_ms, crossed.duration_ms)


def test_an_invite_and_what_the_far_end_sent_are_no_end_of_ours() -> None:
    steps = (ProofStep("INVITE", 1, True, T + 10, status=486), ProofStep("BYE", 7, False, T + 50))
    found = moments(call(proof=Proof(Result.CONFIRMED, Method.REJECTED, steps, T + 60)), [])
    assert (found.end_sent_at, found.bye_sent_at, found.confirmed_at) == (None, None, T + 60)


def test_audio_that_flowed_one_way_only_has_one_last_packet() -> None:
    found = moments(TALKED, [audio(T + 9_001, None)])
    assert (found.last_audio_sent_at, found.last_audio_received_at) == (T + 9_001, None)
    assert spans(moments(TALKED, [audio(T + 5, None)])).stop_to_silence == 0, "silent before the stop"


def test_a_refusal_of_a_call_to_us_is_an_end_of_ours() -> None:
    steps = (ProofStep("INVITE", 1, False, T + 10, status=480, answered_at=T + 500),)
    found = moments(call(proof=Proof(Result.CONFIRMED, Method.REFUSED, steps, T + 510)), [])
    assert (found.end_sent_at, found.bye_sent_at) == (T + 500, None)
