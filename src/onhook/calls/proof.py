"""Proof that a call is over: the list of SIP steps, each equal to what a packet capture shows."""

from enum import StrEnum

import msgspec


class Result(StrEnum):
    """How far the end of a call is proved."""

    CONFIRMED = "confirmed"
    PENDING = "pending"
    UNCONFIRMED = "unconfirmed"


class Method(StrEnum):
    """What ended the call on the wire."""

    NONE = "none"
    """No INVITE was left to end: nothing had been sent."""
    CANCEL = "cancel"
    BYE = "bye"
    FAR_END_BYE = "far_end_bye"
    REJECTED = "rejected"
    """The INVITE's own final response of 300 or more, without a CANCEL of ours."""
    TIMEOUT = "timeout"
    """The INVITE met timer B: nobody ever replied."""
    REFUSED = "refused"
    """Our own final response of 300 or more to the far end's INVITE; its ACK confirms it."""
    FAR_END_CANCEL = "far_end_cancel"
    """The far end's CANCEL of its own INVITE, which we answered 487."""


class ProofStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """One SIP transaction that ended the call, or tried to.

    `sent` is True for our request, False for the far end's. `count` is how often the request went over
    the wire, retransmissions included. `status` is the last response to it and `answered_at` when that
    came; for the far end's request it is the response that we sent. Times are ms since the epoch.
    """

    method: str
    cseq: int
    sent: bool
    at: int
    count: int = 1
    last_at: int | None = None
    status: int | None = None
    answered_at: int | None = None
    remote_tag: str | None = None


class Proof(msgspec.Struct, frozen=True):
    """What the wire says of the end: `result`, by which `method`, in which `steps`, settled when."""

    result: Result
    method: Method
    steps: tuple[ProofStep, ...] = ()
    confirmed_at: int | None = None

    @property
    def bye_sent_at(self) -> int | None:
        """When our first BYE left (ms since the epoch), or None."""
        return min((step.at for step in self.steps if step.sent and step.method == "BYE"), default=None)

    @property
    def end_sent_at(self) -> int | None:
        """When our first CANCEL, BYE or refusal of the far end's INVITE left (ms since the epoch), or None."""
        sent = [step.at for step in self.steps if step.sent and step.method in ("CANCEL", "BYE")]
        if self.method is Method.REFUSED:
            sent += [step.answered_at for step in self.steps if not step.sent and step.answered_at is not None]
        return min(sent, default=None)


PENDING = Proof(Result.PENDING, Method.NONE)
"""The stop is durable, the wire has not answered yet."""
