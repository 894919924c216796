"""The port to telephony. One contract suite runs on every engine.

An engine holds *legs*, one per call, keyed by the call's id. `place` starts a leg, `hangup` asks for its
end, and the engine reports everything as events, in wire order per leg. The last event of every leg is
`LegEnded`, exactly once, with the proof; what comes to light later arrives as `ProofUpdated`.

A leg that a far end starts is told by `Incoming`. It waits for one of `ring`, `answer`, `refuse` and `hangup`, and is
from then on like any other.

All methods run in the event loop. Times in events are wall-clock ms since the epoch, taken at the socket.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from onhook.calls.causes import Cause
from onhook.calls.proof import Proof


class Trunk(msgspec.Struct, frozen=True):
    """Where a leg leaves, and how it names itself there.

    `uri` is `sip:host:port;transport=udp|tcp`. `number_format` is how numbers are written in the
    Request-URI, From and To: `e164` (+1202...), `plain` (no plus), `national` (no country code).
    `identity` adds a P-Asserted-Identity header (RFC 3325). `send_reason_text` puts the actor's free text
    into the SIP Reason header.
    """

    id: str
    uri: str
    username: str | None = None
    password: str | None = None
    from_user: str | None = None
    from_domain: str | None = None
    number_format: str = "e164"
    identity: bool = False
    send_reason_text: bool = False
    session_expires_s: int = 1800


class DialOrder(msgspec.Struct, frozen=True):
    """What `place` needs: numbers are E.164 with the plus; `sip_call_id` is the Call-ID to use."""

    call_id: str
    sip_call_id: str
    trunk: Trunk
    from_number: str
    to_number: str
    headers: dict[str, str] = msgspec.field(default_factory=dict)


class Peer(msgspec.Struct, frozen=True):
    """A far end whose calls we take. `accounts` are the user names and passwords that it may prove to know.

    Without accounts its INVITEs are not challenged.
    """

    accounts: dict[str, str] = msgspec.field(default_factory=dict)


FindPeer = Callable[[str], Peer | None]
"""Finds the peer at a numeric host; None for a stranger. Called for every INVITE that comes: it must not block."""


class Incoming(msgspec.Struct, frozen=True):
    """A far end calls us; its INVITE has been answered with 100 and no more.

    `call_id` is new. Numbers are E.164 where they can be read so, else the user part as it was sent, an empty text
    where there is none. `peer` is where the INVITE came from, `account` the user name that it proved by digest.
    `headers` are the INVITE's own, without those of routing, dialog and credentials; lines of one name are joined by
    commas.
    """

    call_id: str
    at: int
    sip_call_id: str
    from_number: str
    to_number: str
    peer: tuple[str, int]
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    account: str | None = None


class Dialed(msgspec.Struct, frozen=True):
    """The INVITE's first byte left."""

    call_id: str
    at: int


class Provisional(msgspec.Struct, frozen=True):
    """A 1xx came, or our 180 left on a leg that a far end started; `ringing` is True for 180 and 183."""

    call_id: str
    at: int
    status: int
    ringing: bool


class Answered(msgspec.Struct, frozen=True):
    """The first 2xx came and is acknowledged; `session_timer` is `peer`, `us` or `none` (RFC 4028).

    On a leg that a far end started: its ACK to our 2xx came, or a BYE that shows that it has the 2xx. `at` is then when
    the 2xx left: from there on people may talk, and pay.
    """

    call_id: str
    at: int
    session_timer: str = "none"


class DtmfReceived(msgspec.Struct, frozen=True):
    """The far end pressed a key (RFC 4733)."""

    call_id: str
    at: int
    digit: str
    duration_ms: int


class AudioCount(msgspec.Struct, frozen=True):
    """RTP packets of one leg, and when the last ones went and came (ms since the epoch)."""

    packets_sent: int
    packets_received: int
    last_sent_at: int | None = None
    last_received_at: int | None = None

    @property
    def flowed(self) -> bool:
        """True when there was any audio at all."""
        return self.packets_sent + self.packets_received > 0


class LegEnded(msgspec.Struct, frozen=True):
    """The leg is settled; nothing but `ProofUpdated` follows.

    `cause` is what the wire says of the end; it matters only when no stop was asked for. `at` is the wire
    time of the far end's BYE or final response, or of the moment the engine gave up. `audio` is None when
    the leg never had a media session.
    """

    call_id: str
    at: int
    proof: Proof
    cause: Cause
    audio: AudioCount | None = None


class ProofUpdated(msgspec.Struct, frozen=True):
    """Evidence that came after `LegEnded`, such as a late 2xx that was ACKed and BYEd."""

    call_id: str
    at: int
    proof: Proof


class Tick(msgspec.Struct, frozen=True):
    """20 ms of one leg, both ways, as the media clock sees them; each frame is 160 bytes of G.711 mu-law.

    `heard` has passed the jitter buffer: where nothing came in time it is a concealment of the loss, then silence.
    `arrived` is True when a packet made it. `sent` is what left in this tick, silence when nothing did. `held` is True
    while the far end has said that it sends us no audio.
    """

    heard: bytes
    sent: bytes
    arrived: bool
    held: bool = False


