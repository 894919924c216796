"""The incoming RTP stream of one leg: from packets in any order to frames and keys, no sockets."""

from onhook.lines.media.dtmf import DtmfReceiver
from onhook.lines.media.g711 import ALAW_TO_MULAW
from onhook.lines.media.listening import Listening
from onhook.lines.media.rtp import ReorderBuffer, RtpPacket
from onhook.lines.media.sender import PCMA, PCMU
from onhook.lines.media.session import FRAME_BYTES, OnAudio, OnDtmf


class RtpReceiver:
    """Orders the packets of the far end and hands out 160-byte mu-law frames and keys. Lost frames are skipped.

    `listening` gets the audio, too, before it is put in order.
    """

    __slots__ = ("_dtmf", "_dtmf_payloads", "_on_audio", "_on_dtmf", "_order", "_partial", "_ssrc", "listening")

    def __init__(self, on_audio: OnAudio, on_dtmf: OnDtmf) -> None:
        self._on_audio = on_audio
        self._on_dtmf = on_dtmf
        self._ssrc: int | None = None
        self._order: ReorderBuffer[RtpPacket] = ReorderBuffer()
        self._dtmf = DtmfReceiver()
        self._dtmf_payloads: frozenset[int] = frozenset()
        self._partial = b""
        self.listening: Listening | None = None

    def expect_dtmf(self, payload_types: frozenset[int]) -> None:
        """Read these payload types as `telephone-event`."""
        self._dtmf_payloads = payload_types

    def receive(self, packet: RtpPacket) -> None:
        """Take a packet and hand out what its arrival completes."""
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._order.reset()
            self._partial = b""
        if self.listening is not None:
            self.listening.jitter.push(packet.ssrc, packet.sequence, packet.timestamp, _mulaw(packet))
        for ready in self._order.push(packet.sequence, packet):
            self._hand_out(ready)

    def _hand_out(self, packet: RtpPacket) -> None:
        if mulaw := _mulaw(packet):
            self._hand_out_audio(mulaw)
        elif packet.payload_type in self._dtmf_payloads:
            for digit, duration_ms in self._dtmf.receive(packet.payload, packet.timestamp):
                if self.listening is not None:
                    self.listening.has_events()
                self._on_dtmf(digit, duration_ms)

    def _hand_out_audio(self, mulaw: bytes) -> None:
        """Pass frames of 20 ms on, whatever packet time the far end chose."""
        if len(mulaw) == FRAME_BYTES and not self._partial:
            self._on_audio(mulaw)
            return
        data = self._partial + mulaw
        whole = len(data) - len(data) % FRAME_BYTES
        self._partial = data[whole:]
        for start in range(0, whole, FRAME_BYTES):
            self._on_audio(data[start : start + FRAME_BYTES])


def _mulaw(packet: RtpPacket) -> bytes:
    """Return the voice in a packet; nothing when it carries something else."""
    if packet.payload_type == PCMU:
        return packet.payload
    return packet.payload.translate(ALAW_TO_MULAW) if packet.payload_type == PCMA else b""
