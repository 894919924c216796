"""The registry of reasons, and how SIP statuses become causes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.calls.causes import (
    BY_STATUS,
    REGISTRY,
    Cause,
    Outcome,
    Reason,
    cause_of_status,
    outcome_of,
    reason_of_status,
)

pytestmark = pytest.mark.unit


def test_every_reason_is_registered() -> None:
    assert set(REGISTRY) == set(Reason)


@pytest.mark.parametrize(
    ("status", "reason", "outcome", "initiator"),
    [
        (302, Reason.REDIRECTED, Outcome.FAILED, "carrier"),
        (401, Reason.AUTHENTICATION_FAILED, Outcome.FAILED, "carrier"),
        (403, Reason.FORBIDDEN, Outcome.FAILED, "carrier"),
        (404, Reason.INVALID_DESTINATION, Outcome.FAILED, "carrier"),
        (420, Reason.REJECTED, Outcome.FAILED, "carrier"),
        (480, Reason.NO_ANSWER, Outcome.NO_ANSWER, "carrier"),
        (486, Reason.BUSY, Outcome.BUSY, "callee"),
        (503, Reason.CARRIER_UNAVAILABLE, Outcome.FAILED, "carrier"),
        (600, Reason.BUSY, Outcome.BUSY, "callee"),
        (603, Reason.DECLINED, Outcome.DECLINED, "callee"),
        (699, Reason.REJECTED, Outcome.FAILED, "carrier"),
    ],
)
def test_a_final_response_tells_reason_outcome_and_who(
    status: int, reason: Reason, outcome: Outcome, initiator: str
) -> None:
    cause = cause_of_status(status)
    assert (cause.reason, cause.initiator, cause.sip_status) == (reason, initiator, status)
    assert outcome_of(cause, answered=False) is outcome


def test_a_q850_number_of_the_far_end_wins_over_the_registry() -> None:
    assert cause_of_status(503, 34).q850 == 34
    assert cause_of_status(503).q850 == REGISTRY[Reason.CARRIER_UNAVAILABLE].q850


@given(st.sampled_from(list(Reason)))
def test_an_answered_call_is_completed_whatever_ended_it(reason: Reason) -> None:
    assert outcome_of(Cause("system", reason), answered=True) is Outcome.COMPLETED


@given(st.integers(300, 699))
def test_every_final_response_has_a_registered_reason(status: int) -> None:
    assert reason_of_status(status) in REGISTRY
    assert BY_STATUS.get(status, reason_of_status(status)) is reason_of_status(status)
