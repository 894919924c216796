"""Client and server transactions: the tables of `transaction.py`, run on a clock. No sockets here."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from onhook.clock import Clock
from onhook.clock import Timer as PendingTimer
from onhook.lines.sip.address import Destination
from onhook.lines.sip.message import Header, Request, Response, respond
from onhook.lines.sip.transaction import (
    ABSORBING,
    CLIENT_INVITE,
    CLIENT_NON_INVITE,
    REPEATING,
    SERVER_INVITE,
    SERVER_NON_INVITE,
    TIMER_EVENTS,
    TIMER_LENGTHS,
    Action,
    Event,
    Machine,
    State,
    Timer,
    Timing,
)

OnLeft = Callable[[], None]
"""Told that a message left."""


class Wire(Protocol):
    """Where bytes leave."""

    def send(self, data: bytes, destination: Destination, on_left: OnLeft | None = None) -> None:
        """Send one message; `on_left` is called when it is with the kernel, which may be later or never.

        Failures are reported to the transaction layer, never raised.
        """
        ...


class Failure(StrEnum):
    """Why a client transaction ended without a final response."""

    TIMEOUT = "timeout"
    """Timer B or F."""
    UNREACHABLE = "unreachable"
    """The network said that nobody is there."""


class User(Protocol):
    """The user agent above."""

    def on_request(self, transaction: "ServerTransaction") -> None:
        """Take a new request, to be answered through its transaction."""
        ...

    def on_ack(self, ack: Request) -> None:
        """Take the ACK to a 2xx of ours, or one that belongs to nothing."""
        ...

    def on_stray_response(self, response: Response) -> None:
        """Take a response that belongs to no running transaction."""
        ...


class Services(Protocol):
    """What transactions need of their layer."""

    clock: Clock
    timing: Timing
    wire: Wire

    def forget(self, transaction: "Transaction") -> None:
        """Drop a transaction that is over."""
        ...


class Transaction:
    """A machine and its running timers. `state` is open to read."""

    def __init__(self, machine: Machine, request: Request, destination: Destination, services: Services) -> None:
        self.request = request
        self.destination = destination
        self.state = State.INITIAL
        self._machine = machine
        self._services = services
        self._timers: dict[Timer, PendingTimer] = {}
        self._actions: dict[Action, Callable[[], None]] = {}

    def happen(self, event: Event) -> bool:
        """Make the move that `event` calls for; False when the table has none."""
        move = self._machine.moves.get((self.state, event))
        if move is None:
            return False
        state, actions = move
        self._enter(state)
        for action in actions:
            self._actions[action]()
        return True

    def drop(self) -> None:
        """End at once, silently."""
        self._enter(State.TERMINATED)

    def _enter(self, state: State) -> None:
        if state is self.state:
            return
        self.state = state
        wanted = self._machine.timers.get(state, ())
        for timer in [timer for timer in self._timers if timer not in wanted]:
            self._timers.pop(timer).cancel()
        for timer in wanted:
            if timer not in self._timers:
                self._start(timer, fired=0)
        if state is State.TERMINATED:
            self._services.forget(self)

    def _start(self, timer: Timer, fired: int) -> None:
        if not (self.destination.reliable and timer in REPEATING):
            self._run(timer, fired)

    def _run(self, timer: Timer, fired: int) -> None:
        at_once = self.destination.reliable and timer in ABSORBING
        length = 0.0 if at_once else TIMER_LENGTHS[timer](self._services.timing, fired, self.state)
        self._timers[timer] = self._services.clock.call_later(length, lambda: self._fire(timer, fired))

    def _fire(self, timer: Timer, fired: int) -> None:
        del self._timers[timer]
        if timer in REPEATING:
            self._start(timer, fired + 1)
        self.happen(TIMER_EVENTS[timer])


class ClientTransaction(Transaction):
    """One request of ours.

    It counts what a capture would show, not what was tried: `sends`, `first_sent_at`, `last_sent_at`, and the last
    `status` with the moment it first came, `status_at` (ms since the epoch).
    """

    def __init__(
        self,
        request: Request,
        destination: Destination,
        services: Services,
        on_response: Callable[[Response], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        machine = CLIENT_INVITE if request.method == "INVITE" else CLIENT_NON_INVITE
        super().__init__(machine, request, destination, services)
        self.sends = 0
        self.first_sent_at = 0
        self.last_sent_at = 0
        self.status: int | None = None
        self.status_at: int | None = None
        self._breaks = 0
        self._on_response = on_response
        self._response: Response | None = None
        self._data = request.encode()
        self._actions = {
            Action.SEND: self._send,
            Action.PASS: self._pass,
            Action.REPEAT: self._repeat,
            Action.ACK: self._acknowledge,
            Action.TELL_TIMEOUT: lambda: on_failure(Failure.TIMEOUT),
            Action.TELL_UNREACHABLE: lambda: on_failure(Failure.UNREACHABLE),
        }

    @property
    def key(self) -> tuple[str, str]:
        """What a response must match: branch and method (RFC 3261 section 17.1.3)."""
        return self.request.via.branch, self.request.method

    def receive(self, response: Response) -> None:
        """Take a response that matched. The first final one stays on record: the far end cannot take it back."""
        self._response = response
        if response.status != self.status and (self.status or 0) < 200:
            self.status, self.status_at = response.status, self._services.clock.now_ms()
        self.happen(_response_event(response.status))

    def _send(self) -> None:
        self._services.wire.send(self._data, self.destination, self._left)

    def _left(self) -> None:
        self.sends += 1
        self.last_sent_at = self._services.clock.now_ms()
        self.first_sent_at = self.first_sent_at or self.last_sent_at

    def _repeat(self) -> None:
        """Over UDP timer E runs anyway; over TCP it runs once for each connection that broke."""
        if Timer.E not in self._timers:
            self._run(Timer.E, self._breaks)
            self._breaks += 1

    def _pass(self) -> None:
        if self._response is not None:
            self._on_response(self._response)

    def _acknowledge(self) -> None:
        if self._response is not None:
            self._services.wire.send(ack_of_failure(self.request, self._response).encode(), self.destination)


class ServerTransaction(Transaction):
    """One request of the far end. `source` is where it came from, `destination` where responses go.

    It counts what a capture would show: `arrivals`, `first_arrived_at`, `last_arrived_at`, and when the final response
    first left, `final_at` (ms since the epoch). `on_refused` is called once a final response of 300 or more to an
    INVITE is over: with True when its ACK came, with False when none came in 64*T1.
    """

    def __init__(
        self, request: Request, source: Destination, destination: Destination, services: Services, user: User
    ) -> None:
        machine = SERVER_INVITE if request.method == "INVITE" else SERVER_NON_INVITE
        super().__init__(machine, request, destination, services)
        self.source = source
        self.response: Response | None = None
        self.arrivals = 1
        self.first_arrived_at = self.last_arrived_at = services.clock.now_ms()
        self.final_at: int | None = None
        self.on_refused: Callable[[bool], None] = lambda _acknowledged: None
        self._ack: Request | None = None
        self._user = user
        self._actions = {
            Action.SEND: self._send,
            Action.PASS: self._pass,
            Action.TELL_ACKNOWLEDGED: lambda: self.on_refused(True),
            Action.TELL_TIMEOUT: lambda: self.on_refused(False),
        }

    def respond(self, status: int, *, tag: str = "", headers: tuple[Header, ...] = (), body: bytes = b"") -> Response:
        """Send a response; `tag` goes into a To that has none. Returns it."""
        response = respond(self.request, status, tag=tag, headers=headers, body=body)
        self.response = response
        if status >= 200 and self.final_at is None:
            self.final_at = self._services.clock.now_ms()
        self.happen(_response_event(status))
        return response

    def respond_again(self) -> None:
        """Send a 2xx to an INVITE again: its repetition is the user's task (RFC 3261 section 13.3.1.4)."""
        self.happen(Event.SUCCESS)

    def receive_again(self) -> None:
        """Take a repetition of the request."""
        self.arrivals += 1
        self.last_arrived_at = self._services.clock.now_ms()
        self.happen(Event.REQUEST)

    def receive_ack(self, ack: Request) -> None:
        """Take the ACK to our final response."""
        self._ack = ack
        self.happen(Event.ACK)

    def _send(self) -> None:
        if self.response is not None:
            self._services.wire.send(self.response.encode(), self.destination)

    def _pass(self) -> None:
        if self._ack is None:
            self._user.on_request(self)
        else:
            self._user.on_ack(self._ack)


def _response_event(status: int) -> Event:
    if status < 200:
        return Event.PROVISIONAL
    return Event.SUCCESS if status < 300 else Event.FAILURE


def ack_of_failure(invite: Request, response: Response) -> Request:
    """Return the ACK inside the transaction: same branch, same Route, the response's To (RFC 3261 section 17.1.1.3)."""
    headers = (
        ("Via", invite.raw("Via")[0]),
        *(("Route", value) for value in invite.raw("Route")),
        ("Max-Forwards", "70"),
        ("From", invite.first("From") or ""),
        ("To", response.first("To") or ""),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{invite.cseq.sequence} ACK"),
    )
    return Request(method="ACK", uri=invite.uri, headers=headers)
