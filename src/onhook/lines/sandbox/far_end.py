"""What the far end of one call does of its own accord: the script of its number, step by step."""

import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from onhook.clock import Clock, Timer
from onhook.lines.sandbox.calls import SandboxCall
from onhook.lines.sandbox.media import Echo, UnusableSdp
from onhook.lines.sandbox.numbers import Act, Step
from onhook.lines.sandbox.session import SDP, Caller, Dialog, Session
from onhook.lines.sandbox.talker import Talker
from onhook.lines.sandbox.transactions import Resender, ServerTransaction
from onhook.lines.sandbox.uas import ALLOW, REASONS, Address, Headers, Request, Response, response

_MAY_ANSWER = {"sendonly": {"recvonly", "inactive"}, "sendrecv": {"sendrecv", "sendonly", "recvonly", "inactive"}}
"""The directions that may answer an offer of ours (RFC 3264 6.1)."""


class CallWire(Protocol):
    """What a call needs of the carrier."""

    @property
    def clock(self) -> Clock:
        """The carrier's clock."""
        ...

    @property
    def address(self) -> Address:
        """Where the carrier listens."""
        ...

    def transmit(self, message: Request | Response, to: Address) -> None:
        """Log one datagram and send it."""
        ...

    def request(
        self,
        request: Request,
        to: Address,
        on_final: Callable[[Response, bool], None],
        on_silence: Callable[[], None],
    ) -> None:
        """Start a client transaction."""
        ...

    def tell(self, call: SandboxCall, text: str) -> None:
        """Report one happening in words."""
        ...


