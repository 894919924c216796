"""The media path of one process: all sessions, one ticker.

Why one ticker and raw sockets: measured with 150 calls both ways under uvloop, sockets with `add_reader` cost
0.041 % of a core per call, datagram endpoints 0.049 %, reading at each tick 0.054 %; a task per call costs two
to four times as much.
"""

import asyncio
import socket
from collections.abc import Callable

from onhook.clock import Clock, Timer
from onhook.lines.media.rtp_session import RtpSession
from onhook.lines.media.session import FRAME_MS, OnAudio, OnDtmf, OnMark
from onhook.metrics.histogram import TICK_BOUNDS_S, Histogram

MAX_CATCH_UP = 3
"""Packets per session that one late tick may send; older ticks are skipped, not burst."""

LATENESS_MEMORY_TICKS = 250
"""Ticks, 5 s, over which it is judged whether the audio is late on end: one stall is none's fault, and soon over."""

_FRAME_S = FRAME_MS / 1000
_EPHEMERAL_TRIES = 64
_EXPEDITED_FORWARDING = 46 << 2


class MediaPump:
    """A `MediaPort` on UDP sockets.

    `port_range` is the lowest and highest port to use, both included; without one the system chooses. The ticker
    keeps absolute deadlines, 20 ms apart, and rests while there is no session.
    """

    def __init__(self, clock: Clock, bind_host: str = "127.0.0.1", port_range: tuple[int, int] | None = None) -> None:
        self._clock = clock
        self._bind_host = bind_host
        self._ports = _even_ports(port_range)
        self._next_port = 0
        self._sessions: dict[RtpSession, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: Timer | None = None
        self._deadline = 0.0
        self.lateness = Histogram(TICK_BOUNDS_S)
        """How late each tick came, in seconds: what the event loop does to the audio."""
        self._late_share = 0.0
        self._sent = self._received = 0

    @property
    def live_sessions(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    @property
    def is_late(self) -> bool:
        """Whether for seconds most of the time was lost to ticks so late that packets were skipped."""
        return self._late_share > 0.5

    def packets(self) -> tuple[int, int]:
        """Return how many RTP packets were sent and received by all sessions there ever were."""
        live = [(session.packets_sent, session.packets_received) for session in self._sessions]
        return self._sent + sum(sent for sent, _ in live), self._received + sum(received for _, received in live)

    async def start(self) -> None:
        """Make ready to open sessions in the running event loop."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Close all sessions."""
        for session in tuple(self._sessions):
            session.close()
        self._loop = None

    def open(self, call_id: str, on_audio: OnAudio, on_dtmf: OnDtmf, on_mark: OnMark) -> RtpSession:
        """Bind an even UDP port and return its session. Raises `OSError` when no port is free."""
        if self._loop is None:
            raise RuntimeError("MediaPump.start() comes first")
        session = RtpSession(self._bind(), on_audio, on_dtmf, on_mark, self._clock.now_ms, self._soon, self._forget)
        self._loop.add_reader(session.fileno(), session.on_readable)
        self._sessions[session] = None
        if self._timer is None:
            self._deadline = self._clock.monotonic() + _FRAME_S
            self._timer = self._clock.call_later(_FRAME_S, self._tick)
        return session

    def _tick(self) -> None:
        late = self._clock.monotonic() - self._deadline
        self.lateness.observe(max(0.0, late))
        due = 1 + max(0, int(late / _FRAME_S + 1e-6))
        self._deadline += due * _FRAME_S
        self._timer = self._clock.call_later(due * _FRAME_S - late, self._tick)
        sent = min(due, MAX_CATCH_UP)
        self._late_share += min(1.0, due / LATENESS_MEMORY_TICKS) * ((due > sent) - self._late_share)
        now_ms = self._clock.now_ms()
        for session in tuple(self._sessions):
            session.tick(sent, due - sent, now_ms)

    def _soon(self, callback: Callable[[], None]) -> None:
        self._clock.call_later(0, callback)

    def _forget(self, session: RtpSession) -> None:
        if self._loop is not None:
            self._loop.remove_reader(session.fileno())
        self._sessions.pop(session, None)
        self._sent += session.packets_sent
        self._received += session.packets_received
        if not self._sessions and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._late_share = 0.0

    def _bind(self) -> socket.socket:
        if not self._ports:
            return _bind_ephemeral(self._bind_host)
        for _ in self._ports:
            port = self._ports[self._next_port]
            self._next_port = (self._next_port + 1) % len(self._ports)
            sock = _try_bind(self._bind_host, port)
            if sock is not None:
                return sock
        raise OSError(f"all media ports from {self._ports[0]} to {self._ports[-1]} are in use")


def _even_ports(port_range: tuple[int, int] | None) -> range:
    if port_range is None:
        return range(0)
    lowest, highest = port_range
    if not 0 < lowest <= highest <= 65_535:
        raise ValueError(f"media ports must be two numbers from 1 to 65535, the lower first, not {port_range}")
    return range(lowest + lowest % 2, highest + 1, 2)


def _bind_ephemeral(host: str) -> socket.socket:
    for _ in range(_EPHEMERAL_TRIES):
        sock = _open_socket(host)
        sock.bind((host, 0))
        if sock.getsockname()[1] % 2 == 0:
            return sock
        sock.close()
    raise OSError("the system gave no even media port")


def _try_bind(host: str, port: int) -> socket.socket | None:
    sock = _open_socket(host)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        return None
    return sock


def _open_socket(host: str) -> socket.socket:
    version6 = ":" in host
    sock = socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if version6 else (socket.IPPROTO_IP, socket.IP_TOS)
    sock.setsockopt(level, option, _EXPEDITED_FORWARDING)
    return sock
