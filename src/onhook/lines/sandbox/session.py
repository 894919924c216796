"""A dialog as the far end keeps it: its media session, and the caller it sends requests to."""

import secrets
from dataclasses import dataclass, field

from onhook.lines.sandbox.media import Audio, Echo, answer_to, read_sdp, write_sdp
from onhook.lines.sandbox.transactions import Resender, ServerTransaction
from onhook.lines.sandbox.uas import Address, Headers, Request, place_of, uri_of

SDP: Headers = (("Content-Type", "application/sdp"),)


class Session:
    """The audio of one call: an echo or a talker, and the offers and answers around it (RFC 3264)."""

    def __init__(self, host: str, echo: Echo) -> None:
        self.echo = echo
        self._ours = Audio(host, self.echo.port)
        self._version = 0

    def negotiate(self, body: bytes) -> None:
        """Take the caller's offer; without one, ours goes into the 2xx. Raises `UnusableSdp`."""
        if body:
            offer = read_sdp(body)
            self.echo.remote = offer
            self._ours = answer_to(offer, self._ours.host, self._ours.port)

    def learn(self, body: bytes) -> str:
        """Take the caller's answer to our offer and return its direction. Raises `UnusableSdp`."""
        self.echo.remote = read_sdp(body)
        return self.echo.remote.direction

    def describe(self, direction: str | None = None) -> bytes:
        """Return our end as SDP, as negotiated or offering `direction`."""
        self._version += 1
        audio = self._ours
        if direction is not None:
            audio = Audio(audio.host, audio.port, audio.codec, audio.event_type, direction)
        return write_sdp(audio, self._version)


class Caller:
    """The caller, as the INVITE named it: where our own requests in the dialog go (RFC 3261 12.2.1)."""

    def __init__(self, transaction: ServerTransaction) -> None:
        self._invite = transaction.request
        self._source = transaction.source
        self._target = uri_of(self._invite.header("Contact"))

    def refresh(self, request: Request) -> None:
        """Take the new Contact of a target refresh request (RFC 3261 12.2.2)."""
        if request.header("Contact"):
            self._target = uri_of(request.header("Contact"))

    @property
    def address(self) -> Address:
        """The next hop: the first route, else the Contact; the INVITE's source when that is a host name."""
        routes = self._invite.values("Record-Route")
        return place_of(uri_of(routes[0]) if routes else self._target, self._source)

    def request(
        self,
        method: str,
        dialog: "Dialog",
        via: Address,
        cseq: int,
        *,
        branch: str | None = None,
        body: bytes = b"",
    ) -> Request:
        """Return a request of ours in `dialog`; under a new branch, unless it is the ACK of a refusal."""
        branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        headers: Headers = (
            ("Via", f"SIP/2.0/UDP {via[0]}:{via[1]};branch={branch};rport"),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in self._invite.values("Record-Route")),
            ("From", f"{self._invite.header('To')};tag={dialog.tag}"),
            ("To", self._invite.header("From")),
            ("Call-ID", self._invite.call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<{dialog.contact}>"),
            *(SDP if body else ()),
        )
        return Request(headers, body, method, self._target)


@dataclass
class Dialog:
    """One fork of a call, with the CSeqs of both sides and the 2xx that still want their ACK."""

    tag: str
    contact: str
    caller: Caller
    session: Session
    remote_cseq: int
    live: bool = False
    local_cseq: int = 0
    unacknowledged: dict[int, Resender] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