class FarEnd:
    """The phone, or the forked phones, behind one number.

    `pending` is the INVITE that has no final response yet.
    """

    def __init__(self, wire: CallWire, call: SandboxCall) -> None:
        self.call = call
        self.pending: ServerTransaction | None = None
        self._wire = wire
        self._tag = secrets.token_hex(8)
        self._script = iter(call.number.script)
        self._timer: Timer | None = None
        self._acts: dict[Act, Callable[[Step], None]] = {
            Act.RING: lambda _: self.ring(),
            Act.ANSWER: lambda _: self.answer(),
            Act.REFUSE: lambda step: self.end_ringing(step.status),
            Act.HANG_UP: lambda _: self.hang_up(),
            Act.HOLD: lambda _: self._reinvite("sendonly"),
            Act.RESUME: lambda _: self._reinvite("sendrecv"),
        }

    # Words

    def tell(self, text: str) -> None:
        """Report one happening."""
        self._wire.tell(self.call, text)

    def blame(self, faults: Iterable[str]) -> None:
        """Record what the caller did against the RFC."""
        for fault in faults:
            self.call.faults.append(fault)
            self.tell(f"FAULT: {fault}")

    # Responses

    def reply(self, transaction: ServerTransaction, status: int, extra: Headers = (), body: bytes = b"") -> None:
        """Answer a request that is not an INVITE."""
        transaction.respond(response(transaction.request, status, tag=self._tag, extra=extra, body=body))

    def refuse(self, transaction: ServerTransaction, status: int, extra: Headers = ()) -> None:
        """Answer an INVITE with 300 or more, until its ACK."""
        self.tell(f"answers {status} {REASONS[status]}")
        transaction.respond(
            response(transaction.request, status, tag=self._tag, extra=extra),
            partial(self.blame, [f"the {status} never got its ACK"]),
        )

    def accept(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Answer an INVITE with 200 and SDP, until its ACK (RFC 3261 13.3.1.4)."""
        extra = (("Allow", ALLOW), *self._dialog_headers(transaction.request, dialog), *SDP)
        ok = response(transaction.request, 200, tag=dialog.tag, extra=extra, body=dialog.session.describe())
        transaction.respond(ok)
        dialog.unacknowledged[transaction.request.cseq] = Resender(
            self._wire.clock, partial(transaction.send_again, ok), partial(self._give_up_on_ack, dialog)
        )

    def change(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Take a re-INVITE or UPDATE of a live dialog: its Contact and its SDP."""
        request = transaction.request
        invite = request.method == "INVITE"
        dialog.caller.refresh(request)
        try:
            dialog.session.negotiate(request.body)
        except UnusableSdp:
            (self.refuse if invite else self.reply)(transaction, 488)
            return
        if invite:
            self.accept(transaction, dialog)
        else:
            contact: Headers = (("Contact", f"<{dialog.contact}>"),)
            described = (*contact, *SDP) if request.body else contact
            self.reply(transaction, 200, described, dialog.session.describe() if request.body else b"")

    # The script

    def open(self, transaction: ServerTransaction) -> None:
        """Accept the call and start the script; 488 when its SDP cannot be used."""
        host, port = self._wire.address
        lines = self.call.number.lines
        session = Session(host, Echo(host) if lines is None else Talker(host, lines))
        self.call.echo = session.echo
        try:
            session.negotiate(transaction.request.body)
        except UnusableSdp as error:
            session.echo.close()
            self.tell(f"cannot use the SDP: {error}")
            self.refuse(transaction, 488)
            return
        caller = Caller(transaction)
        self.pending = transaction
        self.call.ringing = True
        for count in range(self.call.number.forks):
            tag = self._tag if count == 0 else secrets.token_hex(8)
            contact = f"sip:phone-{count + 1}@{host}:{port}"
            self.call.dialogs.append(Dialog(tag, contact, caller, session, transaction.request.cseq))
        self.play()

    def play(self) -> None:
        """Wait for the next step of the script and do it; an answer waits for its ACK before it goes on."""
        step = next(self._script, None)
        if step is not None:
            self._timer = self._wire.clock.call_later(step.after_s, partial(self._perform, step))

    def ring(self) -> None:
        """Send a 180 from each phone."""
        if self.pending is not None:
            self.tell("rings")
            for dialog in self.call.dialogs:
                extra = self._dialog_headers(self.pending.request, dialog)
                self.pending.respond(response(self.pending.request, 180, tag=dialog.tag, extra=extra))

    def answer(self) -> None:
        """Send a 200 from each phone."""
        if self.pending is None:
            return
        self._rest()
        self.tell("answers")
        if self.call.echo is not None:
            self.call.echo.start(self._wire.clock)
        transaction, self.pending = self.pending, None
        self.call.ringing = False
        for dialog in self.call.dialogs:
            dialog.live = True
            self.accept(transaction, dialog)

    def end_ringing(self, status: int) -> None:
        """Refuse the pending INVITE."""
        if self.pending is not None:
            transaction, self.pending = self.pending, None
            self.call.ringing = False
            self.refuse(transaction, status)
            self.settle()

    def hang_up(self) -> None:
        """Send a BYE in each live dialog; the call is over here at once."""
        for dialog in self.call.dialogs:
            if dialog.live:
                self.tell("hangs up")
                self.bury(dialog)
                self._send("BYE", dialog, self._bye_answered)
        self.settle()

    def bury(self, dialog: Dialog) -> None:
        """End a dialog: nothing more is sent in it."""
        dialog.live = False
        for resender in dialog.unacknowledged.values():
            resender.stop()
        dialog.unacknowledged.clear()

    def settle(self) -> None:
        """Stop the script and the media once nothing of the call is live."""
        if not self.call.live_dialogs:
            self._rest()
            if self.call.echo is not None:
                self.call.echo.close()

    def close(self) -> None:
        """Stop all timers and the media; nothing is sent."""
        self.pending = None
        self.call.ringing = False
        for dialog in self.call.dialogs:
            self.bury(dialog)
        self.settle()

    def learn_answer(self, dialog: Dialog, body: bytes, offered: str = "sendrecv") -> None:
        """Take the SDP answer to an offer of ours."""
        try:
            direction = dialog.session.learn(body)
        except UnusableSdp as error:
            self.blame([f"unusable SDP answer: {error}"])
            return
        if direction not in _MAY_ANSWER[offered]:
            self.blame([f"{direction} answers an offer of {offered}"])

    def record_routes(self) -> tuple[str, ...]:
        """Return the URIs of our Record-Routes, topmost first: the last proxy before the phone."""
        host, port = self._wire.address
        count = self.call.number.record_routes
        return tuple(f"sip:proxy-{place}@{host}:{port};lr" for place in range(count, 0, -1))

    # Inside

    def _perform(self, step: Step) -> None:
        self._acts[step.act](step)
        if step.act is not Act.ANSWER:
            self.play()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _dialog_headers(self, request: Request, dialog: Dialog) -> Headers:
        """Return the Contact and Record-Route of a response that makes a dialog (RFC 3261 12.1.1)."""
        routes = [*(f"<{route}>" for route in self.record_routes()), *request.values("Record-Route")]
        return (("Contact", f"<{dialog.contact}>"), *(("Record-Route", route) for route in routes))

    def _reinvite(self, direction: str) -> None:
        for dialog in self.call.dialogs:
            if dialog.live:
                self.tell(f"re-INVITEs ({direction})")
                answered = partial(self._reinvite_answered, dialog, direction)
                self._send("INVITE", dialog, answered, dialog.session.describe(direction))

    def _send(self, method: str, dialog: Dialog, on_final: Callable[[Response, bool], None], body: bytes = b"") -> None:
        dialog.local_cseq += 1
        request = dialog.caller.request(method, dialog, self._wire.address, dialog.local_cseq, body=body)
        silence = partial(self.blame, [f"our {method} was never answered"])
        self._wire.request(request, dialog.caller.address, on_final, silence)

    def _bye_answered(self, final: Response, first: bool) -> None:
        if first and final.status not in (200, 481):
            self.blame([f"our BYE was answered {final.status}"])

    def _reinvite_answered(self, dialog: Dialog, direction: str, final: Response, first: bool) -> None:
        branch = final.branch if final.status >= 300 else None
        ack = dialog.caller.request("ACK", dialog, self._wire.address, final.cseq, branch=branch)
        self._wire.transmit(ack, dialog.caller.address)
        if first and final.status >= 300:
            self.blame([f"our re-INVITE was answered {final.status}"])
        elif first:
            self.learn_answer(dialog, final.body, direction)

    def _give_up_on_ack(self, dialog: Dialog) -> None:
        self.blame(["a 200 never got its ACK"])
        if dialog.live:
            self.bury(dialog)
            self._send("BYE", dialog, self._bye_answered)
            self.settle()
