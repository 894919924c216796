"""uvicorn's HTTP protocol with an answer to clients that are slow on purpose.

uvicorn has a time-out for idle connections after a response, and none for a request that never gets
complete or a response that is never read. One timer per connection covers those.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""How many bytes may come before a request's headers are complete."""

BAD_REQUEST = (
    b'{"type":"about:blank","title":"Bad Request","status":400,"code":"bad_request","detail":"This is not HTTP."}'
)
HEAD_TOO_LARGE = (
    b'{"type":"about:blank","title":"Request Header Fields Too Large","status":431,"code":"head_too_large",'
    b'"detail":"The request line and headers are too large."}'
)


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection that owes us something for longer than `slow_client_s`.

    The clock runs from the connection's first moment to the end of its first request, from each later
    request's first byte to its last, and while a response waits for the client to read. It does not run while we
    work on a request.
    """

    slow_client_s = 10.0

    _patience: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing is closed."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and bound what may come before the headers are complete."""
        super().data_received(data)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start the clock at a request's first byte."""
        self._in_head = True
        self._head_bytes = 0
        self._start_clock()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that a body, if any, follows."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock: the request is whole."""
        self._stop_clock()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Start the clock: the client does not read."""
        self._start_clock()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Stop the clock: the client reads again."""
        self._stop_clock()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem document (RFC 9457)."""
        self._refuse(b"400 Bad Request", BAD_REQUEST)

    def _refuse(self, status: bytes, body: bytes) -> None:
        if self.transport.is_closing():
            return
        head = (
            b"HTTP/1.1 %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()

    def _start_clock(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self.slow_client_s, self._give_up)

    def _stop_clock(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        self.transport.abort()


def guarded(slow_client_s: float) -> type[GuardedProtocol]:
    """Return the protocol with its patience set."""
    return type("GuardedProtocol", (GuardedProtocol,), {"slow_client_s": slow_client_s})
