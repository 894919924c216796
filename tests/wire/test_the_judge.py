"""The judge is judged first: a proof that differs from the packets by anything must not pass."""

import pytest
from tests.wire.harness import assert_proof_equals_capture
from tests.wire.peers.packet import Packet, PacketLog

from onhook.calls.proof import Method, Proof, ProofStep, Result

pytestmark = pytest.mark.wire


def packet(at: float, first: str, cseq: str, *, sent: bool = False, branch: str = "z9hG4bK1") -> Packet:
    """Compose the little that the judge reads."""
    via = f"Via: SIP/2.0/UDP 127.0.0.1:1;branch={branch}"
    return Packet(at, sent, f"{first}\r\n{via}\r\nTo: <sip:far@127.0.0.1>;tag=far1\r\nCSeq: {cseq}\r\n\r\n")


LOG = PacketLog(
    [
        packet(1000.4, "BYE sip:far1@127.0.0.1 SIP/2.0", "2 BYE"),
        packet(1500.2, "BYE sip:far1@127.0.0.1 SIP/2.0", "2 BYE"),
        packet(1500.9, "SIP/2.0 200 OK", "2 BYE", sent=True),
    ]
)
TRUE_STEP = ProofStep("BYE", 2, sent=True, at=1000, count=2, last_at=1500, status=200, answered_at=1501)
TRUE = Proof(Result.CONFIRMED, Method.BYE, (TRUE_STEP,), confirmed_at=1501)


def test_a_true_proof_passes() -> None:
    assert_proof_equals_capture(TRUE, LOG)


@pytest.mark.parametrize(
    "step",
    [
        ProofStep("CANCEL", 2, sent=True, at=1000, count=2, last_at=1500, status=200, answered_at=1501),
        ProofStep("BYE", 3, sent=True, at=1000, count=2, last_at=1500, status=200, answered_at=1501),
        ProofStep("BYE", 2, sent=False, at=1000, count=2, last_at=1500, status=200, answered_at=1501),
        ProofStep("BYE", 2, sent=True, at=1007, count=2, last_at=1500, status=200, answered_at=1501),
        ProofStep("BYE", 2, sent=True, at=1000, count=1, last_at=1500, status=200, answered_at=1501),
        ProofStep("BYE", 2, sent=True, at=1000, count=2, last_at=1490, status=200, answered_at=1501),
        ProofStep("BYE", 2, sent=True, at=1000, count=2, last_at=1500, status=481, answered_at=1501),
        ProofStep("BYE", 2, sent=True, at=1000, count=2, last_at=1500, status=200, answered_at=1520),
        ProofStep("BYE", 2, sent=True, at=1000, count=2, last_at=1500),
    ],
    ids=["method", "cseq", "direction", "time", "count", "last time", "status", "answer's time", "answer left out"],
)
def test_a_step_that_differs_from_the_packets_does_not_pass(step: ProofStep) -> None:
    with pytest.raises(AssertionError):
        assert_proof_equals_capture(Proof(TRUE.result, TRUE.method, (step,), TRUE.confirmed_at), LOG)


@pytest.mark.parametrize(
    "proof",
    [
        Proof(Result.CONFIRMED, Method.BYE, (), confirmed_at=1501),
        Proof(Result.CONFIRMED, Method.BYE, (TRUE_STEP,), confirmed_at=1000),
        Proof(Result.CONFIRMED, Method.BYE, (TRUE_STEP,)),
        Proof(Result.UNCONFIRMED, Method.BYE, (TRUE_STEP,), confirmed_at=1501),
    ],
    ids=["a BYE left out", "confirmed before the answer", "confirmed at no time", "unconfirmed with a time"],
)
def test_a_proof_that_tells_less_or_more_than_the_packets_does_not_pass(proof: Proof) -> None:
    with pytest.raises(AssertionError):
        assert_proof_equals_capture(proof, LOG)


def test_an_answer_in_a_foreign_transaction_is_no_answer_to_the_judge() -> None:
    log = PacketLog([LOG[0], LOG[1], packet(1500.9, "SIP/2.0 200 OK", "2 BYE", sent=True, branch="z9hG4bKother")])
    with pytest.raises(AssertionError):
        assert_proof_equals_capture(TRUE, log)
