"""SIP messages as the sandbox reads and builds them (RFC 3261).

Written apart from the engine and sharing no code with it, so that each can judge the other: header values
are kept as they came and copied back byte for byte.
"""

import ipaddress
import re

import msgspec

Address = tuple[str, int]
Headers = tuple[tuple[str, str], ...]

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"

REASONS: dict[int, str] = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    420: "Bad Extension",
    482: "Loop Detected",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}

_LONG_FORMS = {
    "v": "Via",
    "f": "From",
    "t": "To",
    "i": "Call-ID",
    "m": "Contact",
    "l": "Content-Length",
    "c": "Content-Type",
    "k": "Supported",
}
_REQUIRED = ("Via", "From", "To", "Call-ID", "CSeq")
_LIST_ITEM = re.compile(r"""(?:"(?:\\.|[^"\\])*"|<[^>]*>|[^,])+""")
_SENT_BY = re.compile(r"SIP\s*/\s*2\.0\s*/\s*\w+\s+([^;\s:]+)(?:\s*:\s*(\d{1,5})\b)?", re.IGNORECASE)
_URI_PLACE = re.compile(r"sips?:(?:[^@>]*@)?([^:;>?\s]+)(?::(\d{1,9}))?", re.IGNORECASE)


class MalformedMessage(ValueError):  # noqa: N818 - the RFC's own word
    """A datagram that is no SIP message, or one without the headers every message needs."""


class Message(msgspec.Struct, frozen=True):
    """What requests and responses have in common."""

    headers: Headers
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return every value of a header in order, comma lists taken apart."""
        lines = [value for key, value in self.headers if key.lower() == name.lower()]
        return [part.strip() for line in lines for part in _LIST_ITEM.findall(line) if part.strip()]

    def header(self, name: str) -> str:
        """Return the first line of a header as it came, or an empty string."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return self.header("Call-ID")

    @property
    def cseq(self) -> int:
        """The number of the CSeq."""
        return int(self.header("CSeq").split()[0])

    @property
    def cseq_method(self) -> str:
        """The method of the CSeq."""
        return self.header("CSeq").split()[1]

    @property
    def branch(self) -> str:
        """The branch of the topmost Via, empty when it has none."""
        return parameter(self.values("Via")[0], "branch") or ""

    @property
    def to_tag(self) -> str | None:
        """The tag of the To header, None outside a dialog."""
        return parameter(self.header("To"), "tag")

    @property
    def what(self) -> str:
        """The method, or the status as text: how a packet log names it."""
        raise NotImplementedError


class Request(Message, frozen=True):
    """A SIP request."""

    method: str
    uri: str

    @property
    def what(self) -> str:
        """The method."""
        return self.method

    def encode(self) -> bytes:
        """Return the datagram."""
        return _encode(f"{self.method} {self.uri} SIP/2.0", self)


class Response(Message, frozen=True):
    """A SIP response."""

    status: int

    @property
    def what(self) -> str:
        """The status."""
        return str(self.status)

    def encode(self) -> bytes:
        """Return the datagram."""
        return _encode(f"SIP/2.0 {self.status} {REASONS.get(self.status, 'Unknown')}", self)


def parse(data: bytes) -> Request | Response:
    """Read one datagram. Raises `MalformedMessage`."""
    head, _, body = data.partition(b"\r\n\r\n")
    text = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace"))
    start, *lines = text.split("\r\n")
    headers = tuple(_header(line) for line in lines)
    words = start.split(" ", 2)
    if len(words) != 3:
        raise MalformedMessage(f"bad start line: {start[:80]!r}")
    message: Request | Response
    if words[0] == "SIP/2.0":
        if not re.fullmatch(r"[1-6]\d\d", words[1]):
            raise MalformedMessage(f"bad status: {words[1][:20]!r}")
        message = Response(headers, body, int(words[1]))
    elif words[2] == "SIP/2.0":
        message = Request(headers, body, words[0], words[1])
    else:
        raise MalformedMessage(f"bad start line: {start[:80]!r}")
    _check(message)
    return message


