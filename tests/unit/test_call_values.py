"""The call's derived values: durations, ids, proofs."""

import re
import uuid
from typing import Any

import msgspec
import pytest

from onhook.calls.call import Call, Dialect, Direction, mask_number, new_agent_id, new_call_id
from onhook.calls.proof import PENDING, Method, Proof, ProofStep, Result
from onhook.calls.states import State

pytestmark = pytest.mark.unit


def call_with(**fields: Any) -> Call:
    call = Call(
        id="call_1",
        environment_id="default",
        agent_id="agent_1",
        trunk_id="trunk_1",
        dialect=Dialect.NATIVE,
        direction=Direction.OUTBOUND,
        from_number="+12025550100",
        to_number="+12025550101",
        state=State.DIALING,
        sip_call_id="x@onhook",
        created_at=1000,
        updated_at=1000,
        max_duration_ms=3_600_000,
        ring_timeout_ms=60_000,
    )
    return msgspec.structs.replace(call, **fields)


def test_duration_runs_from_the_answer_to_the_end() -> None:
    assert call_with(answered_at=2000, ended_at=5000).duration_ms == 3000
    assert call_with(ended_at=5000).duration_ms == 0
    assert call_with(answered_at=2000).duration_ms == 0


def test_wire_duration_runs_from_the_2xx_to_the_confirmation_even_after_a_stop() -> None:
    proof = Proof(Result.CONFIRMED, Method.BYE, confirmed_at=6000)
    assert call_with(answered_at=2000, proof=proof).wire_duration_ms == 4000
    assert call_with(answered_on_wire_at=5900, proof=proof).wire_duration_ms == 100
    assert call_with(proof=proof).wire_duration_ms is None
    assert call_with(answered_at=2000).wire_duration_ms is None


def test_a_2xx_after_the_stop_makes_the_call_billable() -> None:
    assert not call_with().billable
    assert call_with(answered_on_wire_at=1).billable
    assert call_with(answered_at=1).billable


def test_a_call_is_over_from_the_durable_stop_on() -> None:
    assert [state for state in State if call_with(state=state).is_over] == [State.ENDING, State.ENDED]


def test_the_proof_is_pending_until_the_wire_settles() -> None:
    assert call_with().proof_so_far is PENDING
    proof = Proof(Result.CONFIRMED, Method.NONE)
    assert call_with(proof=proof).proof_so_far is proof


def test_bye_sent_at_is_our_first_bye() -> None:
    steps = (
        ProofStep("CANCEL", 1, True, 10),
        ProofStep("BYE", 3, True, 40),
        ProofStep("BYE", 2, True, 30),
        ProofStep("BYE", 7, False, 5),
    )
    assert Proof(Result.CONFIRMED, Method.BYE, steps).bye_sent_at == 30
    assert PENDING.bye_sent_at is None


def test_ids_have_the_shape_of_their_dialect() -> None:
    assert uuid.UUID(new_call_id(Dialect.TALKOVER))
    assert uuid.UUID(new_agent_id(Dialect.TALKOVER))
    for dialect in (Dialect.ANUNZI, Dialect.NATIVE):
        assert re.fullmatch("call_[0-9a-f]{27}", new_call_id(dialect))
        assert len(new_agent_id(dialect)) == 32


@pytest.mark.parametrize(("number", "masked"), [("+12025550100", "********0100"), ("123", "123"), ("", "")])
def test_a_masked_number_shows_at_most_its_last_four_digits(number: str, masked: str) -> None:
    assert mask_number(number) == masked
