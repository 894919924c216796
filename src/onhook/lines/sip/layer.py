"""The transaction layer: brings messages to their transactions (RFC 3261 sections 17.1.3 and 17.2.3)."""

import logging
from collections.abc import Callable

from onhook.clock import Clock
from onhook.lines.sip.address import Destination, response_destination
from onhook.lines.sip.machine import ClientTransaction, Failure, ServerTransaction, Transaction, User, Wire
from onhook.lines.sip.message import BRANCH_COOKIE, MessageError, Request, Response, parse, stamp_source
from onhook.lines.sip.transaction import Event, Timing

log = logging.getLogger(__name__)

ServerKey = tuple[str, ...]


class TransactionLayer:
    """All running transactions of one user agent."""

    def __init__(self, wire: Wire, clock: Clock, timing: Timing) -> None:
        self.wire = wire
        self.clock = clock
        self.timing = timing
        self.user: User | None = None
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[ServerKey, ServerTransaction] = {}

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    def send(
        self,
        request: Request,
        destination: Destination,
        on_response: Callable[[Response], None],
        on_failure: Callable[[Failure], None],
    ) -> ClientTransaction:
        """Start a client transaction; the request is on the wire when this returns."""
        return self._begin(request, destination, on_response, on_failure, Event.START)

    def adopt(
        self,
        request: Request,
        destination: Destination,
        on_response: Callable[[Response], None],
        on_failure: Callable[[Failure], None],
    ) -> ClientTransaction:
        """Listen for the responses to an INVITE that left earlier; nothing is sent."""
        return self._begin(request, destination, on_response, on_failure, Event.ADOPT)

    def adopt_server(self, invite: Request, destination: Destination, user: User, arrived_at: int) -> ServerTransaction:
        """Take up a far end's INVITE that came in an earlier life (at `arrived_at`, ms), to be answered now."""
        transaction = ServerTransaction(invite, destination, destination, self, user)
        transaction.first_arrived_at = transaction.last_arrived_at = arrived_at
        self._servers[server_key(invite)] = transaction
        transaction.happen(Event.ADOPT)
        return transaction

    def receive(self, data: bytes, source: Destination) -> None:
        """Take one message from the network; what cannot be read is dropped."""
        try:
            message = parse(data)
        except MessageError as error:
            log.debug("dropped a message from %s:%d: %s", source.host, source.port, error)
            return
        if isinstance(message, Response):
            self._receive_response(message)
        else:
            self._receive_request(stamp_source(message, source.host, source.port), source)

    def unreachable(self, destination: Destination) -> None:
        """Take the transport's word that nobody is at `destination`."""
        for transaction in [one for one in self._clients.values() if one.destination == destination]:
            transaction.happen(Event.UNREACHABLE)

    def invite_of(self, cancel: Request) -> ServerTransaction | None:
        """Return the INVITE that a CANCEL means (RFC 3261 section 9.2)."""
        branch, sent_by, *_ = server_key(cancel)
        return self._servers.get((branch, sent_by, "INVITE"))

    def drop_all(self) -> None:
        """End every transaction silently: the process is going away."""
        for transaction in [*self._clients.values(), *self._servers.values()]:
            transaction.drop()

    def forget(self, transaction: Transaction) -> None:
        """Drop a transaction that is over; called by the transaction."""
        if isinstance(transaction, ClientTransaction):
            self._clients.pop(transaction.key, None)
        elif isinstance(transaction, ServerTransaction):
            self._servers.pop(server_key(transaction.request), None)

    def _begin(
        self,
        request: Request,
        destination: Destination,
        on_response: Callable[[Response], None],
        on_failure: Callable[[Failure], None],
        event: Event,
    ) -> ClientTransaction:
        transaction = ClientTransaction(request, destination, self, on_response, on_failure)
        self._clients[transaction.key] = transaction
        transaction.happen(event)
        return transaction

    def _receive_response(self, response: Response) -> None:
        transaction = self._clients.get((response.via.branch, response.cseq.method))
        if transaction is not None and _answers(response, transaction.request):
            transaction.receive(response)
        elif self.user is not None:
            self.user.on_stray_response(response)

    def _receive_request(self, request: Request, source: Destination) -> None:
        key = server_key(request)
        transaction = self._servers.get(key)
        if request.method == "ACK":
            if transaction is not None:
                transaction.receive_ack(request)
            elif self.user is not None:
                self.user.on_ack(request)
        elif transaction is not None:
            transaction.receive_again()
        elif self.user is not None:
            destination = response_destination(request, source)
            transaction = ServerTransaction(request, source, destination, self, self.user)
            self._servers[key] = transaction
            transaction.happen(Event.START)


def _answers(response: Response, request: Request) -> bool:
    """Branch and method matched; Call-ID and CSeq number must too, or the peer is confused."""
    return response.call_id == request.call_id and response.cseq.sequence == request.cseq.sequence


def server_key(request: Request) -> ServerKey:
    """Return what a repetition of a request, or its ACK, has in common with it (RFC 3261 section 17.2.3)."""
    method = "INVITE" if request.method == "ACK" else request.method
    via = request.via
    if via.branch.startswith(BRANCH_COOKIE):
        return via.branch, via.sent_by, method
    # RFC 2543: no branch to go by. The ACK's To carries our tag, the INVITE's does not, so To is left out.
    return request.uri, request.from_tag, request.call_id, str(request.cseq.sequence), via.sent_by, method
