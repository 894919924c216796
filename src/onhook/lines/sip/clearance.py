"""The clearing of one dialog: a BYE and all that may become of it, until it is proved or given up."""

from collections.abc import Callable

from onhook.calls.causes import Cause
from onhook.calls.proof import ProofStep, Result
from onhook.lines.sip.context import Context
from onhook.lines.sip.credentials import Account, Tries
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.machine import ClientTransaction, Failure, ServerTransaction
from onhook.lines.sip.message import Header, Request, Response
from onhook.lines.sip.reason import reason_headers

LONGEST_RETRY_AFTER_S = 5

GONE = 481
"""The far end does not know the dialog: it is as gone as after a 200 (RFC 3261 section 15.1.1)."""


def step_of(transaction: ClientTransaction, remote_tag: str | None = None) -> ProofStep:
    """Return what a capture shows of one request of ours."""
    return ProofStep(
        method=transaction.request.method,
        cseq=transaction.request.cseq.sequence,
        sent=True,
        at=transaction.first_sent_at,
        count=transaction.sends,
        last_at=transaction.last_sent_at,
        status=transaction.status,
        answered_at=transaction.status_at,
        remote_tag=remote_tag,
    )


def step_of_far_end(transaction: ServerTransaction) -> ProofStep:
    """Return what a capture shows of one request of the far end."""
    response = transaction.response
    return ProofStep(
        method=transaction.request.method,
        cseq=transaction.request.cseq.sequence,
        sent=False,
        at=transaction.first_arrived_at,
        count=transaction.arrivals,
        last_at=transaction.last_arrived_at,
        status=None if response is None else response.status,
        answered_at=transaction.final_at,
        remote_tag=transaction.request.from_tag,
    )


class Clearance:
    """Ends one dialog and keeps the evidence.

    `changed` is called when a BYE after the first has used a CSeq; the next life allows for one that it does not know.
    `result` is pending until the far end confirmed by 2xx, 481 or a BYE of its own (confirmed), or until nothing more
    can be hoped for (unconfirmed); then `settled_at` is set and `on_settled` is called, once.
    """

    def __init__(
        self,
        context: Context,
        dialog: Dialog,
        account: Account,
        *,
        send_text: bool,
        on_settled: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self.dialog = dialog
        self.result = Result.PENDING
        self.settled_at: int | None = None
        self.by_far_end = False
        self._context = context
        self._account = account
        self._send_text = send_text
        self._on_settled = on_settled
        self._changed = changed
        self._tries: Tries = {}
        self._retried = False
        self._reason: list[Header] = []
        self._transactions: list[ClientTransaction] = []
        self._far_steps: list[ProofStep] = []

    @property
    def steps(self) -> list[ProofStep]:
        """Every BYE of this dialog that was on the wire, ours and the far end's, in order of time."""
        ours = [step_of(transaction, self.dialog.remote_tag) for transaction in self._transactions if transaction.sends]
        return sorted([*ours, *self._far_steps], key=lambda step: step.at)

    def send_bye(self, cause: Cause) -> None:
        """Put the BYE on the wire."""
        self._reason = reason_headers(cause, "BYE", send_text=self._send_text)
        self._send(self._account.headers("BYE", self.dialog.request_uri(), b""))

    def take_bye(self, request: Request, status: int) -> None:
        """Note the far end's BYE, answered with `status`: the dialog is over."""
        if self.result is Result.CONFIRMED:
            return
        now, tag = self._context.clock.now_ms(), self.dialog.remote_tag
        self._far_steps.append(
            ProofStep("BYE", request.cseq.sequence, sent=False, at=now, status=status, answered_at=now, remote_tag=tag)
        )
        self.by_far_end = True
        self._settle(Result.CONFIRMED)

    def _send(self, credentials: list[Header]) -> None:
        bye = self.dialog.request("BYE", headers=[*self._reason, *credentials])
        hop = self.dialog.next_hop(self._context.network.resolved)
        self._transactions.append(self._context.layer.send(bye, hop, self._on_response, self._on_failure))
        if len(self._transactions) > 1:
            self._changed()

    def _on_response(self, response: Response) -> None:
        if response.status < 200 or self.result is not Result.PENDING:
            return
        if response.status < 300 or response.status == GONE:
            self._settle(Result.CONFIRMED)
        elif response.status in (401, 407):
            self._authenticate(response)
        elif response.status in (500, 503) and self._may_retry(response):
            self._retried = True
            self._context.clock.call_later(response.number("Retry-After") or 0, self._try_again)
        else:
            self._settle(Result.UNCONFIRMED)

    def _authenticate(self, response: Response) -> None:
        credentials = self._account.answer(response, self._tries, "BYE", self.dialog.request_uri(), b"")
        if credentials is None:
            self._settle(Result.UNCONFIRMED)
        else:
            self._send(credentials)

    def _may_retry(self, response: Response) -> bool:
        wait = response.number("Retry-After")
        return not self._retried and wait is not None and wait <= LONGEST_RETRY_AFTER_S

    def _try_again(self) -> None:
        if self.result is Result.PENDING:
            self._send(self._account.headers("BYE", self.dialog.request_uri(), b""))

    def _on_failure(self, _failure: Failure) -> None:
        if self.result is Result.PENDING:
            self._settle(Result.UNCONFIRMED)

    def _settle(self, result: Result) -> None:
        self.result = result
        self.settled_at = self._context.clock.now_ms()
        self._on_settled()