def parameter(value: str, name: str) -> str | None:
    """Return a `;name=value` parameter that stands outside `<...>`; empty when it has no value, None if absent."""
    outside = re.sub(r"<[^>]*>|\"[^\"]*\"", "", value)
    match = re.search(rf";\s*{name}\s*(?:=\s*([^;\s]+))?\s*(?:;|$)", outside, re.IGNORECASE)
    return None if match is None else match[1] or ""


def uri_of(value: str) -> str:
    """Return the URI inside a name-addr, or the addr-spec without its header parameters."""
    match = re.search(r"<([^>]*)>", value)
    return match[1] if match else value.partition(";")[0].strip()


def user_of(uri: str) -> str:
    """Return the user part of a SIP URI, without parameters or password."""
    match = re.match(r"sips?:([^@;:]+)[^@]*@", uri, re.IGNORECASE)
    return match[1] if match else ""


def place_of(uri: str, default: Address) -> Address:
    """Return the host and port a SIP URI names; `default` when the host is no IPv4 address."""
    match = _URI_PLACE.match(uri)
    if match is None or not is_ipv4(match[1]):
        return default
    port = int(match[2] or 5060)
    return (match[1], port) if 0 < port < 65536 else default


def is_ipv4(host: str) -> bool:
    """Say whether `host` is an IPv4 address, so that sending to it looks nothing up."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def stamp(request: Request, source: Address) -> Request:
    """Write `received` and `rport` into the topmost Via (RFC 3261 18.2.1, RFC 3581 4)."""
    name, line = next((key, value) for key, value in request.headers if key.lower() == "via")
    top = request.values("Via")[0]
    stamped = top
    if parameter(top, "rport") is not None:
        stamped = re.sub(r";\s*rport(=[^;]*)?(?=;|\s*$)", f";rport={source[1]}", top, count=1, flags=re.IGNORECASE)
    if stamped != top or _sent_by(top)[0] != source[0]:
        stamped += f";received={source[0]}"
    at = request.headers.index((name, line))
    headers = (*request.headers[:at], (name, line.replace(top, stamped, 1)), *request.headers[at + 1 :])
    return Request(headers, request.body, request.method, request.uri)


def reply_address(request: Request, source: Address) -> Address:
    """Return where responses to a stamped request go: the source port with rport, else the Via's port."""
    top = request.values("Via")[0]
    return source if parameter(top, "rport") is not None else (source[0], _sent_by(top)[1])


def transaction_key(request: Request) -> tuple[str, str, str]:
    """Return what a retransmission shares with its original: branch, sent-by, method; an ACK's INVITE for an ACK."""
    method = "INVITE" if request.method == "ACK" else request.method
    host, port = _sent_by(request.values("Via")[0])
    return request.branch or f"{request.call_id} {request.cseq}", f"{host}:{port}", method


def response(
    request: Request,
    status: int,
    *,
    tag: str,
    extra: Headers = (),
    body: bytes = b"",
) -> Response:
    """Answer `request`: all Vias, From, Call-ID and CSeq copied, To with `tag` unless it has one or this is a 100."""
    to = request.header("To")
    if request.to_tag is None and status != 100:
        to = f"{to};tag={tag}"
    copied = [(key, value) for key, value in request.headers if key.lower() == "via"]
    copied += [("From", request.header("From")), ("To", to), ("Call-ID", request.call_id)]
    return Response((*copied, ("CSeq", request.header("CSeq")), *extra), body, status)


def _encode(start: str, message: Message) -> bytes:
    lines = [start, *(f"{key}: {value}" for key, value in message.headers), f"Content-Length: {len(message.body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + message.body


def _header(line: str) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    if not colon:
        raise MalformedMessage(f"bad header: {line[:80]!r}")
    key = key.strip()
    return _LONG_FORMS.get(key.lower(), key), value.strip()


def _check(message: Message) -> None:
    for name in _REQUIRED:
        if not message.header(name):
            raise MalformedMessage(f"no {name} header")
    if not re.fullmatch(r"\d{1,10}\s+\S+", message.header("CSeq")):
        raise MalformedMessage("bad CSeq")
    if not message.values("Via") or not 0 < _sent_by(message.values("Via")[0])[1] < 65536:
        raise MalformedMessage("bad Via")


def _sent_by(via: str) -> Address:
    match = _SENT_BY.match(via)
    if match is None:
        raise MalformedMessage("bad Via")
    return match[1], int(match[2] or 5060)
