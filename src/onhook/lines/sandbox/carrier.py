"""The sandbox carrier: a SIP user agent server on one UDP socket, whose numbers fail on purpose.

It shares no code with the engine that calls it, so each of the two is an independent judge of the other.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from onhook.clock import Clock, SystemClock, Timer
from onhook.lines.sandbox.calls import CallState, Packet, SandboxCall
from onhook.lines.sandbox.dialogs import CallMachine
from onhook.lines.sandbox.numbers import number_of
from onhook.lines.sandbox.transactions import LIFETIME, ClientTransaction, ServerTransaction
from onhook.lines.sandbox.uas import (
    ALLOW,
    Address,
    MalformedMessage,
    Request,
    Response,
    is_ipv4,
    parse,
    response,
    stamp,
    transaction_key,
    user_of,
)

MAX_CALLS = 10_000
MAX_PACKETS = 200_000
RECEIVE_BUFFER = 4 << 20


class SandboxCarrier:
    """A far end on loopback that does what the number dialled says.

    Start it with `await start()`, call `sip:+120255501NN@host:port`, and read `calls`, `packets` and
    `live_dialogs()`. `on_event(call, text)` is told each happening in words. It keeps the last
    `MAX_CALLS` calls. `host` is the IPv4 address that callers reach it at, since Contact and SDP name it;
    anything else raises `ValueError`.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, clock: Clock | None = None) -> None:
        if not is_ipv4(host) or host == "0.0.0.0":
            raise ValueError(f"not an IPv4 address that callers can reach: {host!r}")
        self.clock: Clock = clock or SystemClock()
        self.on_event: Callable[[SandboxCall, str], None] | None = None
        self.packets: deque[Packet] = deque(maxlen=MAX_PACKETS)
        self.malformed = 0
        self._bind: Address = (host, port)
        self._machines: dict[str, CallMachine] = {}
        self._servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self._clients: dict[str, ClientTransaction] = {}
        self._timers: set[Timer] = set()
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Bind the socket. Raises `OSError` when the port is taken."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            sock.setblocking(False)
            sock.bind(self._bind)
        except OSError:
            sock.close()
            raise
        self._bind = sock.getsockname()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self.receive), sock=sock)
        self._transport = transport

    @property
    def address(self) -> Address:
        """The host and port it listens on; the port is known after `start`."""
        return self._bind

    @property
    def calls(self) -> list[SandboxCall]:
        """All calls, oldest first."""
        return [machine.call for machine in self._machines.values()]

    def call(self, call_id: str) -> SandboxCall | None:
        """Return the call with this SIP Call-ID."""
        machine = self._machines.get(call_id)
        return machine.call if machine else None

    def live_dialogs(self) -> int:
        """Return how many dialogs are live at the far end.

        An INVITE counts from its acceptance to its final response, each answered fork until a BYE (one that
        the script loses has not arrived).
        """
        return sum(machine.call.live_dialogs for machine in self._machines.values())

    async def close(self) -> None:
        """Stop everything; calls and packets stay readable."""
        for machine in self._machines.values():
            machine.close()
        for server in self._servers.values():
            server.close()
        for client in self._clients.values():
            client.close()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await asyncio.sleep(0)

    # The wire, as calls and transactions see it

    def transmit(self, message: Request | Response, to: Address) -> None:
        """Log one datagram and send it."""
        if self._transport is not None:
            self._log("out", message)
            self._transport.sendto(message.encode(), to)

    def request(
        self,
        request: Request,
        to: Address,
        on_final: Callable[[Response, bool], None],
        on_silence: Callable[[], None],
    ) -> None:
        """Start a client transaction."""
        self._clients[request.branch] = ClientTransaction(self, request, to, on_final, on_silence)
        self._later(2 * LIFETIME, lambda: self._clients.pop(request.branch).close())

    def tell(self, call: SandboxCall, text: str) -> None:
        """Report one happening in words."""
        if self.on_event is not None:
            self.on_event(call, text)

    # Arrivals

    def receive(self, data: bytes, source: Address) -> None:
        """Take one datagram; what is no SIP message is only counted."""
        if not data.strip():
            return
        try:
            message = parse(data)
        except MalformedMessage:
            self.malformed += 1
            return
        self._log("in", message)
        if isinstance(message, Response):
            client = self._clients.get(message.branch)
            if client is not None:
                client.receive(message)
            return
        self._take(stamp(message, source), source)

    def _take(self, request: Request, source: Address) -> None:
        machine = self._machine_of(request)
        if machine is not None and machine.loses(request.method):
            return
        key = transaction_key(request)
        known = self._servers.get(key)
        if request.method == "ACK":
            self._take_ack(request, machine, known)
        elif known is not None:
            known.repeat()
        else:
            transaction = self._servers[key] = ServerTransaction(self, request, source)
            self._dispatch(transaction, machine)
            self._later(LIFETIME, lambda: self._forget(key))

    def _take_ack(self, request: Request, machine: CallMachine | None, invite: ServerTransaction | None) -> None:
        if machine is None:
            return
        if invite is not None and invite.final is not None and invite.final.status >= 300:
            machine.acknowledge_refusal(request, invite)
        else:
            machine.acknowledge(request)

    def _dispatch(self, transaction: ServerTransaction, machine: CallMachine | None) -> None:
        request = transaction.request
        if machine is not None and request.method == "CANCEL":
            branch, sent_by, _ = transaction_key(request)
            machine.cancel(transaction, self._servers.get((branch, sent_by, "INVITE")))
        elif machine is not None and request.to_tag is not None:
            machine.in_dialog(transaction)
        elif machine is not None and request.method == "INVITE":
            machine.invite(transaction)
        elif request.method == "OPTIONS":
            transaction.respond(response(request, 200, tag="sandbox", extra=(("Allow", ALLOW),)))
        else:
            unknown = request.to_tag is not None or request.method in ("BYE", "CANCEL")
            status = 481 if unknown else 405
            transaction.respond(response(request, status, tag="sandbox", extra=(("Allow", ALLOW),)))

    def _machine_of(self, request: Request) -> CallMachine | None:
        """Return the call of a request; an INVITE outside a dialog makes one if it is the first."""
        machine = self._machines.get(request.call_id)
        if request.method != "INVITE" or request.to_tag is not None:
            return machine
        if machine is None:
            user = user_of(request.uri)
            call = SandboxCall(request.call_id, user, number_of(user))
            machine = self._machines[request.call_id] = CallMachine(self, call)
            call.packets.append(self.packets[-1])
            self._drop_oldest()
        if request.branch not in machine.call.branches:
            machine.call.branches.append(request.branch)
            self.tell(machine.call, f"is called (number {machine.call.number.digits}: {machine.call.number.title})")
        return machine

    def _drop_oldest(self) -> None:
        if len(self._machines) > MAX_CALLS:
            over = (name for name, machine in self._machines.items() if machine.call.state is CallState.OVER)
            self._machines.pop(next(over, next(iter(self._machines)))).close()

    def _log(self, direction: str, message: Request | Response) -> None:
        packet = Packet.of(self.clock.now_ms(), direction, message)
        self.packets.append(packet)
        machine = self._machines.get(message.call_id)
        if machine is not None:
            machine.call.packets.append(packet)

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            callback()

        timer = self.clock.call_later(delay, run)
        self._timers.add(timer)

    def _forget(self, key: tuple[str, str, str]) -> None:
        """Forget a transaction 64*T1 after its final response (timers H and J); look again while it has none."""
        transaction = self._servers[key]
        if transaction.final is None:
            self._later(LIFETIME, lambda: self._forget(key))
        else:
            self._servers.pop(key).close()


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams on."""

    def __init__(self, receive: Callable[[bytes, Address], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take one datagram."""
        self._receive(data, addr)
