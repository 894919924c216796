"""What the sandbox knows of each call: the record that tests and people read."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from onhook.lines.sandbox.media import Echo
from onhook.lines.sandbox.numbers import Number
from onhook.lines.sandbox.session import Dialog
from onhook.lines.sandbox.uas import Message


class Packet(NamedTuple):
    """One SIP message on the wire, lost ones included: `what` is the method or the status, `cseq` as "2 BYE"."""

    at_ms: int
    direction: str
    what: str
    cseq: str
    call_id: str

    @classmethod
    def of(cls, at_ms: int, direction: str, message: Message) -> "Packet":
        """Return the log line of `message`; `direction` is `in` or `out`, seen from the far end."""
        cseq = f"{message.cseq} {message.cseq_method}"
        return cls(at_ms, direction, message.what, cseq, message.call_id)


class CallState(StrEnum):
    """How the call stands at the far end: nothing of an `over` call rings or talks."""

    RINGING = "ringing"
    ANSWERED = "answered"
    OVER = "over"


@dataclass
class SandboxCall:
    """One call, by its Call-ID.

    `dialled` is the user part of the Request-URI, `branches` those of its INVITEs, `faults` what the
    caller did against the RFC, `packets` its part of the carrier's log.
    """

    call_id: str
    dialled: str
    number: Number
    branches: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    dialogs: list[Dialog] = field(default_factory=list)
    ringing: bool = False
    echo: Echo | None = None

    @property
    def state(self) -> CallState:
        """How the call stands at the far end."""
        if any(dialog.live for dialog in self.dialogs):
            return CallState.ANSWERED
        return CallState.RINGING if self.ringing else CallState.OVER

    @property
    def live_dialogs(self) -> int:
        """Answered dialogs that no BYE has ended, plus one for an INVITE without its final response."""
        return int(self.ringing) + sum(dialog.live for dialog in self.dialogs)

    @property
    def audio(self) -> bytes:
        """The mu-law the caller sent, at most 60 s, without what came as A-law; it stays after the call."""
        return bytes(self.echo.audio) if self.echo else b""

    @property
    def rtp_received(self) -> int:
        """How many RTP packets came."""
        return self.echo.received if self.echo else 0

    @property
    def keys(self) -> str:
        """The keys the caller pressed (RFC 4733)."""
        return self.echo.keys if self.echo else ""
