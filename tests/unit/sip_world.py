"""A user agent in a world without sockets: a clock that stands still, a wire that is a list, a far end made of text."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Proof
from onhook.lines.engine import DialOrder, LegEnded, LegEvent, ProofUpdated, Tick, Trunk
from onhook.lines.sip.address import Destination
from onhook.lines.sip.context import SipSettings
from onhook.lines.sip.message import Request, Response, parse
from onhook.lines.sip.sdp import RemoteMedia
from onhook.lines.sip.user_agent import UserAgent
from onhook.store.store import StoreError
from onhook.testing.clock import ManualClock

FAR = Destination("udp", "192.0.2.9", 5060)
STOP = Cause("api_key:1", Reason.API_STOP, q850=16, text="enough")
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)

NOTHING: Mapping[str, str] = {}

E = TypeVar("E", bound=LegEvent)


class FakeNetwork:
    """Records what is sent; `refuse` makes `connect` fail, `down` loses messages, `names` resolves host names."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Destination]] = []
        self.refuse = False
        self.down = False
        self.names: dict[str, str] = {}

    @property
    def address(self) -> tuple[str, int]:
        return "192.0.2.1", 5070

    def send(self, data: bytes, destination: Destination, on_left: Callable[[], None] | None = None) -> None:
        if self.down:
            return
        self.sent.append((data, destination))
        if on_left is not None:
            on_left()

    async def connect(self, destination: Destination) -> Destination:
        if self.refuse:
            raise ConnectionRefusedError("nobody there")
        found = self.resolved(destination)
        if found is None:
            raise OSError("unknown host")
        return found

    def resolved(self, destination: Destination) -> Destination | None:
        if destination.is_numeric:
            return destination
        host = self.names.get(destination.host)
        return None if host is None else Destination(destination.transport, host, destination.port)

    def local_host(self, destination: Destination) -> str:
        return self.address[0]


class FakeJournal:
    """Keeps snapshots; can refuse, fail, or keep its caller waiting until `release`."""

    def __init__(self) -> None:
        self.snapshots: list[bytes] = []
        self.allow = True
        self.fail = False
        self._gate = asyncio.Event()
        self._gate.set()

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    async def before_invite(self, call_id: str, snapshot: bytes) -> bool:
        await self._gate.wait()
        if self.fail:
            raise StoreError("disk full")
        self.snapshots.append(snapshot)
        return self.allow

    async def update(self, call_id: str, snapshot: bytes) -> None:
        await self.before_invite(call_id, snapshot)


@dataclass
class FakeMediaSession:
    """A media session that only remembers what was asked of it."""

    on_audio: Callable[[bytes], None]
    on_dtmf: Callable[[str, int], None]
    on_mark: Callable[[str, bool], None]
    on_tick: Callable[[Tick], None] | None = None
    marks: list[str] = field(default_factory=list)
    local_port: int = 4100
    queued_ms: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    last_sent_at: int | None = None
    last_received_at: int | None = None
    remotes: list[RemoteMedia] = field(default_factory=list)
    played: bytearray = field(default_factory=bytearray)
    keys: str = ""
    muted: bool = False
    closed: bool = False

    def set_remote(self, remote: RemoteMedia) -> None:
        self.remotes.append(remote)

    def play(self, mulaw: bytes) -> None:
        self.played += mulaw

    def flush(self) -> int:
        dropped, self.played = len(self.played) // 8, bytearray()
        return dropped

    def mark(self, name: str) -> None:
        self.marks.append(name)

    def listen(self, on_tick: Callable[[Tick], None]) -> None:
        self.on_tick = on_tick

    def send_dtmf(self, digits: str) -> None:
        self.keys += digits

    def mute(self) -> None:
        self.muted = True

    def close(self) -> None:
        self.closed = True


class FakeMedia:
    """Opens fake sessions; `fail` says that no port is free."""

    def __init__(self) -> None:
        self.sessions: list[FakeMediaSession] = []
        self.fail = False

    def open(
        self,
        call_id: str,
        on_audio: Callable[[bytes], None],
        on_dtmf: Callable[[str, int], None],
        on_mark: Callable[[str, bool], None],
    ) -> FakeMediaSession:
        if self.fail:
            raise OSError("no port is free")
        self.sessions.append(FakeMediaSession(on_audio, on_dtmf, on_mark))
        return self.sessions[-1]


