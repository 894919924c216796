"""uvicorn's HTTP protocol with an answer to clients that are slow on purpose.

uvicorn has a time-out for idle connections after a response, and none for a request that never gets
complete or a response that is never read. The timers here cover those.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""How many bytes may come before a request's headers are complete."""

REQUEST, READING = "a whole request", "reading"

BAD_REQUEST = (
    b'{"type":"about:blank","title":"Bad Request","status":400,"code":"bad_request","detail":"This is not HTTP."}'
)
HEAD_TOO_LARGE = (
    b'{"type":"about:blank","title":"Request Header Fields Too Large","status":431,"code":"head_too_large",'
    b'"detail":"The request line and headers are too large."}'
)


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection that owes us something for longer than `slow_client_s`.

    Two things may be owed. A whole request: from the connection's first moment, and from each later byte that
    begins one. Reading: while a response waits for the client to take it. Nothing is owed while we work.
    """

    slow_client_s = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait: a connection that says nothing is closed."""
        super().connection_made(transport)
        self._waiting_for: dict[str, asyncio.TimerHandle] = {}
        self._head_bytes = 0
        self._in_head = False
        self._wait_for(REQUEST)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._got(REQUEST)
        self._got(READING)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and bound what may come before the headers are complete."""
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for(REQUEST)  # stray bytes between requests end uvicorn's own time-out: they begin ours
        super().data_received(data)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request."""
        self._in_head = True
        self._head_bytes = 0
        self._wait_for(REQUEST)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that a body, if any, follows."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._got(REQUEST)
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        self._wait_for(READING)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self._got(READING)
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

    def _wait_for(self, what: str) -> None:
        if what not in self._waiting_for:
            self._waiting_for[what] = self.loop.call_later(self.slow_client_s, self.transport.abort)

    def _got(self, what: str) -> None:
        timer = self._waiting_for.pop(what, None)
        if timer is not None:
            timer.cancel()


def guarded(slow_client_s: float) -> type[GuardedProtocol]:
    """Return the protocol with its patience set."""
    return type("GuardedProtocol", (GuardedProtocol,), {"slow_client_s": slow_client_s})
