"""SIP messages, read and written (RFC 3261 sections 7, 19, 20 and 25).

The grammar of URIs and the table of compact forms are `sipmessage`'s. The framing is ours, so that what a
peer wrote is kept as it wrote it: a From with an odd display name or a Contact with odd parameters must come
back byte for byte, or its owner will not know its own dialog. Text is held as latin-1, which is lossless for any
bytes; `to_wire` and `from_wire` translate what people wrote or read.

`parse` raises `MessageError` and nothing else, whatever the network sends.
"""

import re
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from sipmessage import URI, CSeq
from sipmessage.message import COMPACT_FORMS

Header = tuple[str, str]
"""A header's name in canonical case, and its value."""

MAX_FORWARDS = "70"
MAX_CSEQ = 2**31 - 1
MAX_LINES = 256
MAX_URI = 1024
MAX_REASON = 512
BRANCH_COOKIE = "z9hG4bK"
"""Every branch of RFC 3261 begins so (section 8.1.1.7)."""

_CANONICAL = {
    name.lower(): name
    for name in [
        *COMPACT_FORMS.values(), "Allow", "Authorization", "CSeq", "Expires", "Max-Forwards", "Min-SE",
        "Proxy-Authenticate", "Proxy-Authorization", "RAck", "Reason", "Record-Route", "Require", "Retry-After",
        "Route", "RSeq", "Server", "Unsupported", "User-Agent", "Warning", "WWW-Authenticate",
    ]
}  # fmt: skip

_REQUIRED = frozenset({"Via", "From", "To", "Call-ID", "CSeq"})
_SINGLE = frozenset({"From", "To", "Call-ID", "CSeq", "Content-Length", "Max-Forwards"})
"""Headers that stand once: with two, nobody can say which call or bytes are meant (RFC 4475 3.3.8, 3.3.9)."""

_BLANK = " \t"
"""What may stand around a value. Python's own idea of space takes in bytes of UTF-8, such as 0x85 and 0xA0."""