class World:
    """A user agent and its far end."""

    def __init__(self, settings: SipSettings | None = None, trunk: Trunk | None = None) -> None:
        self.clock = ManualClock()
        self.network = FakeNetwork()
        self.journal = FakeJournal()
        self.media = FakeMedia()
        self.events: list[LegEvent] = []
        self.frames: list[bytes] = []
        self.ticks: list[tuple[str, Tick]] = []
        self.marks: list[tuple[str, str, bool]] = []
        self.cuts: list[str] = []
        self.trunk = trunk or Trunk("t1", "sip:192.0.2.9:5060", username="alice", password="secret")
        self.agent = UserAgent(
            settings or SipSettings(),
            self.journal,
            self,
            self.clock,
            self.media,
            self.network,
            credentials=lambda trunk_id: ("alice", "secret") if trunk_id == "t1" else None,
        )
        self._cseq = 100
        self._branch = 0

    # LineEvents

    def on_event(self, event: LegEvent) -> None:
        self.events.append(event)

    def on_audio(self, call_id: str, frame: bytes) -> None:
        self.frames.append(frame)

    def on_tick(self, call_id: str, tick: Tick) -> None:
        self.ticks.append((call_id, tick))

    def on_mark(self, call_id: str, name: str, cleared: bool) -> None:
        self.marks.append((call_id, name, cleared))

    def on_cut(self, call_id: str) -> None:
        assert call_id not in [event.call_id for event in self.of(LegEnded)], "a cut comes before the end"
        self.cuts.append(call_id)

    # our side

    async def place(self, call_id: str = "c1", **headers: str) -> Request:
        """Dial; return the INVITE."""
        await self.agent.place(self.order(call_id, **headers))
        return self.last("INVITE")

    def order(self, call_id: str = "c1", **headers: str) -> DialOrder:
        return DialOrder(call_id, f"{call_id}@test", self.trunk, "+12025550100", "+12025550123", headers)

    async def answered(self, **answer: str) -> Request:
        """Dial and have it answered; return the INVITE."""
        invite = await self.place()
        self.reply(invite, 180)
        self.reply(invite, 200, answer, sdp=SDP)
        await self.idle()
        return invite

    def hang_up(self, call_id: str = "c1") -> bool:
        return self.agent.hangup(call_id, STOP)

    async def idle(self) -> None:
        """Let every task run until all wait for something outside."""
        for _ in range(10):
            await asyncio.sleep(0)

    # what was sent

    def requests(self, method: str | None = None) -> list[Request]:
        found = [message for message in self.messages() if isinstance(message, Request)]
        return [request for request in found if method in (None, request.method)]

    def responses(self, method: str | None = None) -> list[Response]:
        found = [message for message in self.messages() if isinstance(message, Response)]
        return [response for response in found if method in (None, response.cseq.method)]

    def messages(self) -> list[Request | Response]:
        return [parse(data) for data, _ in self.network.sent]

    def last(self, method: str) -> Request:
        return self.requests(method)[-1]

    def count(self, method: str) -> int:
        return len(self.requests(method))

    # what the far end does

    def reply(
        self,
        request: Request,
        status: int,
        more: Mapping[str, str] = NOTHING,
        *,
        tag: str = "far",
        sdp: bytes = b"",
        contact: str = "",
        **headers: str,
    ) -> None:
        """Answer a request of ours. Header names are written with underscores."""
        self.agent.layer.receive(reply_to(request, status, more, tag=tag, sdp=sdp, contact=contact, **headers), FAR)

    def ask(
        self,
        method: str,
        invite: Request,
        more: Mapping[str, str] = NOTHING,
        *,
        tag: str = "far",
        cseq: int | None = None,
        body: bytes = b"",
        branch: str = "",
        **headers: str,
    ) -> bytes:
        """Send a request of the far end inside the dialog of `invite`; return its bytes."""
        data = self.compose(method, invite, more, tag=tag, cseq=cseq, body=body, branch=branch, **headers)
        self.agent.layer.receive(data, FAR)
        return data

    def compose(
        self,
        method: str,
        invite: Request,
        more: Mapping[str, str] = NOTHING,
        *,
        tag: str = "far",
        cseq: int | None = None,
        body: bytes = b"",
        branch: str = "",
        **headers: str,
    ) -> bytes:
        """Return a request of the far end inside the dialog of `invite`."""
        self._cseq += 1
        self._branch += 1
        head = {
            "Via": f"SIP/2.0/UDP 192.0.2.9:5060;rport;branch={branch or f'z9hG4bKfar{self._branch}'}",
            "Max-Forwards": "70",
            "From": f"<sip:+12025550123@192.0.2.9:5060>;tag={tag}",
            "To": invite.first("From") or "",
            "Call-ID": invite.call_id,
            "CSeq": f"{cseq or self._cseq} {method}",
            "Contact": "<sip:far@192.0.2.9:5060>",
            **({"Content-Type": "application/sdp"} if body else {}),
            **{name.replace("_", "-"): value for name, value in {**more, **headers}.items()},
            "Content-Length": str(len(body)),
        }
        lines = [f"{method} sip:onhook@192.0.2.1:5070 SIP/2.0", *(f"{name}: {value}" for name, value in head.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    # what was reported

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def ended(self) -> LegEnded:
        (ended,) = self.of(LegEnded)
        return ended

    @property
    def proof(self) -> Proof:
        return self.ended.proof

    @property
    def updated(self) -> Proof:
        return self.of(ProofUpdated)[-1].proof


def reply_to(
    request: Request,
    status: int,
    more: Mapping[str, str] = NOTHING,
    *,
    tag: str = "far",
    sdp: bytes = b"",
    contact: str = "",
    **headers: str,
) -> bytes:
    """Return a far end's response to a request of ours."""
    to = request.first("To") or ""
    if status > 100 and tag and "tag=" not in to:
        to += f";tag={tag}"
    lines = [f"SIP/2.0 {status} Because", *(f"Via: {via}" for via in request.raw("Via"))]
    lines += [f"From: {request.first('From')}", f"To: {to}", f"Call-ID: {request.call_id}", f"CSeq: {request.cseq}"]
    if request.method == "INVITE" and 200 <= status < 300:
        lines.append(f"Contact: {contact or '<sip:far@192.0.2.9:5060>'}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in {**more, **headers}.items()]
    if sdp:
        lines.append("Content-Type: application/sdp")
    return "\r\n".join([*lines, f"Content-Length: {len(sdp)}", "", ""]).encode("latin-1") + sdp
