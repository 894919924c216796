"""One call that the sandbox's caller makes: a user agent client (RFC 3261 13.2), and a judge of whom it calls."""

import asyncio
import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from onhook.clock import Clock
from onhook.lines.sandbox.calls import Packet
from onhook.lines.sandbox.digest import answer_to_challenge
from onhook.lines.sandbox.media import Audio, Echo, UnusableSdp, read_sdp, write_sdp
from onhook.lines.sandbox.session import SDP
from onhook.lines.sandbox.talker import Line, Talker
from onhook.lines.sandbox.transactions import ClientTransaction, ServerTransaction
from onhook.lines.sandbox.uas import ALLOW, Address, Headers, Request, Response, parameter, place_of, response, uri_of


class CallerState(StrEnum):
    """How a call stands, as the one who made it knows."""

    CALLING = "calling"
    RINGING = "ringing"
    ANSWERED = "answered"
    OVER = "over"


class Plan(msgspec.Struct, frozen=True):
    """How a call is made.

    `offers` False leaves the offer to whom is called, `acknowledges` False never sends the ACK of a 2xx. `lines` are
    what the caller says; without them it echoes. `account` answers a 401. `headers` are added to the INVITE.
    """

    from_number: str = "+12025550177"
    offers: bool = True
    acknowledges: bool = True
    lines: tuple[Line, ...] | None = None
    account: tuple[str, str] | None = None
    headers: Headers = ()


class CallerWire(Protocol):
    """What a call needs of its caller."""

    @property
    def clock(self) -> Clock:
        """The caller's clock."""
        ...

    @property
    def address(self) -> Address:
        """Where the caller listens."""
        ...

    @property
    def transport(self) -> str:
        """`udp` or `tcp`."""
        ...

    def request(
        self, request: Request, to: Address, on_final: Callable[[Response, bool], None], on_silence: Callable[[], None]
    ) -> ClientTransaction:
        """Start a client transaction."""
        ...

    def transmit(self, message: Request | Response, to: Address) -> None:
        """Send one message outside any transaction."""
        ...


