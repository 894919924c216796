"""What a message may do at most: a second, strict reading of SIP that shares nothing with the product.

The engine may do less than the oracle allows (drop, refuse), never more.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

FAR_TAG = b"far1"
"""The tag of the far end that answers."""

_COMPACT = {b"v": b"via", b"f": b"from", b"t": b"to", b"i": b"call-id", b"l": b"content-length"}


@dataclass(frozen=True)
class Reading:
    """A message's start line and its headers, names in lower case; headers that come twice have two values."""

    start: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes

    def one(self, name: bytes) -> bytes:
        """The only value of a header; empty when there is none or more than one."""
        values = self.headers.get(name, [])
        return values[0] if len(values) == 1 else b""

    @property
    def branch(self) -> bytes:
        """The branch of the topmost Via."""
        top = (self.headers.get(b"via") or [b""])[0].partition(b",")[0]
        return _after(rb";\s*branch\s*=\s*", top)

    @property
    def method(self) -> bytes:
        """The method in CSeq."""
        return self.one(b"cseq").split()[-1] if self.one(b"cseq").split() else b""

    @property
    def number(self) -> int | None:
        """The number in CSeq."""
        found = re.match(rb"\d{1,10}(?!\d)", self.one(b"cseq"))
        return int(found[0]) if found else None

    @property
    def call_id(self) -> bytes:
        """The Call-ID."""
        return self.one(b"call-id")

    def tag(self, name: bytes) -> bytes:
        """The tag of From or To."""
        return _after(rb";\s*tag\s*=\s*", self.one(name).rpartition(b">")[2])

    @property
    def status(self) -> int | None:
        """The status of a response."""
        found = re.match(rb"SIP/2\.0 (\d{3})(?: |$)", self.start)
        return int(found[1]) if found else None


def read(data: bytes) -> Reading:
    """Split a message; whatever does not look like a header is left out."""
    head, _, body = data.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
    start, *lines = re.sub(rb"\n[ \t]+", b" ", head).split(b"\n")
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        key = name.strip(b" \t").lower()
        headers.setdefault(_COMPACT.get(key, key), []).append(value.strip(b" \t"))
    return Reading(start, headers, body)


def is_in_dialog(data: bytes, invite: Reading, far_tags: Iterable[bytes] | None = (FAR_TAG,)) -> bool:
    """Whether a request of the far end is in the dialog of our INVITE; `far_tags` None is for any far end."""
    message = read(data)
    return (
        message.status is None
        and message.call_id == invite.call_id
        and message.tag(b"to") == invite.tag(b"from")
        and (far_tags is None or message.tag(b"from") in far_tags)
    )


def is_far_bye(data: bytes, invite: Reading, far_tags: Iterable[bytes] | None) -> bool:
    """Whether a message is a BYE of the far end in the dialog of our INVITE."""
    message = read(data)
    return (
        re.match(rb"BYE \S+ SIP/2\.0$", message.start) is not None
        and message.method == b"BYE"
        and is_in_dialog(data, invite, far_tags)
    )


def answers(data: bytes, requests: Iterable[Reading]) -> Reading | None:
    """The request of ours that a message may be a response to: branch, method, number and Call-ID are its own."""
    message = read(data)
    if message.status is None:
        return None
    wanted = (message.branch, message.method, message.number, message.call_id)
    return next((one for one in requests if (one.branch, one.method, one.number, one.call_id) == wanted), None)


def confirms(data: bytes, requests: Iterable[Reading]) -> bool:
    """Whether a message may prove the end of a call: the INVITE refused, or a BYE answered by 2xx or 481."""
    request, status = answers(data, requests), read(data).status or 0
    if request is None:
        return False
    return (
        status >= 300 if request.method == b"INVITE" else request.method == b"BYE" and (status < 300 or status == 481)
    )


def is_well_formed(data: bytes) -> bool:
    """Whether what we send ourselves is sound: nothing that came in can break our own framing."""
    head, mark, body = data.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    return (
        mark != b""
        and re.fullmatch(rb"SIP/2\.0 \d{3} .*|\S+ \S+ SIP/2\.0", start) is not None
        and all(re.match(rb"[\w.!%*+`'~-]+:", line) and b"\r" not in line and b"\n" not in line for line in lines)
        and [line for line in lines if line.startswith(b"Content-Length:")] == [b"Content-Length: %d" % len(body)]
    )


def _after(pattern: bytes, value: bytes) -> bytes:
    found = re.search(pattern + rb"([^\s;,]+)", value, re.I)
    return found[1] if found else b""
