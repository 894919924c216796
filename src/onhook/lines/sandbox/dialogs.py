"""How the far end of one call meets the caller's requests, as a user agent server must (RFC 3261).

The rules that a caller can break are checked on the way; what it breaks goes into `SandboxCall.faults`.
"""

from onhook.lines.sandbox import judge
from onhook.lines.sandbox.calls import SandboxCall
from onhook.lines.sandbox.digest import Door
from onhook.lines.sandbox.far_end import CallWire, FarEnd
from onhook.lines.sandbox.numbers import OnCancel
from onhook.lines.sandbox.session import Dialog
from onhook.lines.sandbox.transactions import ServerTransaction
from onhook.lines.sandbox.uas import ALLOW, Request, response


class CallMachine:
    """Takes each request of one call and lets the far end react by its number."""

    def __init__(self, wire: CallWire, call: SandboxCall) -> None:
        self.call = call
        self._far_end = FarEnd(wire, call)
        self._arrivals: dict[str, int] = {}
        self._invite_door = Door(call.number.invite_challenges)
        self._bye_door = Door(call.number.bye_challenges)
        self._invite_cseq = 0
        self._cancelled = False

    def loses(self, method: str) -> bool:
        """Count one arrival, and say whether the number's script loses it on the way."""
        self._arrivals[method] = self._arrivals.get(method, 0) + 1
        lost = self._arrivals[method] <= self.call.number.loses.get(method, 0)
        if lost:
            self._far_end.tell(f"never sees the {method}: lost on the way")
        if method == "CANCEL" and not self._invite_cseq and self._arrivals[method] == 1:
            self._far_end.blame(["CANCEL before any provisional response"])
        return lost

    def invite(self, transaction: ServerTransaction) -> None:
        """Take an INVITE outside a dialog."""
        far_end, request = self._far_end, transaction.request
        far_end.blame(judge.faults_of_invite(request, self._invite_cseq, cancelled=self._cancelled))
        self._invite_cseq = request.cseq
        if self.call.dialogs:
            far_end.blame(["second INVITE under the Call-ID of an accepted one"])
            far_end.refuse(transaction, 482)
            return
        if self.call.number.trying:
            transaction.respond(response(request, 100, tag=""))
        demand = self._invite_door.check(request)
        far_end.blame(self._invite_door.take_faults())
        if demand is not None:
            far_end.refuse(transaction, demand.challenge.status, (demand.header,))
        elif request.values("Require"):
            far_end.refuse(transaction, 420, (("Unsupported", ", ".join(request.values("Require"))),))
        else:
            far_end.open(transaction)

    def cancel(self, transaction: ServerTransaction, invite: ServerTransaction | None) -> None:
        """Take a CANCEL; `invite` is the transaction with its branch (RFC 3261 9.2)."""
        far_end = self._far_end
        if invite is None:
            if self._invite_cseq:
                far_end.blame(["CANCEL with another branch than its INVITE"])
            far_end.reply(transaction, 481)
            return
        far_end.blame(judge.faults_of_cancel(transaction.request, invite.request, replied=invite.replied))
        self._cancelled = True
        pending = invite is far_end.pending
        if pending and self.call.number.on_cancel is OnCancel.ANSWER_FIRST:
            far_end.answer()
        far_end.tell("gets a CANCEL")
        far_end.reply(transaction, 200)
        if pending and self.call.number.on_cancel is OnCancel.TERMINATE:
            far_end.end_ringing(487)

    def acknowledge(self, request: Request) -> None:
        """Take the ACK of a 2xx (RFC 3261 13.2.2.4)."""
        far_end, dialog = self._far_end, self._dialog_of(request)
        if dialog is None:
            far_end.blame(["ACK belongs to no dialog"])
            return
        if self._refusal_of(request, dialog) is not None:
            return
        if request.branch in self.call.branches:
            far_end.blame(["the ACK of a 2xx has the branch of its INVITE"])
        resender = dialog.unacknowledged.pop(request.cseq, None)
        if resender is None:
            if dialog.live and request.cseq not in dialog.acknowledged:
                far_end.blame([f"ACK with CSeq {request.cseq} belongs to no 2xx"])
            return
        resender.stop()
        first = not any(fork.acknowledged for fork in self.call.dialogs)
        dialog.acknowledged.add(request.cseq)
        if request.body:
            far_end.learn_answer(dialog, request.body)
        if first:
            far_end.play()

    def acknowledge_refusal(self, request: Request, invite: ServerTransaction) -> None:
        """Take the ACK of a final of 300 or more (RFC 3261 17.2.1)."""
        if invite.final is not None:
            self._far_end.blame(judge.faults_of_refusal_ack(request, invite.final, invite.request))
        invite.close()

    def in_dialog(self, transaction: ServerTransaction) -> None:
        """Take any request but ACK and CANCEL that has a To tag."""
        far_end, request = self._far_end, transaction.request
        dialog = self._dialog_of(request)
        if dialog is None:
            far_end.blame([f"{request.method} belongs to no dialog"])
            far_end.reply(transaction, 481)
        elif (refusal := self._refusal_of(request, dialog)) is not None:
            far_end.reply(transaction, refusal)
        elif request.cseq <= dialog.remote_cseq:
            far_end.blame([f"{request.method} with CSeq {request.cseq} after {dialog.remote_cseq}"])
            far_end.reply(transaction, 500)
        else:
            dialog.remote_cseq = request.cseq
            self._dispatch(transaction, dialog)

    def close(self) -> None:
        """Stop all timers and the media: the carrier closes."""
        self._far_end.close()

    def _dispatch(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        far_end, method = self._far_end, transaction.request.method
        if method == "BYE":
            self._take_bye(transaction, dialog)
        elif not dialog.live:
            far_end.reply(transaction, 481)
        elif method in ("INVITE", "UPDATE"):
            far_end.change(transaction, dialog)
        elif method in ("OPTIONS", "INFO"):
            far_end.reply(transaction, 200, (("Allow", ALLOW),))
        else:
            far_end.reply(transaction, 405, (("Allow", ALLOW),))

    def _take_bye(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        """End the dialog, or the ringing INVITE (RFC 3261 15.1.2), and answer as the number does."""
        far_end = self._far_end
        demand = self._bye_door.check(transaction.request)
        far_end.blame(self._bye_door.take_faults())
        if demand is not None:
            far_end.tell(f"challenges the BYE ({demand.challenge.status})")
            far_end.reply(transaction, demand.challenge.status, (demand.header,))
            return
        if dialog.unacknowledged:
            far_end.blame(["BYE before the ACK of the 2xx"])
        status = self.call.number.bye_reply
        if status is not None:
            known = dialog.live or far_end.pending is not None
            far_end.reply(transaction, status if known else 481)
        far_end.tell("is hung up on" if status == 200 else f"is hung up on; answers the BYE: {status or 'never'}")
        far_end.bury(dialog)
        far_end.end_ringing(487)
        far_end.settle()

    def _dialog_of(self, request: Request) -> Dialog | None:
        return next((dialog for dialog in self.call.dialogs if dialog.tag == request.to_tag), None)

    def _refusal_of(self, request: Request, dialog: Dialog) -> int | None:
        """Record a wrongly routed request, and return the status for it if the number insists."""
        found = judge.misrouted(request, dialog, self._far_end.record_routes()[::-1])
        if found is None:
            return None
        status, fault = found
        self._far_end.blame([fault])
        return status if self.call.number.record_routes else None
