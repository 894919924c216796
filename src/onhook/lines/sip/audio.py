"""The audio of one leg: the media session, and the descriptions of it that we sent and got."""

import secrets

from onhook.lines.engine import AudioCount, DtmfReceived
from onhook.lines.media.session import MediaSession, OnTick
from onhook.lines.sip.address import Destination
from onhook.lines.sip.context import Context
from onhook.lines.sip.message import Message
from onhook.lines.sip.sdp import LocalMedia, RemoteMedia, SdpError, answer, offer, parse


class Audio:
    """A media session with its SDP (RFC 3264). The session id stays; the version grows with each new description."""

    def __init__(self, session: MediaSession, host: str) -> None:
        self._session = session
        self._local = LocalMedia(
            host=host, port=session.local_port, session_id=secrets.randbits(48), version=secrets.randbits(24)
        )
        self._taken = b""
        self._has_remote = False
        self._cut = False

    @property
    def has_remote(self) -> bool:
        """True once the far end told us where it listens."""
        return self._has_remote

    def offer(self) -> bytes:
        """Return our description; the same bytes each time while nothing changed."""
        return offer(self._local)

    def take(self, message: Message) -> bool:
        """Take the SDP of a response; False when there is none that we can use."""
        if not message.is_sdp:
            return False
        if message.body == self._taken:
            return True  # A 183 is often repeated, and its SDP comes again in the 2xx.
        try:
            self._set_remote(parse(message.body))
        except SdpError:
            return False
        self._taken = message.body
        return True

    def answer(self, message: Message) -> bytes:
        """Take the far end's offer and return our answer. Raises `SdpError`."""
        remote = parse(message.body)
        self._local = next_version(self._local)
        self._set_remote(remote)
        return answer(remote, self._local)

    def play(self, mulaw: bytes) -> None:
        """Append to what is played."""
        if not self._cut:
            self._session.play(mulaw)

    def flush(self) -> int:
        """Drop what is queued; return how many ms."""
        return 0 if self._cut else self._session.flush()

    def send_dtmf(self, digits: str) -> None:
        """Send keys. Raises `ValueError` for what is no key."""
        if not self._cut:
            self._session.send_dtmf(digits)

    def mark(self, name: str) -> bool:
        """Append a mark; False when nothing is played any more."""
        if not self._cut:
            self._session.mark(name)
        return not self._cut

    @property
    def queued_ms(self) -> int:
        """How much is still to be played."""
        return self._session.queued_ms

    def listen(self, on_tick: OnTick) -> None:
        """Report every 20 ms until the session closes."""
        self._session.listen(on_tick)

    def cut(self) -> None:
        """Say nothing more, ever."""
        if not self._cut:
            self._cut = True
            self._session.mute()

    def close(self) -> AudioCount:
        """Give the port back; return what went and came."""
        self._cut = True
        self._session.close()
        session = self._session
        return AudioCount(
            session.packets_sent, session.packets_received, session.last_sent_at, session.last_received_at
        )

    def _set_remote(self, remote: RemoteMedia) -> None:
        self._has_remote = True
        if not self._cut:
            self._session.set_remote(remote)


def open_audio(context: Context, call_id: str, destination: Destination) -> Audio:
    """Bind a port for a leg whose far end is at `destination`. Raises `OSError` when none is free."""
    events = context.events
    session = context.media.open(
        call_id,
        lambda frame: events.on_audio(call_id, frame),
        lambda digit, ms: events.on_event(DtmfReceived(call_id, context.clock.now_ms(), digit, ms)),
        lambda name, cleared: events.on_mark(call_id, name, cleared),
    )
    return Audio(session, context.media_host(destination))


def next_version(local: LocalMedia) -> LocalMedia:
    """Return the description with its version one higher."""
    return LocalMedia(
        host=local.host,
        port=local.port,
        session_id=local.session_id,
        version=local.version + 1,
        direction=local.direction,
        codecs=local.codecs,
        dtmf_payload=local.dtmf_payload,
    )
