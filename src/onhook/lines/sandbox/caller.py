"""The sandbox's caller: a far end that calls a server, over UDP or TCP.

Like the carrier it shares no code with the engine, so that each can judge the other.
"""

from collections.abc import Callable

from onhook.clock import Clock, SystemClock, Timer
from onhook.lines.sandbox.outgoing import CallerState, OutgoingCall, Plan
from onhook.lines.sandbox.sockets import Sockets, TcpSockets, UdpSockets
from onhook.lines.sandbox.transactions import LIFETIME, ClientTransaction, ServerTransaction
from onhook.lines.sandbox.uas import (
    Address,
    MalformedMessage,
    Request,
    Response,
    parse,
    place_of,
    response,
    stamp,
    transaction_key,
)

__all__ = ["CallerState", "OutgoingCall", "Plan", "SandboxCaller"]

NOWHERE: Address = ("", 0)


class SandboxCaller:
    """Calls SIP URIs. `await start()`, then `call = await caller.call("sip:+1202...@host:port")`.

    `on_event(call, text)` is told each happening in words.
    """

    def __init__(self, host: str = "127.0.0.1", *, transport: str = "udp", clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.transport = transport
        self.calls: dict[str, OutgoingCall] = {}
        self.on_event: Callable[[OutgoingCall, str], None] = lambda _call, _text: None
        self._address: Address = (host, 0)
        self._sockets: Sockets = (UdpSockets if transport == "udp" else TcpSockets)(self._receive)
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self._timers: set[Timer] = set()

    async def start(self) -> None:
        """Bind the socket. Raises `OSError`."""
        self._address = await self._sockets.open(self._address[0])

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    async def call(self, uri: str, plan: Plan | None = None) -> OutgoingCall:
        """Call `uri`; its INVITE has left when this returns.

        Raises `ValueError` for a URI without an IPv4 address, `OSError` when nobody listens there (TCP).
        """
        place = place_of(uri, NOWHERE)
        if place == NOWHERE:
            raise ValueError(f"not a SIP URI with an IPv4 address: {uri!r}")
        await self._sockets.reach(place)
        call = OutgoingCall(self, uri, plan or Plan())
        self.calls[call.call_id] = call
        call.dial()
        return call

    async def close(self) -> None:
        """Stop everything; nothing is sent."""
        for client in self._clients.values():
            client.close()
        for server in self._servers.values():
            server.close()
        for timer in self._timers:
            timer.cancel()
        for call in self.calls.values():
            call.close()
        await self._sockets.close()

    # The wire, as calls and transactions see it

    def transmit(self, message: Request | Response, to: Address) -> None:
        """Send one message."""
        if (call := self.calls.get(message.call_id)) is not None:
            call.note("out", message)
            self.on_event(call, f"-> {message.what}")
        self._sockets.send(message.encode(), to)

    def request(
        self, request: Request, to: Address, on_final: Callable[[Response, bool], None], on_silence: Callable[[], None]
    ) -> ClientTransaction:
        """Start a client transaction."""
        key = (request.branch, request.method)
        client = self._clients[key] = ClientTransaction(self, request, to, on_final, on_silence)
        return client

    # Arrivals

    def _receive(self, data: bytes, source: Address) -> None:
        try:
            message = parse(data)
        except MalformedMessage:
            return
        call = self.calls.get(message.call_id)
        if call is not None:
            call.note("in", message)
            self.on_event(call, f"<- {message.what}")
        if isinstance(message, Request):
            self._take(stamp(message, source), call, source)
        elif call is not None and (client := self._clients.get((message.branch, message.cseq_method))) is not None:
            call.heed(message)
            client.receive(message)

    def _take(self, request: Request, call: OutgoingCall | None, source: Address) -> None:
        key = transaction_key(request)
        if request.method == "ACK":
            return
        if key in self._servers:
            self._servers[key].repeat()
            return
        server = self._servers[key] = ServerTransaction(self, request, source)
        self._later(LIFETIME, lambda: self._servers.pop(key).close())
        if call is None:
            server.respond(response(request, 481, tag="stranger"))
        else:
            call.take(server)

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            callback()

        timer = self.clock.call_later(delay, run)
        self._timers.add(timer)
