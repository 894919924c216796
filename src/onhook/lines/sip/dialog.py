"""A dialog: what two user agents remember of each other (RFC 3261 section 12)."""

from collections.abc import Callable, Iterable

import msgspec

from onhook.lines.sip.address import Destination, destination_of
from onhook.lines.sip.message import (
    MAX_FORWARDS,
    Header,
    Message,
    Request,
    Response,
    new_branch,
    parse_uri,
    uri_of,
)

Resolve = Callable[[Destination], Destination | None]
"""Gives the numeric form of a destination, or None."""


class Dialog(msgspec.Struct):
    """One dialog, of a call that we placed or took.

    `local_party` and `remote_party` are the From and To of our requests, tags included; `sent_by` is the host and port
    of our Via. `fallback` is where the 2xx, or the far end's INVITE, came from: the next hop when the route names a
    host that we cannot resolve.
    """

    call_id: str
    local_party: str
    remote_party: str
    local_tag: str
    remote_tag: str
    remote_target: str
    route_set: tuple[str, ...]
    local_cseq: int
    remote_cseq: int | None
    sent_by: str
    contact: str
    fallback: Destination

    @classmethod
    def from_answer(cls, invite: Request, response: Response, fallback: Destination) -> "Dialog":
        """Make the dialog of a 2xx to our INVITE (section 12.1.2): its Record-Route reversed is the route set."""
        return cls(
            call_id=invite.call_id,
            local_party=invite.first("From") or "",
            remote_party=response.first("To") or "",
            local_tag=invite.from_tag,
            remote_tag=response.to_tag,
            remote_target=response.contact_uri or invite.uri,
            route_set=tuple(reversed(response.all("Record-Route"))),
            local_cseq=invite.cseq.sequence,
            remote_cseq=None,
            sent_by=invite.raw("Via")[0].partition(";")[0].partition(" ")[2],
            contact=invite.first("Contact") or "",
            fallback=fallback,
        )

    @classmethod
    def from_invite(cls, invite: Request, tag: str, *, sent_by: str, contact: str, fallback: Destination) -> "Dialog":
        """Make the dialog of a far end's INVITE (section 12.1.1): its Record-Route as it stands is the route set."""
        return cls(
            call_id=invite.call_id,
            local_party=f"{invite.first('To')};tag={tag}",
            remote_party=invite.first("From") or "",
            local_tag=tag,
            remote_tag=invite.from_tag,
            remote_target=invite.contact_uri or uri_of(invite.first("From") or "") or "",
            route_set=tuple(invite.all("Record-Route")),
            local_cseq=0,
            remote_cseq=invite.cseq.sequence,
            sent_by=sent_by,
            contact=contact,
            fallback=fallback,
        )

    def next_hop(self, resolve: Resolve) -> Destination:
        """Return where requests go: to the first route, else to the remote target."""
        return resolve(self._hop()) or self.fallback

    def request(self, method: str, *, headers: Iterable[Header] = (), body: bytes = b"") -> Request:
        """Return the next request in the dialog, with a new CSeq and branch (section 12.2.1.1)."""
        self.local_cseq += 1
        return self._request(method, self.local_cseq, headers, body)

    def ack(self, invite: Request) -> Request:
        """Return the ACK to a 2xx: a request of its own with the INVITE's CSeq and credentials (section 13.2.2.4)."""
        credentials = [(n, v) for n, v in invite.headers if n in ("Authorization", "Proxy-Authorization")]
        return self._request("ACK", invite.cseq.sequence, credentials, b"")

    def request_uri(self) -> str:
        """Return the Request-URI of the next request; digests are computed over it."""
        return self._target()[0]

    def accepts(self, request: Request) -> bool:
        """Check and keep the far end's CSeq; False when it is lower than one before (section 12.2.2)."""
        if self.remote_cseq is not None and request.cseq.sequence < self.remote_cseq:
            return False
        self.remote_cseq = request.cseq.sequence
        return True

    def refresh_target(self, message: Message) -> bool:
        """Take the Contact of a target refresh (section 12.2); True when it changed something."""
        uri = message.contact_uri
        if uri is None or uri == self.remote_target or parse_uri(uri) is None:
            return False
        self.remote_target = uri
        return True

    def _request(self, method: str, cseq: int, headers: Iterable[Header], body: bytes) -> Request:
        uri, routes = self._target()
        lines: list[Header] = [
            ("Via", f"SIP/2.0/{self._hop().transport.upper()} {self.sent_by};rport;branch={new_branch()}"),
            *(("Route", route) for route in routes),
            ("Max-Forwards", MAX_FORWARDS),
            ("From", self.local_party),
            ("To", self.remote_party),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
        if method in ("INVITE", "UPDATE"):
            lines.append(("Contact", self.contact))
        if body:
            lines.append(("Content-Type", "application/sdp"))
        return Request(method=method, uri=uri, headers=(*lines, *headers), body=body)

    def _hop(self) -> Destination:
        uri = uri_of(self.route_set[0]) if self.route_set else self.remote_target
        return destination_of(uri or "", self.fallback.transport) or self.fallback

    def _target(self) -> tuple[str, tuple[str, ...]]:
        """Return Request-URI and Route: loose routing, or strict where the first route has no `lr`."""
        if not self.route_set:
            return self.remote_target, ()
        first = uri_of(self.route_set[0]) or ""
        parsed = parse_uri(first)
        if parsed is None or "lr" in {name.lower() for name in parsed.parameters}:
            return self.remote_target, self.route_set
        return _plain(first), (*self.route_set[1:], f"<{self.remote_target}>")


def _plain(uri: str) -> str:
    """Return a URI without what a Request-URI may not have (section 19.1.1): headers and the method parameter."""
    parts = uri.partition("?")[0].split(";")
    return ";".join(part for part in parts if not part.lower().startswith("method="))
