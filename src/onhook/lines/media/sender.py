"""The outgoing RTP stream of one leg: one packet per tick, no sockets."""

import secrets

from onhook.lines.media.dtmf import PAUSE_FRAMES, event_payloads, tone_frames
from onhook.lines.media.g711 import MULAW_TO_ALAW
from onhook.lines.media.playout import Digit, Playout
from onhook.lines.media.rtp import HEADER, MARKER, VERSION
from onhook.lines.media.session import FRAME_BYTES, SILENCE

PCMU, PCMA = 0, 8
"""Static payload types (RFC 3551)."""


class RtpSender:
    """Numbers and stamps what comes out of the play-out queue.

    The timestamp follows the ticks, sent or not, so that it is the far end's picture of our time. The marker
    bit is set on the first packet, after a pause and on the first packet of a key.
    """

    __slots__ = (
        "_dtmf_payload",
        "_event",
        "_event_payload",
        "_event_timestamp",
        "_marker",
        "_pause",
        "_payload_type",
        "_playout",
        "_sequence",
        "_ssrc",
        "_timestamp",
        "spoken",
    )

    def __init__(self, playout: Playout) -> None:
        self._playout = playout
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._payload_type = PCMU
        self._dtmf_payload: int | None = None
        self._event: tuple[bytes, ...] = ()
        self._event_payload = 0
        self._event_timestamp = 0
        self._pause = 0
        self._marker = MARKER
        self.spoken = SILENCE
        """The mu-law of the packet made last; silence while it was a key's event."""

    def speak(self, payload_type: int, dtmf_payload: int | None) -> None:
        """Use these payload types from now on: 0 or 8, and that of `telephone-event` if the peer has it."""
        self._payload_type = payload_type
        self._dtmf_payload = dtmf_payload

    def skip(self, ticks: int) -> None:
        """Let `ticks` pass without a packet."""
        self._timestamp = (self._timestamp + ticks * FRAME_BYTES) & 0xFFFFFFFF
        self._marker = MARKER

    def next_packet(self) -> bytes:
        """Return the packet of this tick."""
        timestamp = self._timestamp
        sequence = self._sequence
        self._timestamp = (timestamp + FRAME_BYTES) & 0xFFFFFFFF
        self._sequence = (sequence + 1) & 0xFFFF
        if not self._event:
            frame = self._next_frame(timestamp)
            if frame is not None:
                kind, self._marker = self._payload_type | self._marker, 0
                return HEADER.pack(VERSION, kind, sequence, timestamp, self._ssrc) + frame
        return self._event_packet(sequence)

    def _next_frame(self, timestamp: int) -> bytes | None:
        """Return audio for this tick, or None when a key begins at `timestamp`."""
        if self._pause:
            self._pause -= 1
            item: bytes | Digit = SILENCE
        else:
            item = self._playout.next()
        if isinstance(item, Digit):
            if self._dtmf_payload is not None:
                self._event = event_payloads(item)
                self._event_payload, self._event_timestamp = self._dtmf_payload, timestamp
                self._marker = MARKER
                return None
            first, *rest = (*tone_frames(item), *[SILENCE] * PAUSE_FRAMES)
            self._playout.insert(tuple(rest))
            item = first
        self.spoken = item
        return item if self._payload_type == PCMU else item.translate(MULAW_TO_ALAW)

    def _event_packet(self, sequence: int) -> bytes:
        self.spoken = SILENCE
        payload, self._event = self._event[0], self._event[1:]
        if not self._event:
            self._pause = PAUSE_FRAMES
        kind, self._marker = self._event_payload | self._marker, 0
        return HEADER.pack(VERSION, kind, sequence, self._event_timestamp, self._ssrc) + payload
