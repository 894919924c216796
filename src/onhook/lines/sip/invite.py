"""How our INVITE looks: numbers, identity, session timer, and the copies of it that a challenge asks for."""

from collections.abc import Iterable
from urllib.parse import quote as percent_quote

import phonenumbers

from onhook.lines.engine import DialOrder, Trunk
from onhook.lines.sip.address import Destination, bracketed, destination_of
from onhook.lines.sip.context import ALLOW
from onhook.lines.sip.message import MAX_FORWARDS, Header, Request, new_branch, to_wire
from onhook.lines.sip.session_timer import request_headers

_USER_SAFE = "-_.!~*'()&=+$,;?/"
"""What a user part may hold unescaped (RFC 3261 section 25.1)."""

ENGINE_HEADERS = frozenset(
    {
        "via", "from", "to", "call-id", "cseq", "contact", "content-length", "content-type", "max-forwards", "route",
        "record-route", "supported", "require", "proxy-require", "allow", "session-expires", "min-se", "authorization",
        "proxy-authorization", "user-agent", "v", "f", "t", "i", "m", "l", "c", "k", "x",
    }
)  # fmt: skip
"""Headers that no user may set, and that nobody else needs to see."""

MAX_INVITE_BYTES = 60_000
"""What fits into a datagram, with room for the credentials that a challenge adds."""
MAX_CUSTOM_HEADERS = 128
"""With more, the next life of the process could not read its snapshot: `message.MAX_LINES`."""

_AUTHORIZATIONS = ("Authorization", "Proxy-Authorization")
_SESSION = ("Session-Expires", "Min-SE")


def trunk_destination(trunk: Trunk) -> Destination:
    """Return where a trunk's INVITEs go. Raises `ValueError` for a URI that we cannot use."""
    destination = destination_of(trunk.uri)
    if destination is None:
        raise ValueError(f"trunk {trunk.id}: {trunk.uri!r} is no sip URI with transport udp or tcp")
    return destination


def build_invite(order: DialOrder, *, tag: str, sent_by: str, transport: str, user_agent: str, sdp: bytes) -> Request:
    """Return the first INVITE of a leg. Raises `ValueError` for numbers or headers that cannot be sent."""
    trunk = order.trunk
    target = trunk_destination(trunk)
    place = f"{bracketed(target.host)}:{target.port}"
    domain = trunk.from_domain or bracketed(target.host)
    callee = user_part(order.to_number, trunk.number_format)
    caller = user_part(order.from_number, trunk.number_format)
    suffix = _transport_parameter(transport)
    headers: list[Header] = [
        ("Via", f"SIP/2.0/{transport.upper()} {sent_by};rport;branch={new_branch()}"),
        ("Max-Forwards", MAX_FORWARDS),
        ("From", f"<sip:{trunk.from_user or caller}@{domain}>;tag={tag}"),
        ("To", f"<sip:{callee}@{place}>"),
        ("Call-ID", order.sip_call_id),
        ("CSeq", "1 INVITE"),
        ("Contact", contact_of(sent_by, transport)),
        ("Allow", ALLOW),
        ("Supported", "timer"),
        ("User-Agent", user_agent),
    ]
    if trunk.identity:
        headers.append(("P-Asserted-Identity", f"<sip:{caller}@{domain}>"))
    if trunk.session_expires_s > 0:
        headers += request_headers(trunk.session_expires_s)
    headers += custom_headers(order.headers)
    headers.append(("Content-Type", "application/sdp"))
    wired = tuple((name, to_wire(value)) for name, value in headers)
    request = Request(method="INVITE", uri=to_wire(f"sip:{callee}@{place}{suffix}"), headers=wired, body=sdp)
    if len(request.encode()) > MAX_INVITE_BYTES:
        raise ValueError(f"the headers make an INVITE of more than {MAX_INVITE_BYTES} bytes")
    return request


def contact_of(sent_by: str, transport: str) -> str:
    """Return our Contact: where requests in the dialog find us."""
    return f"<sip:onhook@{sent_by}{_transport_parameter(transport)}>"


def _transport_parameter(transport: str) -> str:
    return "" if transport == "udp" else f";transport={transport}"


def user_part(number: str, number_format: str) -> str:
    """Write an E.164 number as the trunk wants it: `e164`, `plain` (no plus) or `national`."""
    if number_format == "plain":
        number = number.removeprefix("+")
    elif number_format == "national":
        try:
            number = phonenumbers.national_significant_number(phonenumbers.parse(number))
        except phonenumbers.NumberParseException:
            number = number.removeprefix("+")
    return percent_quote(number, safe=_USER_SAFE)


def custom_headers(headers: dict[str, str]) -> list[Header]:
    """Check the headers that the caller of the API adds. Raises `ValueError`."""
    if len(headers) > MAX_CUSTOM_HEADERS:
        raise ValueError(f"more than {MAX_CUSTOM_HEADERS} custom headers")
    for name, value in headers.items():
        if not name or not all(char.isascii() and (char.isalnum() or char in "-.!%*_+`'~") for char in name):
            raise ValueError(f"{name!r} is no header name")
        if name.lower() in ENGINE_HEADERS:
            raise ValueError(f"the header {name} is the engine's own")
        to_wire(value)
    return list(headers.items())


def reissue(invite: Request, *, authorization: Iterable[Header] = (), session: Iterable[Header] = ()) -> Request:
    """Return the INVITE once more, CSeq + 1 and a new branch (RFC 3261 sections 22.2 and 8.1.3.5).

    `authorization` replaces the credentials, a non-empty `session` the session timer headers.
    """
    authorization, session = list(authorization), list(session)
    replaced = _AUTHORIZATIONS + (_SESSION if session else ())
    via = invite.raw("Via")[0].rpartition(";branch=")[0]
    changed = {"Via": f"{via};branch={new_branch()}", "CSeq": f"{invite.cseq.sequence + 1} INVITE"}
    kept = [(name, changed.get(name, value)) for name, value in invite.headers if name not in replaced]
    return Request(method="INVITE", uri=invite.uri, headers=(*kept, *session, *authorization), body=invite.body)


def without_credentials(invite: Request) -> Request:
    """Return an INVITE as it may be kept: nobody's digest responses are."""
    headers = tuple(header for header in invite.headers if header[0] not in _AUTHORIZATIONS)
    return Request(method=invite.method, uri=invite.uri, headers=headers, body=invite.body)


def build_cancel(invite: Request, reason: Iterable[Header]) -> Request:
    """Return the CANCEL of an INVITE: same branch, CSeq number, Request-URI and Route (RFC 3261 section 9.1)."""
    headers = (
        ("Via", invite.raw("Via")[0]),
        *(("Route", value) for value in invite.raw("Route")),
        ("Max-Forwards", MAX_FORWARDS),
        ("From", invite.first("From") or ""),
        ("To", invite.first("To") or ""),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{invite.cseq.sequence} CANCEL"),
    )
    return Request(method="CANCEL", uri=invite.uri, headers=(*headers, *reason))
