"""The torture messages of RFC 4475 section 3 as data, and what our engine owes each of them.

The texts are in the RFC's own mark-up, one file per part of its section 3: `<hex>` for octets, `<repeat count=N>`
for long strings, `<allOneLine>` for lines too long for its page. `<sdp>` is ours, for the body that most share.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FILES = ("rfc4475_valid.txt", "rfc4475_invalid.txt", "rfc4475_semantics.txt")

DROPPED = None
"""Nothing is answered: a response that is not ours, or a request too broken to be sure of its Via."""

OWED: dict[str, int | None] = {
    # 3.1.1 valid
    "wsinv": 481,  # Its To has a tag: it claims a dialog that we do not have.
    "intmeth": 501,
    "esc01": 403,  # We take no calls yet.
    "escnull": 405,
    "esc02": 501,
    "lwsdisp": 200,
    "longreq": 403,
    "dblreq": 405,  # And nothing for the INVITE behind it.
    "semiuri": 200,
    "transports": 200,
    "mpart01": 405,
    "unreason": DROPPED,
    "noreason": DROPPED,
    # 3.1.2 invalid: where 400 would be as right, refusing for another reason is too
    "badinv01": 403,
    "clerr": DROPPED,
    "ncl": DROPPED,
    "scalar02": DROPPED,
    "scalarlg": DROPPED,
    "quotbal": 403,
    "ltgtruri": 403,
    "lwsruri": DROPPED,
    "lwsstart": DROPPED,
    "trws": DROPPED,
    "escruri": 403,
    "baddate": 403,
    "regbadct": 405,
    "badaspec": 200,  # "Elements attempting to be liberal may ignore the spaces."
    "baddn": 200,
    "badvers": DROPPED,
    "mismatch01": DROPPED,
    "mismatch02": DROPPED,
    "bigcode": DROPPED,
    # 3.2 to 3.4
    "badbranch": 200,
    "insuf": DROPPED,
    "unkscm": 416,
    "novelsc": 416,
    "unksm2": 405,
    "bext01": 420,
    "invut": 403,
    "regaut01": 405,
    "multi01": DROPPED,
    "mcl01": DROPPED,
    "bcast": DROPPED,
    "zeromf": 200,
    "cparam01": 405,
    "cparam02": 405,
    "regescrt": 405,
    "sdp01": 403,
    "inv2543": 403,
}
"""The status that we answer each message with. 403, 405, 481 and 501 are this user agent's own refusals."""

NO_FRAME = frozenset({"ncl", "inv2543"})
"""Messages whose Content-Length cannot cut a stream: the connection is closed (RFC 3261 section 18.3)."""

MISFRAMED = frozenset({"clerr", "dblreq", "multi01", "mcl01"})
"""Messages with another length than they state: on a stream, what comes after them is lost."""


@dataclass(frozen=True)
class TortureMessage:
    """One message. `reply_port` is where its Via wants the answer, over UDP."""

    name: str
    section: str
    data: bytes

    @property
    def owed(self) -> int | None:
        """The status of our answer, or None for silence."""
        return OWED[self.name]

    @property
    def reply_port(self) -> int:
        """The port of the top Via; a Via with rport wants the source port, which is the same here."""
        found = re.search(rb"(?mi)^via *: *SIP/2\.0/\w+ [\w.-]+:(\d+)", self.data)
        return int(found[1]) if found else 5060

    @property
    def content_length(self) -> int | None:
        """The stated length of the body, if that is a number."""
        found = re.search(rb"(?mi)^(?:content-length|l) *: *(\d+)\r$", self.data)
        return int(found[1]) if found else None

    @property
    def body(self) -> bytes:
        """What follows the first empty line."""
        return self.data.partition(b"\r\n\r\n")[2]

    def __str__(self) -> str:
        return self.name


def read_messages() -> list[TortureMessage]:
    """Return all messages, in the RFC's order."""
    return [message for name in FILES for message in _of_file((Path(__file__).parent / name).read_text())]


def _of_file(text: str) -> list[TortureMessage]:
    _, *parts = re.split(r"(?m)^=== ", text)
    messages: list[TortureMessage] = []
    for part in parts:
        title, _, marked = part.partition("\n")
        name, section, _ = title.split(" ", 2)
        messages.append(TortureMessage(name, section, _expand(marked)))
    return messages


def _expand(marked: str) -> bytes:
    """Turn the mark-up into the bytes on the wire."""
    text = re.sub(r"<allOneLine>\n(.*?)</allOneLine>", lambda one: one[1].replace("\n", ""), marked, flags=re.DOTALL)
    text = re.sub(r"<repeat count=(\d+)>(.*?)</repeat>", lambda one: one[2] * int(one[1]), text)
    text = re.sub(r"<sdp(?: t=(\d+))?>(.*?)</sdp>", lambda one: _sdp(one[2], one[1] or "0"), text)
    wired = text.replace("\n", "\r\n").encode()
    return re.sub(rb"<hex>([0-9A-F]+)</hex>", lambda one: bytes.fromhex(one[1].decode()), wired)


def _sdp(address: str, start: str) -> str:
    lines = ["v=0", f"o=mhandley 29739 7272939 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", f"t={start} 0"]
    return "\n".join([*lines, "m=audio 49217 RTP/AVP 0 12", "m=video 3227 RTP/AVP 31", "a=rtpmap:31 LPC"])
