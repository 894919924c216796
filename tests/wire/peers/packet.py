"""One SIP message as it was seen on the wire: what every verdict of the wire suite is made of."""

import hashlib
import re
from dataclasses import dataclass

USER, PASSWORD = "onhook", "s3cret"
"""The credentials that the far ends of this suite accept."""


@dataclass(frozen=True)
class Packet:
    """A SIP message; `at` is ms since the epoch, `sent` is True when the far end sent it."""

    at: float
    sent: bool
    raw: str

    @property
    def first(self) -> str:
        """The request line or status line."""
        return self.raw.split("\r\n", 1)[0]

    @property
    def status(self) -> int | None:
        """The status of a response, None for a request."""
        return int(self.first.split()[1]) if self.first.startswith("SIP/2.0 ") else None

    def headers(self, name: str) -> list[str]:
        """All values of the header `name`, one per line, in order."""
        head = self.raw.split("\r\n\r\n", 1)[0]
        return re.findall(rf"(?im)^{re.escape(name)}[ \t]*:[ \t]*(.*?)\r?$", head)

    def header(self, name: str) -> str:
        """The first value of the header `name`, or an empty string."""
        return next(iter(self.headers(name)), "")

    @property
    def cseq(self) -> int:
        """The number in CSeq."""
        return int(self.header("CSeq").split()[0])

    @property
    def method(self) -> str:
        """The method in CSeq: of a response, the method that it answers."""
        return self.header("CSeq").split()[1]

    @property
    def branch(self) -> str:
        """The branch of the top Via."""
        return (re.search(r"branch=([^;,\s]+)", self.header("Via")) or ["", ""])[1]

    @property
    def to_tag(self) -> str:
        """The tag in To, or an empty string."""
        return (re.search(r";tag=([^;,\s]+)", self.header("To")) or ["", ""])[1]

    @property
    def uri(self) -> str:
        """The Request-URI of a request."""
        return self.first.split()[1]

    @property
    def body(self) -> str:
        """What follows the headers."""
        return self.raw.partition("\r\n\r\n")[2]

    @property
    def has_credentials(self) -> bool:
        """Whether the request answers a digest challenge."""
        return bool(self.header("Authorization") or self.header("Proxy-Authorization"))

    @property
    def digest_is_right(self) -> bool:
        """Whether the credentials are ours, computed anew (RFC 2617 3.2.2, RFC 8760)."""
        credentials = self.header("Authorization") or self.header("Proxy-Authorization")
        given: dict[str, str] = dict(re.findall(r'(\w+)="?([^",\s]+)"?', credentials))

        def h(text: str) -> str:
            return (hashlib.sha256 if given.get("algorithm") == "SHA-256" else hashlib.md5)(text.encode()).hexdigest()

        fresh = ":".join(given[k] for k in ("nonce", "nc", "cnonce", "qop")) if "qop" in given else given["nonce"]
        secret, what = h(f"{USER}:{given['realm']}:{PASSWORD}"), h(f"{self.method}:{given['uri']}")
        return (given["uri"], given["response"]) == (self.uri, h(f"{secret}:{fresh}:{what}"))

    def __str__(self) -> str:
        arrow = "far end ->" if self.sent else "far end <-"
        return f"{self.at:.1f} {arrow} {self.first}  [CSeq {self.header('CSeq')}, {self.branch}]"


class PacketLog(list[Packet]):
    """Packets in order of time, and the questions that tests ask of them."""

    def requests(self, method: str, *, sent: bool = False) -> list[Packet]:
        """Return requests of `method`: ours by default, the far end's with `sent`."""
        return [p for p in self if p.status is None and p.method == method and p.sent is sent]

    def responses(self, method: str, *, sent: bool = True) -> list[Packet]:
        """Return responses to `method`: the far end's by default."""
        return [p for p in self if p.status is not None and p.method == method and p.sent is sent]

    def branches(self, method: str) -> list[str]:
        """Return the distinct branches of our requests of `method`, in order."""
        return list(dict.fromkeys(p.branch for p in self.requests(method)))

    def __str__(self) -> str:
        return "\n".join(str(p) for p in self)
