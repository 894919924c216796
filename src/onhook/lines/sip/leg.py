"""One outbound leg: runs the table of `leg_states.py` over its INVITE, its dialogs and its audio."""

import logging
from collections.abc import Callable

from onhook.calls.causes import Cause, Reason, cause_of_status
from onhook.calls.proof import Method, Proof, Result
from onhook.clock import Timer
from onhook.lines.engine import Answered, Dialed, LegEnded, LegEvent, ProofUpdated, Provisional
from onhook.lines.sip.address import Destination
from onhook.lines.sip.audio import Audio
from onhook.lines.sip.causes import HELD_BACK, NO_MEDIA, NO_REPLY, NOT_SENT, OTHER_FORK_WON
from onhook.lines.sip.context import COMMIT_WAIT_S, Context
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.evidence import Evidence
from onhook.lines.sip.forks import Forks
from onhook.lines.sip.in_dialog import InDialogServer
from onhook.lines.sip.invitation import Invitation
from onhook.lines.sip.leg_states import LEG_MOVES, LegAction, LegInput, LegState
from onhook.lines.sip.machine import Failure, ServerTransaction
from onhook.lines.sip.message import Request, Response
from onhook.lines.sip.reason import reason_headers
from onhook.lines.sip.refresh import SessionRefresh
from onhook.lines.sip.snapshot import LegIdentity, LegJournal, Snapshot
from onhook.store.store import StoreError

log = logging.getLogger(__name__)

TALKING = (LegState.ACCEPTED, LegState.ANSWERED)
RETRYABLE = (LegState.CALLING, LegState.PROCEEDING)