LegEvent = Incoming | Dialed | Provisional | Answered | DtmfReceived | LegEnded | ProofUpdated


class LineEvents(Protocol):
    """Where an engine reports; called in the event loop, must not block."""

    def on_event(self, event: LegEvent) -> None:
        """Take one event of one leg."""
        ...

    def on_audio(self, call_id: str, frame: bytes) -> None:
        """Take 20 ms of the far end's voice, as it came: 160 bytes of G.711 mu-law at 8 kHz."""
        ...

    def on_tick(self, call_id: str, tick: Tick) -> None:
        """Take 20 ms of a leg that is listened to (`Engine.listen`), until its session closes."""
        ...

    def on_mark(self, call_id: str, name: str, cleared: bool) -> None:
        """Take the echo of a mark: all audio queued before it has left, or it was dropped with that audio."""
        ...

    def on_cut(self, call_id: str) -> None:
        """Take the news that `Engine.hangup` was called for an existing leg: nobody on our side talks any more.

        Comes once per leg, after its BYE, CANCEL or refusal has been handed to the network, before `LegEnded`.
        """
        ...


class SnapshotJournal(Protocol):
    """Where an engine keeps what a later life of the process needs to end the leg."""

    async def before_invite(self, call_id: str, snapshot: bytes) -> bool:
        """Make `snapshot` durable before the first byte of an INVITE leaves, or of our 2xx to a far end's.

        Returns False when the call may not be dialled or answered any more: a stop is durable. Raises `StoreError` when
        it could not be written; the message must not leave then.
        """
        ...

    async def update(self, call_id: str, snapshot: bytes) -> None:
        """Make a change of the dialog durable. Raises `StoreError`."""
        ...


class Engine(Protocol):
    """Telephony, as call control sees it."""

    async def place(self, order: DialOrder) -> None:
        """Start a leg. Failures come as `LegEnded`, never as exceptions."""
        ...

    def trust(self, find_peer: FindPeer) -> None:
        """Take calls of the peers that `find_peer` knows; until then of nobody. Strangers are answered 403."""
        ...

    def rename(self, call_id: str, to: str) -> None:
        """Know an unanswered incoming leg by another call's id from now on, such as one that was made to wait for it.

        Raises `ValueError` when a leg has that id already; a leg that is gone is none's business any more.
        """
        ...

    def ring(self, call_id: str) -> None:
        """Tell the caller of an incoming leg that it rings (180). Harmless when the leg is gone or rings already."""
        ...

    def answer(self, call_id: str, trunk: Trunk | None = None) -> None:
        """Answer an incoming leg (200); `Answered` or `LegEnded` says what came of it. Harmless when it is gone.

        Its media port is bound now: without a free one the caller is answered 503. `trunk` says how to keep the session
        and how to name ourselves if our BYE is challenged.
        """
        ...

    def refuse(self, call_id: str, status: int, cause: Cause) -> None:
        """Refuse an unanswered incoming leg with a final response of 300 or more. Harmless when it is gone.

        A 503 asks to be tried again in some seconds.
        """
        ...

    def hangup(self, call_id: str, cause: Cause) -> bool:
        """Cut the audio and end the leg by what its state needs; the first cause wins, repeats are harmless.

        An incoming leg that is not answered is refused: 603 when the agent declines, else 480.

        Returns False when the engine holds no leg of this call (nothing was sent, or it is settled).
        """
        ...

    def send_audio(self, call_id: str, mulaw: bytes) -> None:
        """Append G.711 mu-law at 8 kHz to the leg's play-out queue; dropped once the leg is ending."""
        ...

    def flush_audio(self, call_id: str) -> int:
        """Drop what is queued to play; return how many ms were dropped. Marks among it are echoed as cleared."""
        ...

    def mark(self, call_id: str, name: str) -> None:
        """Append a mark to the play-out queue; `on_mark` echoes it. A leg that is ending echoes it as cleared."""
        ...

    def queued_ms(self, call_id: str) -> int:
        """Return how much audio is queued to play, in ms; 0 for a leg that is not there."""
        ...

    def listen(self, call_id: str) -> None:
        """Report every 20 ms of this leg by `on_tick` from now on."""
        ...

    def mute(self, call_id: str) -> None:
        """Send no more audio, ever: the leg is about to be ended. Its queue is dropped; what it hears goes on."""
        ...

    def send_dtmf(self, call_id: str, digits: str) -> None:
        """Send keys as RFC 4733 events, after what is playing."""
        ...

    def resume(self, call_id: str, snapshot: bytes, cause: Cause) -> None:
        """Take over a leg of an earlier life of this process, only to end it for `cause`.

        Raises `ValueError` for a snapshot that it cannot read.
        """
        ...

    def live_legs(self) -> int:
        """How many legs are not settled."""
        ...