_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6]\d\d)(?: (.*))?$")
_REQUEST_LINE = re.compile(r"([A-Za-z0-9.!%*_+`'~-]{1,64}) (\S{1,2048}) SIP/2\.0$", re.ASCII)
_CSEQ = re.compile(r"(\d{1,20})[ \t]+([A-Za-z0-9.!%*_+`'~-]{1,64})$", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+$")
_VIA = re.compile(r"SIP\s*/\s*2\.0\s*/\s*(\w+)\s+(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?:\s*:\s*(\d{1,5}))?\s*((?:;.*)?)$", re.A)
_TAG = re.compile(r";\s*tag\s*=\s*([^\s;,]+)", re.I | re.A)
_NO_URI = re.compile(r"[\x00-\x20\x7f<>\"]")
_NUMBER = re.compile(r"\s*(\d{1,9})")
_Q850 = re.compile(r"Q\.850\s*;(?:[^,]*;)?\s*cause\s*=\s*(\d{1,3})", re.I)

_PHRASES = {
    100: "Trying", 180: "Ringing", 200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 420: "Bad Extension", 422: "Session Interval Too Small",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 486: "Busy Here",
    487: "Request Terminated", 488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error",
    501: "Not Implemented", 503: "Service Unavailable", 603: "Decline",
}  # fmt: skip


class MessageError(ValueError):
    """The bytes are no usable SIP message."""


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value: where a request came from and where its response goes (RFC 3261 section 20.42)."""

    transport: str
    host: str
    port: int | None
    parameters: dict[str, str]

    @property
    def branch(self) -> str:
        """The transaction's id; empty in requests of RFC 2543."""
        return self.parameters.get("branch", "")

    @property
    def sent_by(self) -> str:
        """Host and port as the sender named itself, for matching (section 17.2.3)."""
        return f"{self.host.lower()}:{self.port or 5060}"


@dataclass(frozen=True, slots=True)
class Message:
    """What requests and responses share."""

    headers: tuple[Header, ...]
    body: bytes = b""
    cseq: CSeq = field(init=False, compare=False)
    via: Via = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cseq", _parse_cseq(self.first("CSeq")))
        object.__setattr__(self, "via", parse_via(self.all("Via")))

    def all(self, name: str) -> list[str]:
        """Return every value of a header, comma lists taken apart (not for headers of dates or challenges)."""
        return [item for value in self.raw(name) for item in split_list(value)]

    def raw(self, name: str) -> list[str]:
        """Return the values of a header line by line; `name` in canonical case."""
        return [value for key, value in self.headers if key == name]

    def first(self, name: str) -> str | None:
        """Return a header's first line, or None."""
        return next((value for key, value in self.headers if key == name), None)

    def number(self, name: str) -> int | None:
        """Return the number that a header begins with, or None."""
        found = _NUMBER.match(self.first(name) or "")
        return int(found.group(1)) if found else None

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return self.first("Call-ID") or ""

    @property
    def from_tag(self) -> str:
        """The tag of From; empty when there is none, as RFC 2543 allowed."""
        return tag_of(self.first("From") or "")

    @property
    def to_tag(self) -> str:
        """The tag of To; empty when there is none."""
        return tag_of(self.first("To") or "")

    def tokens(self, name: str) -> set[str]:
        """Return a comma list of tokens in lower case, such as Supported or Require."""
        return {item.lower() for item in self.all(name) if item}

    @property
    def is_sdp(self) -> bool:
        """True when there is a body that claims to be SDP."""
        content_type = (self.first("Content-Type") or "").partition(";")[0].strip().lower()
        return bool(self.body) and content_type == "application/sdp"

    @property
    def contact_uri(self) -> str | None:
        """The URI of the first Contact, as written, or None."""
        contacts = self.all("Contact")
        return uri_of(contacts[0]) if contacts else None

    @property
    def q850(self) -> int | None:
        """The Q.850 cause of a Reason header (RFC 3326), or None."""
        found = _Q850.search(", ".join(self.raw("Reason"))[:MAX_REASON])
        return int(found.group(1)) if found else None

    def encode_with(self, start_line: str) -> bytes:
        """Return the bytes on the wire; Content-Length is always ours and last."""
        lines = [start_line, *(f"{name}: {value}" for name, value in self.headers if name != "Content-Length")]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode("latin-1") + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Message):
    """A request. `uri` is the Request-URI as text."""

    method: str
    uri: str

    def encode(self) -> bytes:
        """Return the bytes on the wire."""
        return self.encode_with(f"{self.method} {self.uri} SIP/2.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Message):
    """A response."""

    status: int
    phrase: str = ""

    def encode(self) -> bytes:
        """Return the bytes on the wire."""
        return self.encode_with(f"SIP/2.0 {self.status} {self.phrase}")


# --- reading ---------------------------------------------------------------------------------------


def parse(data: bytes) -> Request | Response:
    """Read one datagram or one message cut from a stream. Raises `MessageError`.

    Bare LF line ends are tolerated; a body is cut to its Content-Length, and a body shorter than that is an error
    (RFC 3261 section 18.3).
    """
    head, body = _split_body(data)
    lines = _unfold(head)
    headers = tuple(_header(line) for line in lines[1:])
    body = _cut_body(headers, body)
    if status := _STATUS_LINE.match(lines[0]):
        return Response(headers=headers, body=body, status=int(status[1]), phrase=status[2] or "")
    if request := _REQUEST_LINE.match(lines[0]):
        message = Request(headers=headers, body=body, method=request[1], uri=request[2])
        if message.cseq.method != message.method:
            raise MessageError("the CSeq names another method")
        return message
    raise MessageError("neither a request nor a response")


def _split_body(data: bytes) -> tuple[str, bytes]:
    data = data.lstrip(b"\r\n")
    ends = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := data.find(mark)) >= 0]
    if not ends:
        raise MessageError("no empty line after the headers")
    at, size = min(ends)
    return data[:at].decode("latin-1"), data[at + size :]


def _unfold(head: str) -> list[str]:
    """Split into lines; a line that begins with white space goes on with the one before (section 7.3.1)."""
    raw, lines = head.replace("\r\n", "\n").split("\n"), list[str]()
    if len(raw) > MAX_LINES:
        raise MessageError(f"more than {MAX_LINES} lines of headers")
    for line in raw:
        if "\r" in line:
            raise MessageError("a stray carriage return")
        if line[:1] in (" ", "\t") and lines:
            lines[-1] = f"{lines[-1]} {line.strip(_BLANK)}"
        else:
            lines.append(line)
    return lines


def _header(line: str) -> Header:
    name, colon, value = line.partition(":")
    name = name.strip(_BLANK)
    if not colon or not _NAME.match(name):
        raise MessageError(f"no header: {line[:40]!r}")
    name = COMPACT_FORMS.get(name.lower(), name)
    return _CANONICAL.get(name.lower(), name), value.strip(_BLANK)


def _cut_body(headers: tuple[Header, ...], body: bytes) -> bytes:
    counts = Counter(name for name, _ in headers)
    if missing := _REQUIRED - counts.keys():
        raise MessageError(f"missing headers: {', '.join(sorted(missing))}")
    if repeated := {name for name in _SINGLE if counts[name] > 1}:
        raise MessageError(f"repeated headers: {', '.join(sorted(repeated))}")
    stated = next((value for name, value in headers if name == "Content-Length"), None)
    if stated is None:
        return body
    if not (stated.isascii() and stated.isdigit() and len(stated) < 8) or int(stated) > len(body):
        raise MessageError("the Content-Length does not fit the body")
    return body[: int(stated)]


