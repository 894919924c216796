"""The port to the media path, as the SIP engine sees it: one session per leg.

Everything that crosses this port is G.711 mu-law at 8 kHz in frames of 20 ms (160 bytes), whatever the
far end speaks. All methods run in the event loop, return at once and never raise for network reasons.
"""

from collections.abc import Callable
from typing import Protocol

from onhook.lines.engine import Tick
from onhook.lines.sip.sdp import RemoteMedia

FRAME_BYTES = 160
"""20 ms of mu-law at 8 kHz."""

FRAME_MS = 20

SILENCE = b"\xff" * FRAME_BYTES
"""One frame of mu-law silence."""

OnAudio = Callable[[bytes], None]
"""Takes one 160-byte frame of the far end's voice."""

OnDtmf = Callable[[str, int], None]
"""Takes a digit and its duration in ms."""

OnMark = Callable[[str, bool], None]
"""Takes the name of a mark, and True when it was dropped instead of reached."""

OnTick = Callable[[Tick], None]
"""Takes 20 ms of both directions."""


class MediaSession(Protocol):
    """The two-way audio of one leg."""

    @property
    def local_port(self) -> int:
        """The UDP port to put into our SDP; always even."""
        ...

    @property
    def queued_ms(self) -> int:
        """How much is still to be played, in ms."""
        ...

    @property
    def packets_sent(self) -> int:
        """RTP packets that left."""
        ...

    @property
    def packets_received(self) -> int:
        """RTP packets taken from the far end, duplicates included, strangers not."""
        ...

    @property
    def last_sent_at(self) -> int | None:
        """When the last packet left (ms since the epoch), or None."""
        ...

    @property
    def last_received_at(self) -> int | None:
        """When the far end's last packet came (ms since the epoch), or None."""
        ...

    def set_remote(self, remote: RemoteMedia) -> None:
        """Send to this far end from now on; called for each SDP that the peer gives us."""
        ...

    def play(self, mulaw: bytes) -> None:
        """Append mu-law of any length to what is to be played."""
        ...

    def flush(self) -> int:
        """Drop the queued audio and its marks, keys stay; return how many ms were dropped."""
        ...

    def mark(self, name: str) -> None:
        """Append a mark: echoed once all that was appended before has left, or was dropped; never from inside."""
        ...

    def listen(self, on_tick: OnTick) -> None:
        """Report every 20 ms of both directions from now on, until the session closes."""
        ...

    def send_dtmf(self, digits: str) -> None:
        """Append keys (`0-9`, `*`, `#`, `A-D`). Raises `ValueError` for anything else."""
        ...

    def mute(self) -> None:
        """Drop the queue and send nothing more, ever: the call is ending."""
        ...

    def close(self) -> None:
        """Give the port back, after the last echoes; harmless when repeated."""
        ...


class MediaPort(Protocol):
    """Where sessions come from."""

    def open(self, call_id: str, on_audio: OnAudio, on_dtmf: OnDtmf, on_mark: OnMark) -> MediaSession:
        """Bind an even UDP port and return its session. Raises `OSError` when no port is free."""
        ...
