"""One leg's audio on one UDP socket."""

import socket
from collections.abc import Callable

from onhook.lines.media.latch import Latch
from onhook.lines.media.playout import Playout
from onhook.lines.media.receiver import RtpReceiver
from onhook.lines.media.rtp import parse
from onhook.lines.media.sender import RtpSender
from onhook.lines.media.session import OnAudio, OnDtmf
from onhook.lines.sip.sdp import UNSPECIFIED, RemoteMedia

OUR_DTMF_PAYLOAD = 101
"""The payload type of `telephone-event` in our own offers (`LocalMedia.dtmf_payload`)."""

_MAX_DATAGRAM = 2048


class RtpSession:
    """A `MediaSession` over a bound, non-blocking socket; `MediaPump` ticks it.

    While the peer holds the call nothing is sent and the queue waits. What cannot be sent is lost, as on any
    network, and does not count as sent.
    """

    __slots__ = (
        "_closed",
        "_latch",
        "_muted",
        "_now_ms",
        "_on_close",
        "_playout",
        "_receiver",
        "_sender",
        "_sending",
        "_sock",
        "last_received_at",
        "last_sent_at",
        "local_port",
        "packets_received",
        "packets_sent",
    )

    def __init__(
        self,
        sock: socket.socket,
        on_audio: OnAudio,
        on_dtmf: OnDtmf,
        now_ms: Callable[[], int],
        on_close: Callable[["RtpSession"], None],
    ) -> None:
        self._sock = sock
        self._now_ms = now_ms
        self._on_close = on_close
        self._latch = Latch()
        self._playout = Playout()
        self._sender = RtpSender(self._playout)
        self._receiver = RtpReceiver(on_audio, on_dtmf)
        self._sending = False
        self._muted = False
        self._closed = False
        self.local_port: int = sock.getsockname()[1]
        self.packets_sent = 0
        self.packets_received = 0
        self.last_sent_at: int | None = None
        self.last_received_at: int | None = None

    @property
    def queued_ms(self) -> int:
        """How much is still to be played, in ms."""
        return self._playout.queued_ms

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self._sock.fileno()

    def set_remote(self, remote: RemoteMedia) -> None:
        """Send to this far end from now on; the first packet leaves at once."""
        if self._muted or self._closed:
            return
        self._sender.speak(remote.payload_type, remote.dtmf_payload)
        self._receiver.expect_dtmf(frozenset({OUR_DTMF_PAYLOAD, remote.dtmf_payload or OUR_DTMF_PAYLOAD}))
        reachable = remote.host not in UNSPECIFIED and self._speaks(remote.host)
        if reachable:
            self._latch.aim((remote.host, remote.port))
        was_sending, self._sending = self._sending, reachable and remote.listens
        if self._sending and not was_sending:
            self.tick(1, 0, self._now_ms())

    def play(self, mulaw: bytes) -> None:
        """Append mu-law of any length to what is to be played; dropped once muted."""
        if not self._muted:
            self._playout.play(mulaw)

    def flush(self) -> int:
        """Drop the queued audio, keys stay; return how many ms were dropped."""
        return self._playout.flush()

    def send_dtmf(self, digits: str) -> None:
        """Append keys. Raises `ValueError` for one that no phone has."""
        if not self._muted:
            self._playout.press(digits)

    def mute(self) -> None:
        """Drop the queue and send nothing more, ever."""
        self._muted = True
        self._sending = False
        self._playout.clear()

    def close(self) -> None:
        """Give the port back; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self.mute()
        self._on_close(self)
        self._sock.close()

    def tick(self, due: int, skipped: int, now_ms: int) -> None:
        """Send the packets of `due` ticks, after `skipped` ticks whose time has passed."""
        destination = self._latch.destination
        if not self._sending or destination is None:
            self._sender.skip(due + skipped)
            return
        if skipped:
            self._sender.skip(skipped)
        for _ in range(due):
            try:
                self._sock.sendto(self._sender.next_packet(), destination)
            except OSError:
                continue
            self.packets_sent += 1
            self.last_sent_at = now_ms

    def on_readable(self) -> None:
        """Take one datagram; the event loop calls again while there are more, which is cheaper than asking."""
        try:
            data, source = self._sock.recvfrom(_MAX_DATAGRAM)
        except OSError:
            return
        packet = parse(data)
        if packet is None or not self._latch.accepts(source[:2], packet.ssrc):
            return
        self.packets_received += 1
        self.last_received_at = self._now_ms()
        self._receiver.receive(packet)

    def _speaks(self, host: str) -> bool:
        return (":" in host) == (self._sock.family == socket.AF_INET6)
