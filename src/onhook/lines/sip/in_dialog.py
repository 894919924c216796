"""The far end's requests inside a dialog (RFC 3261 sections 12.2.2, 14.2 and 15.1.2, RFC 3311, RFC 4028)."""

from collections.abc import Callable

from onhook.calls.causes import Cause
from onhook.lines.sip.answer import RepeatedAnswer
from onhook.lines.sip.audio import Audio
from onhook.lines.sip.context import ALLOW, Context
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.machine import ServerTransaction
from onhook.lines.sip.message import Request
from onhook.lines.sip.refresh import LOST, SessionRefresh
from onhook.lines.sip.sdp import SdpError
from onhook.lines.sip.session_timer import on_refresh

KNOWN_METHODS = frozenset({"REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER"})
"""Methods that we recognise and do not allow: 405. Any other is 501 (RFC 3261 sections 8.2.1 and 21.5.2)."""

SUPPORTED_EXTENSIONS = frozenset({"timer"})


def capabilities() -> tuple[tuple[str, str], ...]:
    """Return the headers that say what we can do, for OPTIONS (RFC 3261 section 11.2)."""
    return ("Allow", ALLOW), ("Accept", "application/sdp"), ("Supported", "timer")


def refuse_method(transaction: ServerTransaction, tag: str = "") -> None:
    """Answer a request that we do not serve."""
    status = 405 if transaction.request.method in KNOWN_METHODS else 501
    transaction.respond(status, tag=tag, headers=(("Allow", ALLOW),))


def refuse_extension(transaction: ServerTransaction, tag: str = "") -> bool:
    """Answer 420 to a request that requires what we do not know (RFC 3261 section 8.2.2.3); False when it does not."""
    unknown = transaction.request.tokens("Require") - SUPPORTED_EXTENSIONS
    if unknown:
        transaction.respond(420, tag=tag, headers=(("Unsupported", ", ".join(sorted(unknown))),))
    return bool(unknown)


class InDialogServer:
    """Serves the requests of one leg's dialogs.

    `on_bye` is told of a BYE that was answered with 200, `end` of a dialog that is lost, `changed` of a new target.
    """

    def __init__(
        self,
        context: Context,
        refresh: SessionRefresh,
        *,
        on_bye: Callable[[Dialog, Request], None],
        end: Callable[[Cause], None],
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._refresh = refresh
        self._on_bye = on_bye
        self._end = end
        self._changed = changed
        self._unacknowledged: dict[int, RepeatedAnswer] = {}

    def handle(self, transaction: ServerTransaction, dialog: Dialog, audio: Audio | None) -> None:
        """Answer one request. `audio` is None when the session is over or ending: only a BYE is of use then."""
        request = transaction.request
        if not dialog.accepts(request):
            transaction.respond(500)
        elif request.method == "BYE":
            transaction.respond(200)
            self._on_bye(dialog, request)
        elif audio is None:
            transaction.respond(481)
        elif request.method in ("INVITE", "UPDATE"):
            self._renegotiate(transaction, dialog, audio)
        elif request.method == "OPTIONS":
            transaction.respond(200, headers=capabilities())
        elif request.method == "INFO":
            transaction.respond(200)
        else:
            refuse_method(transaction)

    def on_ack(self, ack: Request, audio: Audio | None) -> None:
        """Take the ACK to a 2xx of ours; it carries the answer when we made the offer."""
        answer = self._unacknowledged.pop(ack.cseq.sequence, None)
        if answer is not None:
            answer.stop()
            if audio is not None:
                audio.take(ack)

    def stop(self) -> None:
        """Repeat no 2xx any more."""
        for answer in self._unacknowledged.values():
            answer.stop()
        self._unacknowledged.clear()

    def _renegotiate(self, transaction: ServerTransaction, dialog: Dialog, audio: Audio) -> None:
        """Answer a re-INVITE or UPDATE: hold, new target, new address for audio, session refresh."""
        request = transaction.request
        if refuse_extension(transaction):
            return
        if self._refresh.is_pending:
            transaction.respond(491)
            return
        session = on_refresh(
            request.first("Session-Expires"),
            min_se=request.first("Min-SE"),
            supported="timer" in request.tokens("Supported"),
            allow=request.raw("Allow"),
            interval_s=self._refresh.interval_s,
        )
        if session.status != 200:
            transaction.respond(session.status, headers=session.headers)
            return
        try:
            body = _describe(request, audio)
        except SdpError:
            transaction.respond(488)
            return
        moved = dialog.refresh_target(request)
        contact = (("Contact", dialog.contact), ("Allow", ALLOW), ("Supported", "timer"))
        transaction.respond(200, headers=(*contact, *session.headers), body=body)
        self._refresh.renew(session.timer)
        if moved:
            self._changed()
        if request.method == "INVITE":
            self._await_ack(transaction)

    def _await_ack(self, transaction: ServerTransaction) -> None:
        """Repeat our 2xx until its ACK; whoever sends the next re-INVITE has got the one before."""
        self.stop()
        sequence = transaction.request.cseq.sequence
        self._unacknowledged[sequence] = RepeatedAnswer(
            self._context, transaction, on_lost=lambda: self._lose(sequence)
        )

    def _lose(self, sequence: int) -> None:
        self._unacknowledged.pop(sequence, None)
        self._end(LOST)


def _describe(request: Request, audio: Audio) -> bytes:
    """Return the SDP of our response: an answer, an offer to an INVITE without one, or nothing. Raises `SdpError`."""
    if request.is_sdp:
        return audio.answer(request)
    if request.body:
        raise SdpError("the body is no SDP")
    return audio.offer() if request.method == "INVITE" else b""
