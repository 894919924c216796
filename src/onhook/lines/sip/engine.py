"""The built-in SIP engine: the user agent on real sockets."""

from onhook.clock import Clock
from onhook.lines.engine import LineEvents, SnapshotJournal
from onhook.lines.media.session import MediaPort
from onhook.lines.sip.address import Destination
from onhook.lines.sip.context import Credentials, SipSettings
from onhook.lines.sip.transport import Transport
from onhook.lines.sip.user_agent import UserAgent

__all__ = ["SipEngine", "SipSettings"]


class SipEngine(UserAgent):
    """Implements `lines.engine.Engine` over UDP and TCP.

    `credentials` finds a trunk's user name and password by its id: resumed legs need them when a BYE is challenged, and
    no snapshot holds a password.
    """

    def __init__(
        self,
        settings: SipSettings,
        journal: SnapshotJournal,
        events: LineEvents,
        clock: Clock,
        media: MediaPort,
        credentials: Credentials | None = None,
    ) -> None:
        self._transport = Transport(
            settings.bind_host,
            settings.bind_port,
            on_message=self._on_message,
            on_unreachable=self._on_unreachable,
        )
        super().__init__(settings, journal, events, clock, media, self._transport, credentials)

    async def start(self) -> None:
        """Bind the sockets; port 0 picks one. Raises `OSError`."""
        await self._transport.start()

    @property
    def address(self) -> tuple[str, int]:
        """The bound host and port."""
        return self._transport.address

    async def close(self) -> None:
        """Close the sockets. Nothing is ended on the wire: that is for whoever stops the calls first."""
        await self.abandon()
        await self._transport.close()

    def _on_message(self, data: bytes, source: Destination) -> None:
        self.layer.receive(data, source)

    def _on_unreachable(self, destination: Destination) -> None:
        self.layer.unreachable(destination)
