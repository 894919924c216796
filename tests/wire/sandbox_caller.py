"""A caller to the sandbox carrier: a socket, strings and a clock that stands still; no code of the carrier."""

import asyncio
import hashlib
import re
from collections.abc import Callable

from onhook.lines.sandbox import SandboxCall, SandboxCarrier
from onhook.testing.clock import ManualClock


class Reply:
    """One datagram from the carrier, as text."""

    def __init__(self, data: bytes) -> None:
        self.text = data.decode()
        self.start, _, rest = self.text.partition("\r\n")
        self.head, _, self.body = rest.partition("\r\n\r\n")
        self.what = self.start.split()[1] if self.start.startswith("SIP/2.0") else self.start.split()[0]

    def all(self, name: str) -> list[str]:
        return re.findall(rf"^{name}: (.*?)\r?$", self.head, re.MULTILINE)

    def __getitem__(self, name: str) -> str:
        return self.all(name)[0]

    @property
    def tag(self) -> str:
        return self["To"].partition("tag=")[2]

    @property
    def contact(self) -> str:
        return self["Contact"].strip("<>")


class Caller(asyncio.DatagramProtocol):
    """A socket, a counter of branches, and a queue of what came."""

    def __init__(self, far: tuple[str, int], digits: str) -> None:
        self.far = far
        self.call_id = f"call-{digits}"
        self.uri = f"sip:+120255501{digits}@{far[0]}:{far[1]}"
        self.inbox: asyncio.Queue[Reply] = asyncio.Queue()
        self.branches = 0
        self.media = ("127.0.0.1", 9)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport
        self.host, self.port = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.inbox.put_nowait(Reply(data))

    def sdp(self, direction: str = "sendrecv") -> str:
        host, port = self.media
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n"
            f"a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
        )

    def send(
        self,
        method: str,
        cseq: int = 1,
        *,
        uri: str = "",
        tag: str = "",
        branch: str = "",
        headers: tuple[str, ...] = (),
        body: str = "",
    ) -> str:
        """Send a request and return its branch."""
        if not branch:
            self.branches += 1
            branch = f"z9hG4bK-{self.branches}"
        lines = [
            f"{method} {uri or self.uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch={branch};rport",
            "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK-behind",
            "Max-Forwards: 70",
            f"From: <sip:+12025550000@{self.host}>;tag=mine",
            f"To: <{self.uri}>" + (f";tag={tag}" if tag else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:me@{self.host}:{self.port}>",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.transport.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self.far)
        return branch

    def invite(self, cseq: int = 1, branch: str = "", headers: tuple[str, ...] = ()) -> str:
        return self.send("INVITE", cseq, branch=branch, headers=headers, body=self.sdp())

    def ack(self, ok: Reply, cseq: int = 1, routes: tuple[str, ...] = ()) -> None:
        self.send("ACK", cseq, uri=ok.contact, tag=ok.tag, headers=routes)

    def bye(self, ok: Reply, cseq: int = 2, branch: str = "", headers: tuple[str, ...] = ()) -> str:
        return self.send("BYE", cseq, uri=ok.contact, tag=ok.tag, branch=branch, headers=headers)

    def answer(self, request: Reply, body: str = "", status: str = "200 OK") -> None:
        copied = [
            f"{name}: {value}" for name in ("Via", "From", "To", "Call-ID", "CSeq") for value in request.all(name)
        ]
        lines = [f"SIP/2.0 {status}", *copied, f"Contact: <sip:me@{self.host}:{self.port}>"]
        self.transport.sendto(
            ("\r\n".join(lines) + f"\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode(), self.far
        )

    async def next(self, what: str) -> Reply:
        """Return the next datagram, which must be `what`."""
        async with asyncio.timeout(2):
            reply = await self.inbox.get()
        assert reply.what == what, reply.text
        return reply

    async def settled(self) -> None:
        """Return once the carrier has taken all that was sent, with nothing more from it than was read."""
        self.branches += 1
        ping = f"z9hG4bK-ping-{self.branches}"
        self.transport.sendto(
            f"OPTIONS {self.uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self.host}:{self.port};branch={ping};rport\r\n"
            f"From: <sip:a@b>;tag=p\r\nTo: <sip:a@b>\r\nCall-ID: ping\r\nCSeq: 1 OPTIONS\r\n\r\n".encode(),
            self.far,
        )
        assert (await self.next("200"))["CSeq"] == "1 OPTIONS"


class Line:
    """A carrier on a clock that stands still, and callers to it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.carrier = SandboxCarrier(clock=self.clock)
        self.callers: list[Caller] = []

    async def caller(self, digits: str) -> Caller:
        loop = asyncio.get_running_loop()
        far = self.carrier.address
        _, caller = await loop.create_datagram_endpoint(lambda: Caller(far, digits), local_addr=("127.0.0.1", 0))
        self.callers.append(caller)
        return caller

    @property
    def call(self) -> SandboxCall:
        (call,) = self.carrier.calls
        return call

    async def answered(self, digits: str, headers: tuple[str, ...] = ()) -> tuple[Caller, Reply]:
        """Call a number that rings and answers; return the caller and the 200, which has its ACK."""
        caller = await self.caller(digits)
        caller.invite(headers=headers)
        await caller.next("100")
        self.clock.advance(0.05)
        await caller.next("180")
        self.clock.advance(0.25)
        ok = await caller.next("200")
        routes = tuple(f"Route: {route}" for route in reversed(ok.all("Record-Route")))
        caller.ack(ok, routes=routes)
        await caller.settled()
        return caller, ok


def credentials(reply: Reply, method: str, uri: str, hash_of: Callable[[bytes], str], password: str = "sandbox") -> str:
    challenge = (reply.all("WWW-Authenticate") + reply.all("Proxy-Authenticate"))[0]
    found = re.search(r'nonce="(\w+)", algorithm=([\w-]+)', challenge)
    assert found is not None
    nonce, algorithm = found.groups()
    first = hash_of(f"onhook:sandbox:{password}".encode())
    second = hash_of(f"{method}:{uri}".encode())
    response = hash_of(f"{first}:{nonce}:00000001:beef:auth:{second}".encode())
    name = "Authorization" if reply.what == "401" else "Proxy-Authorization"
    return (
        f'{name}: Digest username="onhook", realm="sandbox", nonce="{nonce}", uri="{uri}", '
        f'algorithm={algorithm}, qop=auth, nc=00000001, cnonce="beef", response="{response}"'
    )


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
