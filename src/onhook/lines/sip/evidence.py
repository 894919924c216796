"""What a leg can prove of its end, drawn from its transactions."""

from dataclasses import dataclass, field

from onhook.calls.proof import Method, Proof, ProofStep, Result
from onhook.lines.sip.clearance import Clearance, step_of, step_of_far_end
from onhook.lines.sip.machine import ClientTransaction, ServerTransaction


@dataclass(slots=True)
class Evidence:
    """The requests that count: the last INVITE, its CANCEL, and the clearing of each dialog.

    `primary` is the remote tag of the dialog that won.
    """

    invite: ClientTransaction | None = None
    cancel: ClientTransaction | None = None
    clearances: dict[str, Clearance] = field(default_factory=dict)
    primary: str | None = None

    @property
    def is_cleared(self) -> bool:
        """True when nothing is pending any more."""
        return all(clearance.result is not Result.PENDING for clearance in self.clearances.values())

    def is_over(self, tag: str) -> bool:
        """True when the dialog with this remote tag is proved to be over."""
        clearance = self.clearances.get(tag)
        return clearance is not None and clearance.result is Result.CONFIRMED

    def proof(self, now: int) -> Proof:
        """Return the proof as it stands at `now` (ms); the rules are in `calls.proof`."""
        if self.clearances:
            return self._of_dialogs()
        if self.invite is None:
            return Proof(Result.CONFIRMED, Method.NONE, confirmed_at=now)
        if self.invite.status is not None and self.invite.status >= 300:
            method = Method.CANCEL if self.cancel else Method.REJECTED
            steps = (*self._cancel_steps(), step_of(self.invite))
            return Proof(Result.CONFIRMED, method, steps, self.invite.status_at)
        if self.cancel is not None:
            return Proof(Result.UNCONFIRMED, Method.CANCEL, tuple(self._cancel_steps()))
        steps = (step_of(self.invite),) if self.invite.sends else ()
        return Proof(Result.UNCONFIRMED, Method.TIMEOUT, steps)

    def _of_dialogs(self) -> Proof:
        clearances = list(self.clearances.values())
        results = {clearance.result for clearance in clearances}
        worst = next(r for r in (Result.PENDING, Result.UNCONFIRMED, Result.CONFIRMED) if r in results)
        main = self.clearances.get(self.primary or "", clearances[0])
        method = Method.FAR_END_BYE if main.by_far_end else Method.BYE
        steps = (*self._cancel_steps(), *(step for clearance in clearances for step in clearance.steps))
        confirmed_at = max((c.settled_at or 0 for c in clearances), default=0) if worst is Result.CONFIRMED else None
        return Proof(worst, method, steps, confirmed_at)

    def _cancel_steps(self) -> list[ProofStep]:
        return [step_of(self.cancel)] if self.cancel and self.cancel.sends else []


@dataclass(slots=True)
class InboundEvidence:
    """What counts on a leg that the far end started: its INVITE, its CANCEL, and the clearing of the dialog.

    `acknowledged_at` is when the ACK to our refusal came (ms since the epoch).
    """

    invite: ServerTransaction
    cancel: ServerTransaction | None = None
    clearance: Clearance | None = None
    acknowledged_at: int | None = None

    def proof(self) -> Proof:
        """Return the proof as it stands; the rules are in `calls.proof`."""
        response = self.invite.response
        refusal = (step_of_far_end(self.invite),) if response is not None and response.status >= 300 else ()
        if self.clearance is not None:
            method = Method.FAR_END_BYE if self.clearance.by_far_end else Method.BYE
            confirmed_at = self.clearance.settled_at if self.clearance.result is Result.CONFIRMED else None
            return Proof(self.clearance.result, method, (*self.clearance.steps, *refusal), confirmed_at)
        if self.cancel is not None:
            steps = (step_of_far_end(self.cancel), *refusal)
            return Proof(Result.CONFIRMED, Method.FAR_END_CANCEL, steps, self.cancel.first_arrived_at)
        result = Result.UNCONFIRMED if self.acknowledged_at is None else Result.CONFIRMED
        return Proof(result, Method.REFUSED, refusal, self.acknowledged_at)
