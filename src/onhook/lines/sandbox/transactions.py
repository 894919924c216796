"""Sending again until somebody answers: the timers of RFC 3261 section 17, for the sandbox."""

from collections.abc import Callable
from typing import Protocol

from onhook.clock import Clock
from onhook.lines.sandbox.uas import Address, Request, Response, reply_address

T1 = 0.5
T2 = 4.0
LIFETIME = 64 * T1


class Wire(Protocol):
    """What a transaction needs of the carrier."""

    @property
    def clock(self) -> Clock:
        """The carrier's clock."""
        ...

    def transmit(self, message: Request | Response, to: Address) -> None:
        """Log one datagram and send it."""
        ...


class Resender:
    """Sends again after T1, then at doubled intervals of at most `ceiling`, until stopped or 64*T1 passed."""

    def __init__(
        self, clock: Clock, send: Callable[[], None], give_up: Callable[[], None], *, ceiling: float = T2
    ) -> None:
        self._clock = clock
        self._send = send
        self._give_up = give_up
        self._ceiling = ceiling
        self._interval = T1
        self._left = LIFETIME
        self._timer = clock.call_later(T1, self._again)

    def stop(self) -> None:
        """Send no more."""
        self._timer.cancel()

    def _again(self) -> None:
        self._send()
        self._left -= self._interval
        self._interval = min(2 * self._interval, self._ceiling)
        if self._interval < self._left:
            self._timer = self._clock.call_later(self._interval, self._again)
        else:
            self._timer = self._clock.call_later(self._left, self._give_up)


class ServerTransaction:
    """One request that came from `source`, and what a repeat of it is answered with."""

    def __init__(self, wire: Wire, request: Request, source: Address) -> None:
        self.request = request
        self.final: Response | None = None
        self._wire = wire
        self.source = source
        self._to = reply_address(request, source)
        self._replies: list[Response] = []
        self._resender: Resender | None = None

    @property
    def replied(self) -> bool:
        """True once any response was sent."""
        return bool(self._replies)

    def respond(self, response: Response, on_unacknowledged: Callable[[], None] | None = None) -> None:
        """Send a response; repeats of the request get it again, with those of the same status (forks).

        A final of 300 or more to an INVITE is sent again until its ACK (timers G and H); with no ACK in
        64*T1 `on_unacknowledged` runs. Sending a 2xx again is for the dialog to do (RFC 3261 13.3.1.4).
        """
        if self._replies and self._replies[-1].status != response.status:
            self._replies.clear()
        self._replies.append(response)
        self._wire.transmit(response, self._to)
        if response.status >= 200:
            self.final = response
        if response.status >= 300 and on_unacknowledged is not None:
            self._resender = Resender(self._wire.clock, self.repeat, on_unacknowledged)

    def send_again(self, response: Response) -> None:
        """Put one response on the wire once more."""
        self._wire.transmit(response, self._to)

    def repeat(self) -> None:
        """Answer a repeat of the request; silence while nothing was answered."""
        for response in self._replies:
            self._wire.transmit(response, self._to)

    def close(self) -> None:
        """Stop sending again: the ACK came, or the carrier closes."""
        if self._resender is not None:
            self._resender.stop()


class ClientTransaction:
    """A request of ours inside a dialog, sent again until its final response (timers A, B, E, F).

    `on_final` gets each final response and whether it is the first; repeats matter to a re-INVITE, whose
    every 200 wants an ACK. `on_silence` runs when none came in 64*T1.
    """

    def __init__(
        self,
        wire: Wire,
        request: Request,
        to: Address,
        on_final: Callable[[Response, bool], None],
        on_silence: Callable[[], None],
    ) -> None:
        self.request = request
        self.done = False
        self._on_final = on_final
        self._on_silence = on_silence
        wire.transmit(request, to)
        self._resender = Resender(
            wire.clock,
            lambda: wire.transmit(request, to),
            self._silence,
            ceiling=LIFETIME if request.method == "INVITE" else T2,
        )

    def receive(self, response: Response) -> None:
        """Take a response; one to another method is not for this transaction (RFC 3261 17.1.3)."""
        if response.cseq_method != self.request.method:
            return
        if response.status >= 200 or self.request.method == "INVITE":
            self._resender.stop()
        if response.status >= 200:
            first, self.done = not self.done, True
            self._on_final(response, first)

    def close(self) -> None:
        """Send no more."""
        self._resender.stop()

    def _silence(self) -> None:
        self.done = True
        self._on_silence()