class Leg:
    """One call's leg. `on_gone` is called when nothing of it needs to be remembered any more."""

    def __init__(self, context: Context, identity: LegIdentity, on_gone: Callable[["Leg"], None]) -> None:
        self.identity = identity
        self.state = LegState.PREPARING
        self.audio: Audio | None = None
        self._context = context
        self._on_gone = on_gone
        self._journal = LegJournal(context.journal, identity.call_id, self._snapshot)
        self._evidence = Evidence()
        self._invitation: Invitation | None = None
        self._forks = Forks(context, identity, self._evidence, on_cleared=self._on_cleared, changed=self._save)
        self._newest = ""
        self._answer_message: Response | None = None
        self._answered_at: int | None = None
        self._told_answered = False
        self._reported: set[int] = set()
        self._stop: Cause | None = None
        self._hung_up = False
        self._told_cut = False
        self._cause = NOT_SENT
        self._proof: Proof | None = None
        self._silence: Timer | None = None
        self._linger: Timer | None = None
        self._refresh = SessionRefresh(context, identity.account, end=self._end, changed=self._save)
        self._server = InDialogServer(
            context, self._refresh, on_bye=self._on_far_bye, end=self._end, changed=self._save
        )
        self._actions: dict[LegAction, Callable[[], None]] = {
            LegAction.ANNOUNCE: self._announce,
            LegAction.RETRY: self._retry,
            LegAction.COMMIT: self._commit,
            LegAction.ANSWER: self._answer,
            LegAction.REFUSE_FORK: self._refuse_fork,
            LegAction.CUT: self._cut,
            LegAction.CANCEL: self._cancel,
            LegAction.CLEAR: self._clear,
            LegAction.SETTLE: self._settle,
            LegAction.UPDATE_PROOF: self._update_proof,
        }

    @property
    def is_settled(self) -> bool:
        """True once `LegEnded` has been reported."""
        return self.state is LegState.SETTLED

    # --- what call control asks for

    def prepare(self, request: Request, destination: Destination, audio: Audio | None) -> None:
        """Take the INVITE that is to leave."""
        self.audio = audio
        self._invitation = Invitation(
            self._context,
            request,
            destination,
            account=self.identity.account,
            evidence=self._evidence,
            on_response=self.on_invite_response,
            on_silence=self._on_silence,
        )

    async def launch(self) -> None:
        """Commit the snapshot, then send the INVITE, unless a stop comes between."""
        try:
            allowed = await self._journal.before_invite()
        except StoreError as error:
            log.warning("call %s: not dialled, its snapshot is not durable: %s", self.identity.call_id, error)
            self.give_up(NOT_SENT)
            return
        if not allowed:
            self.give_up(HELD_BACK)
        elif self.state is LegState.PREPARING and self._invitation is not None:
            self._invitation.send()
            self._happen(LegInput.SENT)

    def give_up(self, cause: Cause) -> None:
        """The INVITE that is being prepared does not leave."""
        self._cause = cause
        self._happen(LegInput.UNSENT)

    def hangup(self, cause: Cause) -> bool:
        """End the leg; the first cause wins. False when it is settled."""
        if self.state is LegState.SETTLED:
            return False
        self._hung_up = True
        if LegInput.STOP in LEG_MOVES[self.state]:
            self._stop = cause
            self._happen(LegInput.STOP)
        self._context.clock.call_later(0, self._tell_cut)  # Whatever this sets off, the BYEs of other legs go first.
        return True

    def resume(self, snapshot: Snapshot, invite: Request, cause: Cause) -> None:
        """Take over a leg of an earlier life, to end it."""
        self.prepare(invite, snapshot.destination, None)
        self._stop = cause
        self._listen_again(snapshot.sent_at)
        self._evidence.primary = snapshot.primary
        for dialog in snapshot.dialogs:
            dialog.local_cseq += 1  # A BYE of the earlier life may have used the next one.
            self._forks.add(dialog.remote_tag, dialog, invite)
        if self._forks:
            self.state = LegState.CLEARING
            self._answered_at = snapshot.answered_at
            self._clear()
            self._save()  # The BYEs have used CSeqs that a third life must not use again.
        elif snapshot.provisional:
            self.state = LegState.CANCELING
            self._cancel()
        else:
            self.state = LegState.HOLDING
            self._await_silence()

    def abandon(self) -> None:
        """Do nothing more of its own accord: no clock, no snapshot, no word on the wire."""
        self.state = LegState.SETTLED
        self._told_cut = True
        self._journal.close()
        self._rest()

    def _rest(self) -> None:
        self._cut()
        for timer in (self._silence, self._linger):
            if timer is not None:
                timer.cancel()

    # --- what the network brings

    def on_invite_response(self, response: Response) -> None:
        """Take a response to our INVITE."""
        invitation = self._invitation
        if invitation is None:
            return
        if response.status < 200:
            is_first = self.state in (LegState.CALLING, LegState.HOLDING)
            self._happen(LegInput.PROVISIONAL)
            self._report_provisional(response)
            if is_first:
                self._save()  # From now on the next life may send a CANCEL.
            return
        invitation.hush_cancel()
        if response.status < 300:
            self._on_success(invitation, response)
        elif self.state in RETRYABLE and invitation.try_again(response):
            self._happen(LegInput.RETRY)
        else:
            self._cause = cause_of_status(response.status, response.q850)
            self._happen(LegInput.REJECT)

    def is_answer(self, response: Response) -> bool:
        """True when a response belongs to our INVITE though its transaction is over."""
        invite = self._evidence.invite
        return invite is not None and invite.key == (response.via.branch, response.cseq.method)

    def dialog_of(self, request: Request) -> Dialog | None:
        """Return the dialog that a request of the far end is in (RFC 3261 section 12.2.2)."""
        return self._forks.dialog_of(request)

    def on_request(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Serve a request in a dialog of ours."""
        self._server.handle(transaction, dialog, self.audio if self.state in TALKING else None)

    def on_ack(self, ack: Request) -> None:
        """Take the ACK to a 2xx of ours."""
        self._server.on_ack(ack, self.audio if self.state in TALKING else None)

    def _on_success(self, invitation: Invitation, response: Response) -> None:
        # A 2xx without a tag beside a dialog repeats the answer; as a fork of its own its BYE could end the call.
        tag = response.to_tag or self._evidence.primary or ""
        if tag not in self._forks:
            invite = invitation.request
            self._forks.add(tag, Dialog.from_answer(invite, response, invitation.destination), invite)
            self._newest = tag
            if self._evidence.primary is None:
                self._evidence.primary = tag
                self._answer_message = response
            self._happen(LegInput.ACCEPT)
            if tag != self._evidence.primary or self.state is not LegState.ACCEPTED:
                self._save()  # A dialog that is being ended must be ended by the next life, too.
        else:
            self._forks.repeat_ack(tag)

    def _on_silence(self, failure: Failure) -> None:
        self._cause = NO_REPLY if failure is Failure.TIMEOUT else NOT_SENT
        self._happen(LegInput.SILENCE)

    def _on_far_bye(self, dialog: Dialog, request: Request) -> None:
        tag = dialog.remote_tag
        if tag == self._evidence.primary and self.state in TALKING:
            self._cause = Cause("callee", Reason.HANGUP, q850=16 if request.q850 is None else request.q850)
            self._forks.acknowledge(tag)
            self._happen(LegInput.FAR_BYE)
        self._forks.clearance(tag).take_bye(request, status=200)

    def _on_cleared(self) -> None:
        if self._evidence.is_cleared:
            self._happen(LegInput.CLEARED)

    # --- the actions of the table

    def _happen(self, happened: LegInput) -> None:
        move = LEG_MOVES[self.state].get(happened)
        if move is not None:
            self.state, action = move
            if action is not None:
                self._actions[action]()

    def _announce(self) -> None:
        invite = self._evidence.invite
        if invite is not None and invite.request.cseq.sequence == 1:
            self._tell(Dialed(self.identity.call_id, invite.first_sent_at or self._context.clock.now_ms()))

    def _retry(self) -> None:
        self._context.spawn(self.launch())

    def _commit(self) -> None:
        """Make the dialog durable before the ACK, but let nobody wait long for it."""
        if self.audio is not None and self._answer_message is not None:
            self.audio.take(self._answer_message)
        self._answered_at = self._context.clock.now_ms()
        self._context.clock.call_later(COMMIT_WAIT_S, lambda: self._happen(LegInput.COMMITTED))
        self._context.spawn(self._commit_dialog())

    async def _commit_dialog(self) -> None:
        await self._journal.update()
        self._happen(LegInput.COMMITTED)

    def _answer(self) -> None:
        tag, answer = self._evidence.primary, self._answer_message
        if tag is None or answer is None or self.audio is None:
            return
        self._forks.acknowledge(tag)
        timer = self._refresh.start(self._forks[tag], self.audio, answer)
        self._tell(Answered(self.identity.call_id, self._answered_at or 0, timer.refresher.value if timer else "none"))
        if not self.audio.has_remote:
            self.hangup(NO_MEDIA)

    def _refuse_fork(self) -> None:
        """ACK and BYE the dialog that came last: another fork has won, or nobody wants any."""
        self._forks.end(self._newest, self._stop or OTHER_FORK_WON)
        if self.state is LegState.SETTLED:
            self._remember(self._context.settings.watch)

    def _cut(self) -> None:
        """Nobody on our side speaks any more."""
        if self.audio is not None:
            self.audio.cut()
        self._refresh.stop()
        self._server.stop()

    def _cancel(self) -> None:
        self._cut()
        reason = reason_headers(self._stop or self._cause, "CANCEL", send_text=self.identity.send_text)
        if self._invitation is not None and self._invitation.cancel(reason):
            self._await_silence()

    def _clear(self) -> None:
        """End every dialog."""
        self._cut()
        for tag in self._forks:
            if tag not in self._evidence.clearances:
                self._forks.end(tag, self._stop or OTHER_FORK_WON)
        if not self._told_answered:
            self._answered_at = self._answered_at or self._context.clock.now_ms()
            self._tell(Answered(self.identity.call_id, self._answered_at))

    def _settle(self) -> None:
        self._rest()
        now = self._context.clock.now_ms()
        self._proof = proof = self._evidence.proof(now)
        if proof.result is Result.CONFIRMED:
            self._journal.close()  # Else a late 2xx must still be ended by the next life, if this one dies over it.
        audio = self.audio.close() if self.audio is not None else None
        ended_at, cause = self._ended_at(proof, now), self._stop or self._cause
        self._tell_cut()
        self._tell(LegEnded(self.identity.call_id, ended_at, proof, cause, audio))
        if self._evidence.invite is None:
            self._on_gone(self)
        else:
            confirmed = proof.result is Result.CONFIRMED
            self._remember(self._context.layer.timing.timeout if confirmed else self._context.settings.watch)

    def _update_proof(self) -> None:
        now = self._context.clock.now_ms()
        proof = self._evidence.proof(now)
        if proof != self._proof:
            self._proof = proof
            self._tell(ProofUpdated(self.identity.call_id, now, proof))

    # --- small parts

    def _report_provisional(self, response: Response) -> None:
        if self.state is LegState.SETTLED:
            return
        if self.audio is not None and self._stop is None:
            self.audio.take(response)  # Early media (RFC 3960).
        if response.status in self._reported:
            return
        self._reported.add(response.status)
        ringing = response.status in (180, 183)
        self._tell(Provisional(self.identity.call_id, self._context.clock.now_ms(), response.status, ringing))

    def _await_silence(self) -> None:
        """Give up waiting for the INVITE's final response after 64*T1 (RFC 3261 section 9.1)."""
        timeout = self._context.layer.timing.timeout
        self._silence = self._context.clock.call_later(timeout, lambda: self._happen(LegInput.SILENCE))

    def _listen_again(self, sent_at: int) -> None:
        if self._invitation is not None:
            self._invitation.listen(sends=1, first_sent_at=sent_at, last_sent_at=sent_at)

    def _remember(self, seconds: float) -> None:
        """Keep listening for what comes late, then go."""
        if self._linger is not None:
            self._linger.cancel()
        self._linger = self._context.clock.call_later(seconds, self._go)

    def _go(self) -> None:
        if self._invitation is not None:
            self._invitation.drop()
        self._on_gone(self)

    def _ended_at(self, proof: Proof, now: int) -> int:
        """The wire time of what ended the call: for a BYE of the far end, when that came."""
        primary = self._evidence.clearances.get(self._evidence.primary or "")
        if proof.method is Method.FAR_END_BYE and primary is not None and primary.settled_at is not None:
            return primary.settled_at
        return proof.confirmed_at or now

    def _end(self, cause: Cause) -> None:
        self.hangup(cause)

    def _save(self) -> None:
        self._context.spawn(self._journal.update())

    def _tell(self, event: LegEvent) -> None:
        if isinstance(event, Answered):
            self._told_answered = True
        self._context.events.on_event(event)

    def _tell_cut(self) -> None:
        if self._hung_up and not self._told_cut:
            self._told_cut = True
            self._context.events.on_cut(self.identity.call_id)

    def _snapshot(self) -> Snapshot:
        if self._invitation is None:
            raise RuntimeError("a leg without an INVITE has no snapshot")
        identity, invitation = self.identity, self._invitation
        return Snapshot(
            sip_call_id=identity.sip_call_id,
            trunk_id=identity.trunk_id,
            send_reason_text=identity.send_text,
            invite=invitation.request.encode().decode("latin-1"),
            destination=invitation.destination,
            sent_at=invitation.sent_at or self._context.clock.now_ms(),
            provisional=invitation.drew_response,
            dialogs=self._forks.live(),
            primary=self._evidence.primary,
            answered_at=self._answered_at,
        )