class OutgoingCall:
    """One call. `statuses` are those of the responses to its INVITE as they came, repetitions included.

    `final` is the status that decided it, `faults` what the other side did against the RFC, `packets` all messages.
    """

    def __init__(self, wire: CallerWire, uri: str, plan: Plan) -> None:
        self.call_id = f"{secrets.token_hex(8)}@sandbox"
        self.tag = secrets.token_hex(8)
        self.state = CallerState.CALLING
        self.final: int | None = None
        self.statuses: list[int] = []
        self.faults: list[str] = []
        self.packets: list[Packet] = []
        host, _ = wire.address
        self.echo = Echo(host) if plan.lines is None else Talker(host, plan.lines)
        self._wire = wire
        self._uri = uri
        self._plan = plan
        self._cseq = 0
        self._their_cseq = 0
        self._to_tag: str | None = None
        self._target = uri
        self._routes: list[str] = []
        self._invite: Request | None = None
        self._acks: dict[int, Request] = {}
        self._cancelled = False
        self._news = asyncio.Event()

    # --- what the caller does

    def dial(self) -> None:
        """Send the INVITE."""
        self._send_invite(())

    def cancel(self) -> None:
        """Give up while nobody has answered; before any response there is nothing to cancel yet (RFC 3261 9.1)."""
        self._cancelled = True
        invite = self._invite
        if invite is not None and self.statuses and self.final is None:
            headers = tuple(h for h in invite.headers if h[0] in ("Via", "Max-Forwards", "From", "To", "Call-ID"))
            cancel = Request((*headers, ("CSeq", f"{invite.cseq} CANCEL")), b"", "CANCEL", invite.uri)
            self._ask(cancel, lambda final, first: self._blame_unless(first and final.status == 200, "CANCEL"))

    def hang_up(self) -> None:
        """Send a BYE in the answered dialog."""
        if self.state is CallerState.ANSWERED:
            self._become(CallerState.OVER)
            self._ask(self._in_dialog("BYE"), lambda final, _: self._blame_unless(final.status in (200, 481), "BYE"))

    def change(self, direction: str) -> None:
        """Send a re-INVITE: `sendonly` puts the call on hold, `sendrecv` takes it back."""
        body = self._describe(direction)
        self._ask(self._in_dialog("INVITE", body), self._reinvite_answered)

    async def until(self, *states: CallerState, within: float = 5.0) -> None:
        """Wait for one of the states. Raises `TimeoutError`."""
        await self.satisfies(lambda: self.state in states, within)

    async def satisfies(self, true: Callable[[], bool], within: float = 5.0) -> None:
        """Wait until `true`, looked at after each message. Raises `TimeoutError`."""
        async with asyncio.timeout(within):
            while not true():
                self._news.clear()
                await self._news.wait()

    def close(self) -> None:
        """Close the audio; nothing is sent."""
        self.echo.close()

    # --- what comes

    def note(self, direction: str, message: Request | Response) -> None:
        """Log one message, `in` or `out`."""
        self.packets.append(Packet.of(self._wire.clock.now_ms(), direction, message))
        self._news.set()

    def heed(self, message: Response) -> None:
        """Take note of a response to the INVITE before its transaction does."""
        if message.cseq_method != "INVITE" or self._invite is None or message.cseq != self._invite.cseq:
            return
        self.statuses.append(message.status)
        if message.status > 100:
            self._judge_tag(message)
        if 100 < message.status < 200 and self.state is CallerState.CALLING:
            self._become(CallerState.RINGING)
        if self._cancelled and message.status < 200 and len(self.statuses) == 1:
            self.cancel()

    def take(self, transaction: ServerTransaction) -> None:
        """Serve a request in the dialog."""
        request = transaction.request
        if request.to_tag != self.tag or parameter(request.header("From"), "tag") != self._to_tag:
            self.faults.append(f"{request.method} belongs to no dialog")
            self._reply(transaction, 481)
        elif request.cseq <= self._their_cseq:
            self.faults.append(f"{request.method} with CSeq {request.cseq} after {self._their_cseq}")
            self._reply(transaction, 500)
        else:
            self._their_cseq = request.cseq
            self._serve(transaction)

    # --- inside

    def _serve(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if request.method == "BYE":
            if self.final is None:
                self.faults.append("BYE of an unanswered call")
            elif self._plan.acknowledges and not self._acks:
                self.faults.append("BYE before the ACK")
            self._reply(transaction, 200)
            self._become(CallerState.OVER)
        elif self.state is not CallerState.ANSWERED:
            self._reply(transaction, 481)
        elif request.method in ("INVITE", "UPDATE"):
            body = self._describe("sendrecv") if request.method == "INVITE" or request.body else b""
            session = tuple(h for h in request.headers if h[0] == "Session-Expires")
            self._reply(transaction, 200, (*self._contact(), *session, *(SDP if body else ())), body)
        elif request.method in ("OPTIONS", "INFO"):
            self._reply(transaction, 200)
        else:
            self._reply(transaction, 405, (("Allow", ALLOW),))

    def _send_invite(self, credentials: Headers) -> None:
        self._cseq += 1
        body = self._describe("sendrecv") if self._plan.offers else b""
        extra = (*self._plan.headers, ("Supported", "timer"), ("Allow", ALLOW), *credentials)
        self._invite = self._compose("INVITE", self._cseq, self._uri, extra, body)
        self._ask(self._invite, self._answered)

    def _answered(self, final: Response, first: bool) -> None:
        """Take a final response to the INVITE; every repetition wants its ACK again."""
        if final.status >= 300:
            self._refused(final, first)
            return
        if first:
            self.final = final.status
            self._open_dialog(final)
        if self._plan.acknowledges:
            self._acknowledge(final)
        if first and self._cancelled:
            self.hang_up()

    def _refused(self, final: Response, first: bool) -> None:
        invite = self._invite
        if invite is None or final.branch != invite.branch:
            return
        to = (("To", final.header("To")),)
        kept = tuple(h for h in invite.headers if h[0] in ("Via", "Max-Forwards", "From", "Call-ID"))
        ack = Request((*kept, *to, ("CSeq", f"{invite.cseq} ACK")), b"", "ACK", invite.uri)
        self._wire.transmit(ack, self._hop())
        if not first:
            return
        if final.status == 401 and self._plan.account is not None and self._cseq == 1:
            header = answer_to_challenge(final, "INVITE", self._uri, *self._plan.account)
            self._to_tag = None
            self._send_invite((header,))
        else:
            self.final = final.status
            self._become(CallerState.OVER)

    def _open_dialog(self, ok: Response) -> None:
        self._to_tag = ok.to_tag
        if not ok.header("Contact"):
            self.faults.append("200 without a Contact")
        self._target = uri_of(ok.header("Contact")) or self._uri
        self._routes = list(reversed(ok.values("Record-Route")))
        self._listen(ok.body)
        self.echo.start(self._wire.clock)
        self._become(CallerState.ANSWERED)

    def _acknowledge(self, ok: Response) -> None:
        """ACK a 2xx (RFC 3261 13.2.2.4); the first ACK carries our answer when the offer was theirs."""
        if ok.cseq not in self._acks:
            owes_answer = not self._plan.offers and self._invite is not None and ok.cseq == self._invite.cseq
            body = self._describe("sendrecv") if owes_answer else b""
            self._acks[ok.cseq] = self._compose("ACK", ok.cseq, self._target, (), body)
        self._wire.transmit(self._acks[ok.cseq], self._hop())

    def _reinvite_answered(self, final: Response, first: bool) -> None:
        if final.status < 300:
            self._acknowledge(final)
        if first:
            self._blame_unless(final.status == 200, "re-INVITE")
            self._listen(final.body)

    def _listen(self, body: bytes) -> None:
        try:
            self.echo.remote = read_sdp(body)
        except UnusableSdp as error:
            self.faults.append(f"unusable SDP: {error}")

    def _in_dialog(self, method: str, body: bytes = b"") -> Request:
        self._cseq += 1
        return self._compose(method, self._cseq, self._target, (), body)

    def _compose(self, method: str, cseq: int, uri: str, extra: Headers, body: bytes) -> Request:
        host, port = self._wire.address
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        to = f"<{self._uri}>" + (f";tag={self._to_tag}" if self._to_tag else "")
        headers: Headers = (
            ("Via", f"SIP/2.0/{self._wire.transport.upper()} {host}:{port};branch={branch};rport"),
            *(("Route", route) for route in self._routes),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{self._plan.from_number}@{host}>;tag={self.tag}"),
            ("To", to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
            *self._contact(),
            *extra,
            *(SDP if body else ()),
        )
        return Request(headers, body, method, uri)

    def _contact(self) -> Headers:
        host, port = self._wire.address
        suffix = "" if self._wire.transport == "udp" else f";transport={self._wire.transport}"
        return (("Contact", f"<sip:caller@{host}:{port}{suffix}>"),)

    def _describe(self, direction: str) -> bytes:
        host, _ = self._wire.address
        return write_sdp(Audio(host, self.echo.port, direction=direction), self._cseq)

    def _ask(self, request: Request, on_final: Callable[[Response, bool], None]) -> None:
        self._wire.request(request, self._hop(), on_final, lambda: self._unheard(request.method))

    def _unheard(self, method: str) -> None:
        self.faults.append(f"our {method} was never answered")
        self._become(CallerState.OVER)

    def _reply(self, transaction: ServerTransaction, status: int, extra: Headers = (), body: bytes = b"") -> None:
        transaction.respond(response(transaction.request, status, tag=self.tag, extra=extra, body=body))

    def _hop(self) -> Address:
        start = place_of(self._uri, self._wire.address)
        return place_of(uri_of(self._routes[0]) if self._routes else self._target, start)

    def _judge_tag(self, message: Response) -> None:
        """All responses of one callee have one tag (RFC 3261 8.2.6.2); here nobody forks."""
        if message.to_tag is None:
            self.faults.append(f"{message.status} without a To tag")
        elif self._to_tag not in (None, message.to_tag):
            self.faults.append(f"{message.status} with another To tag")
        if message.status < 200:
            self._to_tag = message.to_tag

    def _blame_unless(self, right: bool, what: str) -> None:
        if not right:
            self.faults.append(f"our {what} was refused")

    def _become(self, state: CallerState) -> None:
        if self.state is CallerState.OVER:
            return
        self.state = state
        if state is CallerState.OVER:
            self.echo.close()
        self._news.set()
