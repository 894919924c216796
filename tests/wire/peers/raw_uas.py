"""A scripted SIP far end on a raw UDP socket; it shares no code with onhook and writes down every packet.

A script says, per method, what happens at the first arrival, at the second, and so on; the last line repeats. An
arrival is either `LOST` or answered by acts. A retransmission of an answered request repeats the last response and
uses up no line of the script (RFC 3261 17.2). Final responses to INVITE are retransmitted until the ACK.
"""

import heapq
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tests.wire.peers import compose
from tests.wire.peers.compose import Act
from tests.wire.peers.packet import Packet, PacketLog

Lines = Sequence[tuple[Act, ...] | None]
Script = Mapping[str, Lines]
LOST, OK = None, (Act("200 OK"),)
ANSWER = (Act("100 Trying"), Act("180 Ringing", 0.02), Act("200 OK", 0.05))
RING = (Act("100 Trying"), Act("180 Ringing", 0.02))
CANCELLED = (Act("200 OK"), Act("487 Request Terminated", to="INVITE"))
DEFAULTS: Script = {"INVITE": [ANSWER], "ACK": [()], "CANCEL": [CANCELLED]}


class RawUas:
    """The far end: a thread, a blocking socket, a heap of things to say later.

    `verified` and `faults` name the requests whose digest was right or wrong, as "METHOD CSEQ".
    """

    def __init__(self, script: Script | None = None, media_port: int = 0) -> None:
        self.log, self.verified, self.faults = PacketLog(), list[str](), list[str]()
        self._script = {method: list(lines) for method, lines in {**DEFAULTS, **(script or {})}.items()}
        self._seen: dict[tuple[str, str], str] = {}  # (branch, method) -> the last response, "" before there is one
        self._newest: dict[str, Packet] = {}
        self._acked: set[tuple[str, int, str]] = set()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order, self._cseq, self._last_request, self._last_branch = itertools.count(1), 100, "", ""
        self._changed, self._closing, self._peer = threading.Condition(), False, ("127.0.0.1", 0)
        self._socket, self._media = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._socket.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS: times of arrival are the kernel's
        self._socket.bind(("127.0.0.1", 0))
        self._media.bind(("127.0.0.1", 0))  # takes what is sent to it, reads nothing
        self.port: int = self._socket.getsockname()[1]
        self.media_port: int = media_port or self._media.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Fall silent; harmless when repeated."""
        if not self._closing:
            self._closing = True
            self._wake()
            self._thread.join(2)
            self._socket.close()
            self._media.close()

    def perform(self, *acts: Act, peer_port: int | None = None) -> None:
        """Do `acts` now, in the dialog of the newest INVITE; `peer_port` is for when none has come."""
        with self._changed:
            self._peer = self._peer if peer_port is None else ("127.0.0.1", peer_port)
            for act in acts:
                self._at(act.after, partial(self._perform, act, self._newest.get("INVITE")))
        self._wake()

    def wait_for(self, true: Callable[[PacketLog], object], timeout: float) -> bool:
        """Block until `true(log)` holds; return whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(true(self.log)), timeout)

    def _wake(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))

    def _at(self, delay: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + delay, next(self._order), do))

    def _run(self) -> None:
        while not self._closing:
            with self._changed:
                wait = self._later[0][0] - time.monotonic() if self._later else 5.0
            self._socket.settimeout(max(0.0001, wait))
            try:
                data, stamps, _, source = self._socket.recvmsg(65535, 64)
            except TimeoutError:
                data = b""
            with self._changed:
                if data.strip():
                    seconds, nanos = struct.unpack("qq", stamps[0][2])
                    self._peer = source
                    self._take(Packet(seconds * 1000 + nanos / 1e6, sent=False, raw=data.decode("utf-8", "replace")))
                while self._later and self._later[0][0] <= time.monotonic():
                    heapq.heappop(self._later)[2]()
                self._changed.notify_all()

    def _take(self, packet: Packet) -> None:
        self.log.append(packet)
        key = (packet.branch, packet.method)
        if packet.status is not None:
            return self._take_response(packet)
        if key in self._seen:
            return self._send(self._seen[key]) if self._seen[key] else None
        lines = self._script.get(packet.method, [OK])
        acts = lines.pop(0) if len(lines) > 1 else lines[0]
        if acts is LOST:
            return None
        self._seen[key], self._newest[packet.method] = "", packet
        if packet.method == "ACK":
            self._acked.add((packet.header("Call-ID"), packet.cseq, packet.to_tag))
        if packet.has_credentials and packet.method != "ACK":  # an ACK repeats the INVITE's (RFC 3261 22.1)
            (self.verified if packet.digest_is_right else self.faults).append(f"{packet.method} {packet.cseq}")
        for act in acts:
            self._at(act.after, partial(self._perform, act, packet))

    def _take_response(self, packet: Packet) -> None:
        if packet.method == "INVITE" and (packet.status or 0) >= 200:  # ours to a re-INVITE: ACK it
            branch = packet.branch if (packet.status or 0) >= 300 else f"z9hG4bK-far-{next(self._order)}"
            invite = self._newest.get("INVITE")
            self._send(compose.request(Act("ACK"), invite, self.port, self._peer[1], packet.cseq, branch))

    def _perform(self, act: Act, request: Packet | None) -> None:
        if act.is_request:
            return self._ask(act, request)
        request = self._newest[act.to] if act.to else request
        assert request is not None, f"nothing to answer with {act.say}"
        text = act.edit(compose.response(act, request, self.port, self._peer[1], self.media_port))
        self._seen[request.branch, request.method], key = text, (request.header("Call-ID"), request.cseq, act.tag)
        final = request.method == "INVITE" and not act.say.startswith("1")
        return self._send_until_acked(text, key, 0.5) if final else self._send(text)

    def _ask(self, act: Act, invite: Packet | None) -> None:
        if not act.again:
            if act.say != "CANCEL":  # a CANCEL has the number and branch of what it cancels
                self._cseq, self._last_branch = self._cseq + 1, f"z9hG4bK-far-{next(self._order)}"
            made = compose.request(act, invite, self.port, self._peer[1], self._cseq, self._last_branch)
            self._last_request = act.edit(made)
        self._send(self._last_request)

    def _send_until_acked(self, text: str, key: tuple[str, int, str], interval: float) -> None:
        if key not in self._acked and interval < 16:
            self._send(text)
            self._at(interval, partial(self._send_until_acked, text, key, interval * 2))

    def _send(self, text: str) -> None:
        self.log.append(Packet(time.time_ns() / 1e6, sent=True, raw=text))
        self._socket.sendto(text.encode(), self._peer)
