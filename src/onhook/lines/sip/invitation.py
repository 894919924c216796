"""The INVITE of a leg: sending it, meeting challenges with a new one, cancelling it, listening for late answers."""

from collections.abc import Callable, Iterable

from onhook.lines.sip.address import Destination
from onhook.lines.sip.context import Context
from onhook.lines.sip.credentials import Account, Tries
from onhook.lines.sip.evidence import Evidence
from onhook.lines.sip.invite import build_cancel, reissue
from onhook.lines.sip.machine import ClientTransaction, Failure
from onhook.lines.sip.message import Header, Request, Response
from onhook.lines.sip.session_timer import request_headers, retry_interval
from onhook.lines.sip.transaction import Event


class Invitation:
    """The current INVITE of a leg. Its transactions are kept in `evidence`.

    `on_response` takes every response to it, `on_silence` is called when none came in 64*T1 or the network says that
    nobody is there.
    """

    def __init__(
        self,
        context: Context,
        request: Request,
        destination: Destination,
        *,
        account: Account,
        evidence: Evidence,
        on_response: Callable[[Response], None],
        on_silence: Callable[[Failure], None],
    ) -> None:
        self.request = request
        self.destination = destination
        self._context = context
        self._account = account
        self._evidence = evidence
        self._on_response = on_response
        self._on_silence = on_silence
        self._tries: Tries = {}
        self._interval_raised = False

    @property
    def sent_at(self) -> int | None:
        """When this INVITE first left (ms), None before."""
        return self._transaction.first_sent_at if self._transaction is not None else None

    @property
    def drew_response(self) -> bool:
        """True when this INVITE was replied to, if only by a 100: it may be cancelled."""
        return self._transaction is not None and self._transaction.status is not None

    @property
    def _transaction(self) -> ClientTransaction | None:
        """The transaction of this INVITE; in `evidence` there may still be that of the one before it."""
        last = self._evidence.invite
        return last if last is not None and last.request is self.request else None

    def send(self) -> None:
        """Put the INVITE on the wire, as a new transaction."""
        self._evidence.invite = self._context.layer.send(
            self.request, self.destination, self._on_response, self._on_failure
        )

    def listen(self, *, sends: int, first_sent_at: int, last_sent_at: int) -> None:
        """Listen for responses without sending: the INVITE left in another life, or met timer B."""
        adopted = self._context.layer.adopt(self.request, self.destination, self._on_response, self._on_failure)
        adopted.sends, adopted.first_sent_at, adopted.last_sent_at = sends, first_sent_at, last_sent_at
        self._evidence.invite = adopted

    def try_again(self, refusal: Response) -> bool:
        """Prepare the next INVITE if `refusal` can be met: a challenge (401, 407), an interval too small (422)."""
        body = self.request.body
        if refusal.status == 422 and not self._interval_raised:
            min_se = refusal.first("Min-SE")
            interval = retry_interval(min_se, self.request.number("Session-Expires") or 0)
            if interval is None:
                return False
            self._interval_raised = True
            credentials = self._account.headers("INVITE", self.request.uri, body)
            self.request = reissue(self.request, authorization=credentials, session=request_headers(interval, interval))
            return True
        answer = self._account.answer(refusal, self._tries, "INVITE", self.request.uri, body)
        if answer is not None:
            self.request = reissue(self.request, authorization=answer)
        return answer is not None

    def cancel(self, reason: Iterable[Header]) -> bool:
        """Send the CANCEL, once; False when it was sent before."""
        if self._evidence.cancel is not None:
            return False
        request = build_cancel(self.request, reason)
        # What a CANCEL is answered proves nothing; the INVITE's own final response does.
        self._evidence.cancel = self._context.layer.send(
            request, self.destination, lambda _response: None, lambda _failure: None
        )
        return True

    def hush_cancel(self) -> None:
        """The INVITE has its final response: its CANCEL is not repeated any more."""
        if self._evidence.cancel is not None:
            self._evidence.cancel.happen(Event.OBSOLETE)

    def drop(self) -> None:
        """Stop listening."""
        if self._evidence.invite is not None:
            self._evidence.invite.drop()

    def _on_failure(self, failure: Failure) -> None:
        quiet = self._evidence.invite
        self._on_silence(failure)
        if quiet is not None:
            self.listen(sends=quiet.sends, first_sent_at=quiet.first_sent_at, last_sent_at=quiet.last_sent_at)
