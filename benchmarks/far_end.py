"""A SIP far end for many calls, in a process of its own: answers every INVITE, echoes all audio, times arrivals.

It is cheap and knows nothing of onhook: one UDP socket for SIP, a few for RTP that all calls share (each has its own
receive buffer, so that a burst fits). Times are the kernel's (SO_TIMESTAMPNS): the moment a packet arrived on this
host, however late this process reads it. RTP of payload type 127 is a control stream: timed, not echoed.

It first says its ports as JSON. Each line on standard input is answered by a line: `reset` forgets what was seen so
far, `report` tells it.
"""

import re
import selectors
import socket
import struct
import sys
from collections.abc import Callable

import msgspec

MEDIA_SOCKETS = 16
CONTROL_PAYLOAD = 127
LATE_NS = 40_000_000
DRAIN = 64
"""How many RTP packets are read from one socket before SIP is looked at again."""

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("qq")
_COPIED = re.compile(r"(?im)^(?:via|from|call-id|cseq)[ \t]*:.*\r\n")


class Ports(msgspec.Struct, frozen=True):
    """Where the far end listens."""

    sip: int
    media: tuple[int, ...]


class Gaps(msgspec.Struct):
    """The gaps between the packets of a kind of stream, and how many were over 40 ms."""

    streams: int = 0
    gaps: int = 0
    late: int = 0

    @property
    def late_percent(self) -> float:
        """The share of late gaps."""
        return 100 * self.late / max(1, self.gaps)


class Report(msgspec.Struct, frozen=True):
    """What was seen since the last reset: when each Call-ID's first BYE came (ns since the epoch), and gaps."""

    byes: dict[str, int]
    calls: Gaps
    control: Gaps


class FarEnd:
    """The far end; `serve` returns at the end of standard input."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sip = _bind()
        self._media = [_bind() for _ in range(MEDIA_SOCKETS)]
        self._invites = 0
        self._reset()

    def serve(self) -> None:
        """Serve until nobody asks any more."""
        ports = Ports(_port(self._sip), tuple(_port(one) for one in self._media))
        print(msgspec.json.encode(ports).decode(), flush=True)
        for sock in self._media:
            self._selector.register(sock, selectors.EVENT_READ, self._media_reader(sock))
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._take_question)
        self._selector.register(self._sip, selectors.EVENT_READ, self._take_sip)
        while True:
            for key, _ in self._selector.select():
                self._take_sip()
                if not key.data():
                    return

    def reply(self, sock: socket.socket, packet: bytes, _at: int, source: tuple[str, int]) -> None:
        """Reply to a call's RTP packet, which came at `_at` (ns since the epoch): an echo."""
        sock.sendto(packet, source)

    def told(self, question: str) -> object:
        """Return the answer to a question on standard input."""
        if question == "reset":
            self._reset()
            return {}
        return Report(self._byes, self._gaps[False], self._gaps[True])

    def _reset(self) -> None:
        self._byes: dict[str, int] = {}
        self._last: dict[tuple[int, int], int] = {}
        self._gaps = {False: Gaps(), True: Gaps()}

    def _take_question(self) -> bool:
        question = sys.stdin.readline().strip()
        if question:
            print(msgspec.json.encode(self.told(question)).decode(), flush=True)
        return bool(question)

    def _take_sip(self) -> bool:
        while (received := _receive(self._sip, 8192)) is not None:
            data, at, source = received
            message = data.decode()
            method = message.partition(" ")[0]
            if method == "INVITE":
                self._invites += 1
                self._sip.sendto(_response(message, "180 Ringing", self._sip), source)
                media = self._media[self._invites % MEDIA_SOCKETS]
                self._sip.sendto(_response(message, "200 OK", self._sip, _sdp(_port(media))), source)
            elif method == "BYE":
                self._sip.sendto(_response(message, "200 OK", self._sip), source)
                found = re.search(r"(?im)^call-id[ \t]*:[ \t]*(.*?)\r$", message)
                assert found is not None
                self._byes.setdefault(found[1], at)
        return True

    def _media_reader(self, sock: socket.socket) -> Callable[[], bool]:
        own_port = _port(sock)

        def read() -> bool:
            for _ in range(DRAIN):
                received = _receive(sock, 2048)
                if received is None:
                    break
                data, at, source = received
                control = data[1] & 0x7F == CONTROL_PAYLOAD
                if not control:
                    self.reply(sock, data, at, source)
                self._count(self._gaps[control], (own_port, source[1]), at)
            return True

        return read

    def _count(self, gaps: Gaps, stream: tuple[int, int], at: int) -> None:
        last = self._last.get(stream)
        if last is None:
            gaps.streams += 1
        else:
            gaps.gaps += 1
            gaps.late += at - last > LATE_NS
        self._last[stream] = at


def _receive(sock: socket.socket, size: int) -> tuple[bytes, int, tuple[str, int]] | None:
    """Read a datagram with the time at which it came; None when there is none."""
    try:
        data, ancillary, _, source = sock.recvmsg(size, 64)
    except BlockingIOError:
        return None
    seconds, nanos = _TIMESPEC.unpack(ancillary[0][2])
    return data, seconds * 1_000_000_000 + nanos, source


def _response(request: str, status: str, sock: socket.socket, body: str = "") -> bytes:
    """Answer a request (RFC 3261 8.2.6.2); the tag is the same for all calls, their Call-IDs are not."""
    copied = "".join(_COPIED.findall(request))
    to = re.search(r"(?im)^to[ \t]*:[ \t]*(.*?)\r$", request)
    assert to is not None
    tag = "" if ";tag=" in to[1] else ";tag=far"
    kind = "Content-Type: application/sdp\r\n" if body else ""
    own = f"To: {to[1]}{tag}\r\nContact: <sip:far@127.0.0.1:{_port(sock)}>\r\n{kind}Content-Length: {len(body)}\r\n"
    return f"SIP/2.0 {status}\r\n{copied}{own}\r\n{body}".encode()


def _sdp(port: int) -> str:
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
    )


def _bind() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def _port(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


if __name__ == "__main__":
    FarEnd().serve()
