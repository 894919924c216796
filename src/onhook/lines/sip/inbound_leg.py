"""One leg that a far end started: runs the table of `inbound_states.py` over its INVITE, its dialog and its audio."""

import logging
from collections.abc import Callable
from dataclasses import replace

from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Proof, Result
from onhook.clock import Timer
from onhook.lines.engine import Answered, LegEnded, LegEvent, ProofUpdated, Provisional, Trunk
from onhook.lines.sip.answer import RepeatedAnswer
from onhook.lines.sip.audio import Audio, open_audio
from onhook.lines.sip.causes import GAVE_UP, NO_MEDIA, NOT_SENT, STOPPED_FIRST
from onhook.lines.sip.clearance import Clearance
from onhook.lines.sip.context import ALLOW, Context
from onhook.lines.sip.credentials import Account
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.evidence import InboundEvidence
from onhook.lines.sip.in_dialog import InDialogServer
from onhook.lines.sip.inbound_states import (
    INBOUND_MOVES,
    TALKING,
    UNANSWERED,
    InboundAction,
    InboundInput,
    InboundState,
)
from onhook.lines.sip.invite import without_credentials
from onhook.lines.sip.machine import ServerTransaction
from onhook.lines.sip.message import Header, Request
from onhook.lines.sip.reason import q850_header
from onhook.lines.sip.refresh import DEFAULT_INTERVAL_S, LOST, SessionRefresh
from onhook.lines.sip.screening import RETRY_AFTER_S, session_of, status_of_refusal
from onhook.lines.sip.session_timer import SessionTimer
from onhook.lines.sip.snapshot import LegIdentity, LegJournal, Snapshot
from onhook.store.store import StoreError

log = logging.getLogger(__name__)

RING_AGAIN_S = 60.0
"""A proxy gives up an INVITE that stays without news for three minutes (RFC 3261 section 13.3.1.1)."""
BUSY_ANSWERING: tuple[Header, ...] = (("Retry-After", "1"),)


