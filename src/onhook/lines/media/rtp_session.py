"""One leg's audio on one UDP socket."""

import socket
from collections.abc import Callable

from onhook.lines.media.latch import Latch
from onhook.lines.media.listening import Listening
from onhook.lines.media.playout import Playout
from onhook.lines.media.receiver import RtpReceiver
from onhook.lines.media.rtp import parse
from onhook.lines.media.sender import RtpSender
from onhook.lines.media.session import SILENCE, OnAudio, OnDtmf, OnMark, OnTick
from onhook.lines.sip.sdp import SENDONLY, SENDRECV, UNSPECIFIED, RemoteMedia

OUR_DTMF_PAYLOAD = 101
"""The payload type of `telephone-event` in our own offers (`LocalMedia.dtmf_payload`)."""

_MAX_DATAGRAM = 2048
_MAX_DRAINED = 64


class RtpSession:
    """A `MediaSession` over a bound, non-blocking socket; `MediaPump` ticks it.

    While the peer holds the call nothing is sent and the queue waits. What cannot be sent is lost, as on any
    network, and does not count as sent. Ticks and marks are reported after all sessions have sent, for whoever takes
    them may take his time.
    """

    __slots__ = (
        "_closed",
        "_has_tones",
        "_held",
        "_latch",
        "_listening",
        "_muted",
        "_now_ms",
        "_on_close",
        "_on_dtmf",
        "_on_mark",
        "_playout",
        "_receiver",
        "_reporting",
        "_sender",
        "_sending",
        "_sock",
        "_soon",
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
        on_mark: OnMark,
        now_ms: Callable[[], int],
        soon: Callable[[Callable[[], None]], None],
        on_close: Callable[["RtpSession"], None],
    ) -> None:
        self._sock = sock
        self._on_dtmf = on_dtmf
        self._on_mark = on_mark
        self._now_ms = now_ms
        self._soon = soon
        self._on_close = on_close
        self._latch = Latch()
        self._playout = Playout()
        self._sender = RtpSender(self._playout)
        self._receiver = RtpReceiver(on_audio, on_dtmf)
        self._listening: Listening | None = None
        self._reporting = False
        self._sending = False
        self._held = False
        self._has_tones = False
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
        self._held = remote.host in UNSPECIFIED or remote.direction not in (SENDRECV, SENDONLY)
        self._has_tones = remote.dtmf_payload is None
        self._attend()
        was_sending, self._sending = self._sending, reachable and remote.listens
        if self._sending and not was_sending:
            self._send(self._now_ms())
            self._report_soon()

    def play(self, mulaw: bytes) -> None:
        """Append mu-law of any length to what is to be played; dropped once muted."""
        if not self._muted:
            self._playout.play(mulaw)

    def flush(self) -> int:
        """Drop the queued audio and its marks, keys stay; return how many ms were dropped."""
        dropped = self._playout.flush()
        self._report_soon()
        return dropped

    def mark(self, name: str) -> None:
        """Append a mark; it is echoed when all before it has left, or was dropped. Once closed there is no echo."""
        self._playout.mark(name)
        if self._muted:
            self._playout.clear()
        self._report_soon()

    def listen(self, on_tick: OnTick) -> None:
        """Report every 20 ms of both directions from now on, until the session closes."""
        if not self._closed:
            self._listening = Listening(on_tick, self._on_dtmf)
            self._receiver.listening = self._listening
            self._attend()

    def send_dtmf(self, digits: str) -> None:
        """Append keys. Raises `ValueError` for one that no phone has."""
        if not self._muted:
            self._playout.press(digits)

    def mute(self) -> None:
        """Drop the queue and send nothing more, ever."""
        self._muted = True
        self._sending = False
        self._playout.clear()
        self._report_soon()

    def close(self) -> None:
        """Give the port back, after the last ticks and echoes; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self.mute()
        self._report()
        self._listening = self._receiver.listening = None
        self._on_close(self)
        self._sock.close()

    def tick(self, due: int, skipped: int, now_ms: int) -> None:
        """Send the packets of `due` ticks, after `skipped` ticks whose time has passed."""
        listening = self._listening
        if listening is not None and due + skipped > 1:
            self._drain()
        if not self._sending:
            self._playout.reach_marks()
            due, skipped = 0, due + skipped
        if skipped:
            self._sender.skip(skipped)
            if listening is not None:
                listening.skip(skipped)
        for _ in range(due):
            sent = self._send(now_ms)
            if listening is not None:
                listening.tick(sent)
        if listening is not None or self._playout.echoes:
            self._report_soon()

    def on_readable(self) -> bool:
        """Take one datagram, False if there is none; the event loop calls again while there are more."""
        try:
            data, source = self._sock.recvfrom(_MAX_DATAGRAM)
        except OSError:
            return False
        packet = parse(data)
        if packet is not None and self._latch.accepts(source[:2], packet.ssrc):
            self.packets_received += 1
            self.last_received_at = self._now_ms()
            self._receiver.receive(packet)
        return True

    def _send(self, now_ms: int) -> bytes:
        """Send the packet of one tick; return what it says, silence when it could not leave."""
        destination, packet = self._latch.destination, self._sender.next_packet()
        if destination is None:
            return SILENCE
        try:
            self._sock.sendto(packet, destination)
        except OSError:
            return SILENCE
        self.packets_sent += 1
        self.last_sent_at = now_ms
        return self._sender.spoken

    def _drain(self) -> None:
        """Take what has come while we were late: that lateness is ours, not the network's."""
        for _ in range(_MAX_DRAINED):
            if not self.on_readable():
                return

    def _attend(self) -> None:
        """Let the listening know what the far end has said of itself."""
        if self._listening is not None:
            self._listening.expect(held=self._held, tones=self._has_tones)

    def _report_soon(self) -> None:
        if not self._reporting and (self._listening is not None or self._playout.echoes):
            self._reporting = True
            self._soon(self._report)

    def _report(self) -> None:
        """Hand out ticks, then echoes."""
        self._reporting = False
        if self._listening is not None:
            self._listening.report()
        echoes, self._playout.echoes = self._playout.echoes, []
        for name, cleared in echoes:
            self._on_mark(name, cleared)

    def _speaks(self, host: str) -> bool:
        return (":" in host) == (self._sock.family == socket.AF_INET6)