def _parse_cseq(value: str | None) -> CSeq:
    found = _CSEQ.match(value or "")
    if found is None:
        raise MessageError("unreadable CSeq")
    if int(found[1]) > MAX_CSEQ:
        raise MessageError("the CSeq is too high")  # Section 8.1.1.5.
    return CSeq(int(found[1]), found[2])


def parse_via(values: list[str]) -> Via:
    """Return the topmost Via. More tolerant than the grammar: host names with underscores are met in practice."""
    found = _VIA.match(values[0]) if values else None
    if found is None:
        raise MessageError("unreadable Via")
    port = int(found[3]) if found[3] else None
    if port is not None and not 0 < port < 65_536:
        raise MessageError("no port in Via")
    parameters: dict[str, str] = {}
    for item in found[4].split(";")[1:]:
        name, _, value = item.partition("=")
        parameters.setdefault(name.strip(_BLANK).lower(), value.strip(_BLANK))
    return Via(found[1].upper(), found[2], port, parameters)


def split_list(value: str) -> list[str]:
    """Split a comma list, but not inside quotes or angle brackets."""
    if "," not in value:
        return [value.strip(_BLANK)]
    items, start, quoted, angle, escaped = [], 0, False, False, False
    for at, char in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char in "<>":
            angle = char == "<"
        elif char == "," and not angle:
            items.append(value[start:at].strip(_BLANK))
            start = at + 1
    return [*items, value[start:].strip(_BLANK)]


def tag_of(party: str) -> str:
    """Return the tag of a From or To value; parameters inside the angle brackets are the URI's, not the header's."""
    found = _TAG.search(party, max(party.rfind(">"), 0))
    return found[1] if found else ""


def uri_of(address: str) -> str | None:
    """Return the URI of a name-addr or addr-spec, as written; None when there is none."""
    quoted_end = address.rfind('"')
    start = address.find("<", max(quoted_end, 0))
    if start >= 0:
        end = address.find(">", start)
        uri = address[start + 1 : end].strip() if end > 0 else ""
    else:
        uri = address.partition(";")[0].strip()
    return uri if uri and not _NO_URI.search(uri) else None


def parse_uri(text: str) -> URI | None:
    """Return a SIP URI's parts, or None when it is not one that we can reach."""
    if len(text) > MAX_URI:
        return None
    try:
        uri = URI.parse(text.partition("?")[0])
    except (ValueError, TypeError):  # A parameter named `self` is a TypeError there.
        return None
    return uri if uri.scheme == "sip" and uri.host and (uri.port is None or 0 < uri.port < 65_536) else None


# --- writing ---------------------------------------------------------------------------------------


def new_branch() -> str:
    """Return a branch that no other transaction has."""
    return BRANCH_COOKIE + secrets.token_hex(10)


def new_tag() -> str:
    """Return a tag with 64 bits of chance (section 19.3 wants 32)."""
    return secrets.token_hex(8)


def to_wire(text: str) -> str:
    """Turn what a person wrote into message text: UTF-8 on the wire. Raises `ValueError` for control characters."""
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("control characters, CR and LF among them, may not enter a header")
    return text.encode("utf-8", "replace").decode("latin-1")


def from_wire(text: str) -> str:
    """Turn message text into what a person reads."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def quote(text: str) -> str:
    """Return `text` as a quoted-string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def respond(
    request: Request, status: int, *, tag: str = "", headers: Iterable[Header] = (), body: bytes = b""
) -> Response:
    """Return a response (RFC 3261 section 8.2.6): Via and Record-Route copied, `tag` added to a bare To."""
    to = request.first("To") or ""
    if tag and not request.to_tag and status > 100:
        to = f"{to};tag={tag}"
    copied = [(name, value) for name, value in request.headers if name in ("Via", "Record-Route")]
    own = [("From", request.first("From") or ""), ("To", to), ("Call-ID", request.call_id), ("CSeq", str(request.cseq))]
    if body:
        own.append(("Content-Type", "application/sdp"))
    phrase = _PHRASES.get(status, "Response")
    return Response(headers=(*copied, *own, *headers), body=body, status=status, phrase=phrase)


def stamp_source(request: Request, host: str, port: int) -> Request:
    """Write where a request really came from into its top Via (RFC 3261 section 18.2.1, RFC 3581 section 4)."""
    lines = list(request.headers)
    at = next(index for index, (name, _) in enumerate(lines) if name == "Via")
    values = split_list(lines[at][1])
    top = re.sub(r";\s*(?:rport|received)\s*(?:=[^;]*)?(?=;|$)", "", values[0], flags=re.I)
    top += f";received={host}" + (f";rport={port}" if "rport" in request.via.parameters else "")
    lines[at] = ("Via", ", ".join([top, *values[1:]]))
    return Request(headers=tuple(lines), body=request.body, method=request.method, uri=request.uri)