class InboundLeg:
    """One call's leg. `on_gone` is called when nothing of it needs to be remembered any more."""

    def __init__(
        self,
        context: Context,
        identity: LegIdentity,
        transaction: ServerTransaction,
        dialog: Dialog,
        on_gone: Callable[["InboundLeg"], None],
    ) -> None:
        self.identity = identity
        self.state = InboundState.INCOMING
        self.audio: Audio | None = None
        self.dialog = dialog
        self._context = context
        self._on_gone = on_gone
        self._transaction = transaction
        self._evidence = InboundEvidence(transaction)
        self._journal = LegJournal(context.journal, identity.call_id, self._snapshot)
        self._answer: RepeatedAnswer | None = None
        self._session: SessionTimer | None = None
        self._interval_s = DEFAULT_INTERVAL_S
        self._answered_at: int | None = None
        self._told_answered = False
        self._refusal = 480
        self._stop: Cause | None = None
        self._hung_up = self._told_cut = False
        self._cause = LOST
        self._proof: Proof | None = None
        self._timers: list[Timer] = []
        self._serve(identity.account)
        self._actions: dict[InboundAction, Callable[[], None]] = {
            InboundAction.RING: self._ring,
            InboundAction.COMMIT: self._commit,
            InboundAction.ACCEPT: self._accept,
            InboundAction.ANNOUNCE: self._announce,
            InboundAction.REFUSE: self._refuse,
            InboundAction.TERMINATE: self._terminate,
            InboundAction.CUT: self._cut,
            InboundAction.CLEAR: self._clear,
            InboundAction.SETTLE: self._settle,
            InboundAction.UPDATE_PROOF: self._update_proof,
        }
        transaction.on_refused = self._on_refused

    @property
    def is_settled(self) -> bool:
        """True once `LegEnded` has been reported."""
        return self.state is InboundState.SETTLED

    @property
    def key(self) -> tuple[str, str]:
        """What every request of this far end in this call carries: Call-ID and From tag."""
        return self.dialog.call_id, self.dialog.remote_tag

    # --- what call control asks for

    def ring(self) -> None:
        """Send the 180."""
        self._happen(InboundInput.RING)

    def answer(self, trunk: Trunk | None) -> None:
        """Commit the dialog, then send the 200, unless something comes between; from now on be a leg of `trunk`."""
        if InboundInput.ANSWER not in INBOUND_MOVES[self.state]:
            return
        if trunk is not None:
            account, send_text = Account.of(trunk), trunk.send_reason_text
            self.identity = replace(self.identity, trunk_id=trunk.id, account=account, send_text=send_text)
            self._interval_s = trunk.session_expires_s
            self._serve(account)
        self._happen(InboundInput.ANSWER)

    def refuse(self, status: int, cause: Cause) -> None:
        """Send a final response of 300 or more, if none has been sent."""
        if self.state in UNANSWERED:
            self._refusal, self._stop = status, cause
            self._happen(InboundInput.STOP)

    def hangup(self, cause: Cause) -> bool:
        """End the leg; the first cause wins. False when it is settled."""
        if self.is_settled:
            return False
        self._hung_up = True
        if InboundInput.STOP in INBOUND_MOVES[self.state]:
            self._stop, self._refusal = cause, status_of_refusal(cause)
            self._happen(InboundInput.STOP)
        self._context.clock.call_later(0, self._tell_cut)  # Whatever this sets off, the BYEs of other legs go first.
        return True

    def rename(self, call_id: str) -> None:
        """Belong to another call from now on."""
        self.identity = replace(self.identity, call_id=call_id)
        self._journal = LegJournal(self._context.journal, call_id, self._snapshot)

    def resume(self, snapshot: Snapshot, cause: Cause) -> None:
        """Take over a leg of an earlier life, to end it.

        Where the 200 may have left and may not, both ends are said: a caller that has the 200 takes no other final
        response, and one that has not knows no dialog that a BYE could end.
        """
        self._stop = cause
        if not snapshot.dialogs:
            self.state = InboundState.REFUSING
            self._refuse()
            return
        self.state = InboundState.CLEARING
        if snapshot.answered_at is None:
            self._refuse()
            self._transaction.drop()
        else:
            self._tell_answered(snapshot.answered_at)
        self.dialog.local_cseq += 1  # A BYE of the earlier life may have used the next one.
        self._clear()
        self._save()  # The BYE has used a CSeq that a third life must not use again.

    def abandon(self) -> None:
        """Do nothing more of its own accord: no clock, no snapshot, no word on the wire."""
        self.state = InboundState.SETTLED
        self._told_cut = True
        self._journal.close()
        self._rest()

    # --- what the network brings

    def is_of(self, transaction: ServerTransaction) -> bool:
        """True when a transaction is that of the INVITE that began this leg."""
        return transaction is self._transaction

    def repeats(self, invite: Request) -> bool:
        """True for an INVITE that came on another way, too, or before this leg is over (RFC 3261 section 8.2.2.2)."""
        return not self.is_settled or invite.cseq.sequence == self._transaction.request.cseq.sequence

    def dialog_of(self, request: Request) -> Dialog | None:
        """Return the dialog if a request of the far end is in it (RFC 3261 section 12.2.2)."""
        return self.dialog if self.dialog.local_tag == request.to_tag else None

    def on_cancel(self, transaction: ServerTransaction) -> None:
        """Take the CANCEL of our INVITE, which has been answered 200; too late after a final response."""
        if InboundInput.CANCEL in INBOUND_MOVES[self.state]:
            self._evidence.cancel = transaction
            self._happen(InboundInput.CANCEL)

    def on_request(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Serve a request in the dialog; before the answer there is nothing to serve but a BYE."""
        if self.state in UNANSWERED and transaction.request.method != "BYE":
            transaction.respond(500, headers=BUSY_ANSWERING)  # A 481 would end the call (RFC 3311 section 5.2).
        else:
            self._server.handle(transaction, dialog, self.audio if self.state in TALKING else None)

    def on_ack(self, ack: Request) -> None:
        """Take the ACK to a 2xx of ours; it carries the answer when we made the offer."""
        if ack.cseq.sequence != self._transaction.request.cseq.sequence:
            self._server.on_ack(ack, self.audio if self.state in TALKING else None)
        elif InboundInput.ACK in INBOUND_MOVES[self.state]:
            if self.audio is not None and not self.audio.has_remote:
                self.audio.take(ack)
            self._heard()
            self._happen(InboundInput.ACK)

    def _on_refused(self, acknowledged: bool) -> None:
        if acknowledged:
            self._evidence.acknowledged_at = self._context.clock.now_ms()
        self._happen(InboundInput.REFUSED if acknowledged else InboundInput.SILENCE)

    def _on_far_bye(self, _dialog: Dialog, request: Request) -> None:
        if self.state in UNANSWERED:
            self._cause, self._refusal = GAVE_UP, 487
        elif self.state in TALKING:
            self._cause = Cause("caller", Reason.HANGUP, q850=16 if request.q850 is None else request.q850)
        if self.state in (InboundState.ACCEPTED, InboundState.HOLDING):
            self._heard()
        self._happen(InboundInput.FAR_BYE)
        self._end_dialog().take_bye(request, status=200)

    # --- the actions of the table

    def _happen(self, happened: InboundInput) -> None:
        move = INBOUND_MOVES[self.state].get(happened)
        if move is not None:
            self.state, action = move
            self._actions[action]()

    def _ring(self) -> None:
        self._send_ringing()
        self._tell(Provisional(self.identity.call_id, self._context.clock.now_ms(), 180, ringing=True))
        self._save()  # From now on the next life can tell the caller that nobody will answer.

    def _send_ringing(self) -> None:
        if self.state is InboundState.RINGING:
            self._respond(180)
            self._later(RING_AGAIN_S, self._send_ringing)

    def _commit(self) -> None:
        """Bind the media and make the dialog durable before the 200."""
        try:
            self.audio = open_audio(self._context, self.identity.call_id, self._transaction.destination)
        except OSError as error:
            log.warning("call %s: not answered, it has no media port: %s", self.identity.call_id, error)
            self.refuse(503, NOT_SENT)
            return
        self._context.spawn(self._commit_dialog())

    async def _commit_dialog(self) -> None:
        try:
            if await self._journal.before_invite():
                self._happen(InboundInput.COMMITTED)
            else:
                self.refuse(480, STOPPED_FIRST)
        except StoreError as error:
            log.warning("call %s: not answered, its snapshot is not durable: %s", self.identity.call_id, error)
            self.refuse(503, NOT_SENT)

    def _accept(self) -> None:
        """Send the 200, with our offer when the caller made none. From here on people may talk."""
        invite, audio = self._transaction.request, self.audio
        if audio is None:
            return
        session = session_of(invite, self._interval_s)
        body = audio.answer(invite) if invite.body else audio.offer()
        self._respond(200, ("Supported", "timer"), *session.headers, body=body)
        self._answered_at = self._context.clock.now_ms()
        self._session = session.timer
        self._refresh.serve(self.dialog, audio, session.timer, allow=invite.raw("Allow"))
        self._answer = RepeatedAnswer(self._context, self._transaction, lambda: self._happen(InboundInput.SILENCE))

    def _announce(self) -> None:
        self._save()  # The next life need not wonder whether the caller has the 200.
        if self.audio is not None and not self.audio.has_remote:
            self.hangup(NO_MEDIA)

    def _refuse(self) -> None:
        """Say no; the transaction repeats it until its ACK."""
        self._cut()
        retry = [("Retry-After", str(RETRY_AFTER_S))] if self._refusal == 503 else []
        self._respond(self._refusal, *q850_header(self._stop or self._cause), *retry)

    def _terminate(self) -> None:
        """The caller gave up: there is nothing to wait for."""
        self._cause, self._refusal = GAVE_UP, 487
        self._refuse()
        self._settle()

    def _cut(self) -> None:
        """Nobody on our side speaks any more."""
        if self.audio is not None:
            self.audio.cut()
        self._refresh.stop()
        self._server.stop()

    def _clear(self) -> None:
        """End the dialog."""
        self._cut()
        self._end_dialog().send_bye(self._stop or self._cause)

    def _settle(self) -> None:
        self._rest()
        now = self._context.clock.now_ms()
        self._proof = proof = self._evidence.proof()
        audio = self.audio.close() if self.audio is not None else None
        self._journal.close()
        self._tell_cut()
        at = proof.confirmed_at or now
        self._tell(LegEnded(self.identity.call_id, at, proof, self._stop or self._cause, audio))
        confirmed = proof.result is Result.CONFIRMED
        self._later(
            self._context.layer.timing.timeout if confirmed else self._context.settings.watch,
            lambda: self._on_gone(self),
        )

    def _update_proof(self) -> None:
        proof = self._evidence.proof()
        if proof != self._proof:
            self._proof = proof
            self._tell(ProofUpdated(self.identity.call_id, self._context.clock.now_ms(), proof))

    # --- small parts

    def _heard(self) -> None:
        """The caller has our 200."""
        if self._answer is not None:
            self._answer.stop()
        self._tell_answered(self._answered_at or self._context.clock.now_ms())

    def _tell_answered(self, at: int) -> None:
        self._answered_at = at
        if not self._told_answered:
            self._told_answered = True
            timer = self._session.refresher.value if self._session else "none"
            self._tell(Answered(self.identity.call_id, at, timer))

    def _serve(self, account: Account) -> None:
        self._refresh = SessionRefresh(self._context, account, end=self._end, changed=self._save)
        self._server = InDialogServer(
            self._context, self._refresh, on_bye=self._on_far_bye, end=self._end, changed=self._save
        )

    def _end_dialog(self) -> Clearance:
        if self._evidence.clearance is None:
            self._evidence.clearance = Clearance(
                self._context,
                self.dialog,
                self.identity.account,
                send_text=self.identity.send_text,
                on_settled=lambda: self._happen(InboundInput.CLEARED),
                changed=self._save,
            )
        return self._evidence.clearance

    def _respond(self, status: int, *headers: Header, body: bytes = b"") -> None:
        own = (("Contact", self.dialog.contact), ("Allow", ALLOW)) if status < 300 else ()
        self._transaction.respond(status, tag=self.dialog.local_tag, headers=(*own, *headers), body=body)

    def _rest(self) -> None:
        self._cut()
        if self._answer is not None:
            self._answer.stop()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._context.clock.call_later(delay, callback))

    def _end(self, cause: Cause) -> None:
        self.hangup(cause)

    def _save(self) -> None:
        self._context.spawn(self._journal.update())

    def _tell(self, event: LegEvent) -> None:
        self._context.events.on_event(event)

    def _tell_cut(self) -> None:
        if self._hung_up and not self._told_cut:
            self._told_cut = True
            self._context.events.on_cut(self.identity.call_id)

    def _snapshot(self) -> Snapshot:
        identity, invite = self.identity, self._transaction.request
        may_be_answered = self.state not in (InboundState.INCOMING, InboundState.RINGING, InboundState.REFUSING)
        return Snapshot(
            sip_call_id=identity.sip_call_id,
            trunk_id=identity.trunk_id,
            send_reason_text=identity.send_text,
            invite=without_credentials(invite).encode().decode("latin-1"),
            destination=self._transaction.destination,
            sent_at=self._transaction.first_arrived_at,
            dialogs=(self.dialog,) if may_be_answered else (),
            primary=self.dialog.remote_tag,
            answered_at=self._answered_at if self._told_answered else None,
            incoming_tag=self.dialog.local_tag,
        )
