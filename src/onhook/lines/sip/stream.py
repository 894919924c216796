"""Cut a TCP byte stream into SIP messages by their Content-Length (RFC 3261 sections 18.3 and 20.14)."""

import re

MAX_HEADER_BYTES = 65_536
MAX_BODY_BYTES = 65_536

_END_OF_HEADER = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:(?:\r\n(?=[ \t]))?[ \t]*(\d{1,10})[ \t]*(?=\r\n)", re.I)


class StreamError(ValueError):
    """The stream cannot be cut into messages any more; the connection is to be closed."""


class MessageStream:
    """The receive side of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what came from the socket; return the messages that are whole now.

        CRLF keep-alives between messages (RFC 5626 section 3.5.1) are swallowed. Raises `StreamError` for
        a missing, repeated or unreadable Content-Length and for a header or body over its bound.
        """
        self._buffer += data
        messages: list[bytes] = []
        while (message := self._take()) is not None:
            messages.append(message)
        return messages

    def _take(self) -> bytes | None:
        self._swallow_keepalives()
        end = self._buffer.find(_END_OF_HEADER, self._searched)
        if max(end, 0) > MAX_HEADER_BYTES or (end < 0 and len(self._buffer) > MAX_HEADER_BYTES):
            raise StreamError(f"SIP header over {MAX_HEADER_BYTES} bytes")
        if end < 0:
            self._searched = max(0, len(self._buffer) - len(_END_OF_HEADER) + 1)
            return None
        self._searched = end
        size = end + len(_END_OF_HEADER) + _content_length(bytes(self._buffer[: end + 2]))
        if len(self._buffer) < size:
            return None
        message = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._searched = 0
        return message

    def _swallow_keepalives(self) -> None:
        skip = 0
        while self._buffer.startswith(b"\r\n", skip):
            skip += 2
        del self._buffer[:skip]


def _content_length(header: bytes) -> int:
    lengths = {int(found) for found in _CONTENT_LENGTH.findall(header)}
    if len(lengths) != 1:
        raise StreamError("a SIP message on a stream needs one readable Content-Length")
    length = lengths.pop()
    if length > MAX_BODY_BYTES:
        raise StreamError(f"SIP body over {MAX_BODY_BYTES} bytes")
    return length
