"""The sandbox carrier, called over UDP by a caller that is nothing but a socket and strings."""

import asyncio
import hashlib
import re
import shutil
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from onhook.lines.sandbox import SandboxCall, SandboxCarrier
from onhook.testing.clock import ManualClock

pytestmark = pytest.mark.wire


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


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    await line.carrier.start()
    yield line
    for caller in line.callers:
        caller.transport.close()
    await line.carrier.close()


async def refused(line: Line, digits: str, status: str) -> Caller:
    caller = await line.caller(digits)
    branch = caller.invite()
    await caller.next("100")
    line.clock.advance(0.05)
    final = await caller.next(status)
    assert line.carrier.live_dialogs() == 0
    caller.send("ACK", tag=final.tag, branch=branch)
    await caller.settled()
    return caller


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


async def test_00_rings_answers_and_takes_a_bye(line: Line) -> None:
    caller, ok = await line.answered("00")
    assert line.call.state == "answered"
    assert line.carrier.live_dialogs() == 1
    assert "m=audio" in ok.body
    caller.bye(ok)
    assert (await caller.next("200"))["CSeq"] == "2 BYE"
    assert line.call.state == "over"
    assert line.carrier.live_dialogs() == 0
    assert line.call.faults == []
    log = [(packet.direction, packet.what, packet.cseq) for packet in line.call.packets]
    assert log == [
        ("in", "INVITE", "1 INVITE"),
        ("out", "100", "1 INVITE"),
        ("out", "180", "1 INVITE"),
        ("out", "200", "1 INVITE"),
        ("in", "ACK", "1 ACK"),
        ("in", "BYE", "2 BYE"),
        ("out", "200", "2 BYE"),
    ]


async def test_00_copies_all_vias_and_fills_in_rport(line: Line) -> None:
    caller = await line.caller("00")
    caller.invite()
    trying = await caller.next("100")
    top, behind = trying.all("Via")
    assert f"rport={caller.port}" in top
    assert "received=127.0.0.1" in top
    assert behind == "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK-behind"
    assert trying.tag == ""


async def test_00_repeats_its_answer_to_a_repeated_request(line: Line) -> None:
    caller, ok = await line.answered("00")
    branch = caller.bye(ok)
    first = await caller.next("200")
    caller.bye(ok, branch=branch)
    assert (await caller.next("200")).text == first.text
    caller.bye(ok, cseq=3)
    await caller.next("481")


async def test_a_200_is_sent_again_until_its_ack_and_a_bye_follows_when_none_comes(line: Line) -> None:
    caller = await line.caller("00")
    caller.invite()
    await caller.next("100")
    line.clock.advance(0.3)
    await caller.next("180")
    await caller.next("200")
    for pause in (0.5, 1, 2, 4, 4, 4, 4, 4, 4, 4):
        line.clock.advance(pause - 0.001)
        await caller.settled()
        line.clock.advance(0.001)
        await caller.next("200")
    line.clock.advance(0.5)
    caller.answer(await caller.next("BYE"))
    await caller.settled()
    assert line.call.faults == ["a 200 never got its ACK"]
    assert line.carrier.live_dialogs() == 0


async def test_00_echoes_audio_and_keys_under_its_own_source_and_keeps_them(line: Line) -> None:
    loop = asyncio.get_running_loop()
    packets: asyncio.Queue[bytes] = asyncio.Queue()

    class Rtp(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            packets.put_nowait(data)

    transport, _ = await loop.create_datagram_endpoint(Rtp, local_addr=("127.0.0.1", 0))
    caller = await line.caller("00")
    caller.media = transport.get_extra_info("sockname")
    caller.invite()
    await caller.next("100")
    line.clock.advance(0.3)
    await caller.next("180")
    ok = await caller.next("200")
    caller.ack(ok)
    found = re.search(r"m=audio (\d+)", ok.body)
    assert found is not None
    far = ("127.0.0.1", int(found[1]))
    voice = bytes(range(160))
    transport.sendto(struct.pack("!BBHII", 0x80, 0, 7, 160, 42) + voice, far)
    async with asyncio.timeout(2):
        echoed = await packets.get()
    assert echoed[12:] == voice
    assert echoed[4:8] == struct.pack("!I", 160)
    assert echoed[8:12] != struct.pack("!I", 42)
    for end in (0, 0x80, 0x80):
        transport.sendto(struct.pack("!BBHIIBBH", 0x80, 101, 8, 320, 42, 5, end | 10, 800), far)
        async with asyncio.timeout(2):
            assert (await packets.get())[12] == 5
    transport.close()
    caller.bye(ok)
    await caller.next("200")
    assert line.call.audio == voice
    assert line.call.keys == "5"
    assert line.call.rtp_received == 4


async def test_01_rings_for_ever_and_a_cancel_ends_it_with_487(line: Line) -> None:
    caller = await line.caller("01")
    branch = caller.invite()
    await caller.next("100")
    line.clock.advance(0.05)
    await caller.next("180")
    line.clock.advance(3600)
    await caller.settled()
    assert line.call.state == "ringing"
    assert line.carrier.live_dialogs() == 1
    caller.send("CANCEL", branch=branch)
    assert (await caller.next("200"))["CSeq"] == "1 CANCEL"
    final = await caller.next("487")
    assert final["CSeq"] == "1 INVITE"
    line.clock.advance(0.5)
    await caller.next("487")
    caller.send("ACK", tag=final.tag, branch=branch)
    await caller.settled()
    line.clock.advance(64)
    await caller.settled()
    assert line.call.faults == []
    assert line.carrier.live_dialogs() == 0


@pytest.mark.parametrize(("digits", "status"), [("02", "486"), ("05", "404"), ("19", "503")])
async def test_02_05_19_refuse_at_once(line: Line, digits: str, status: str) -> None:
    await refused(line, digits, status)
    assert line.call.faults == []


async def test_03_rings_then_declines(line: Line) -> None:
    caller = await line.caller("03")
    caller.invite()
    await caller.next("100")
    line.clock.advance(0.05)
    await caller.next("180")
    line.clock.advance(0.5)
    await caller.next("603")
    assert line.call.state == "over"


async def test_04_hangs_up_after_3_seconds_and_sends_its_bye_again_until_answered(line: Line) -> None:
    caller, _ = await line.answered("04")
    line.clock.advance(2.999)
    await caller.settled()
    line.clock.advance(0.001)
    bye = await caller.next("BYE")
    assert bye.start.split()[1] == f"sip:me@{caller.host}:{caller.port}"
    assert "tag=mine" in bye["To"]
    assert line.carrier.live_dialogs() == 0
    line.clock.advance(0.5)
    assert (await caller.next("BYE")).text == bye.text
    caller.answer(bye)
    await caller.settled()
    line.clock.advance(64)
    await caller.settled()
    assert line.call.faults == []


async def test_06_never_replies(line: Line) -> None:
    caller = await line.caller("06")
    branch = caller.invite()
    caller.invite(branch=branch)
    await caller.settled()
    assert line.carrier.live_dialogs() == 0
    caller.send("CANCEL", branch=branch)
    await caller.settled()
    assert line.call.branches == [branch]
    assert line.call.faults == ["CANCEL before any provisional response"]


async def test_07_is_silent_for_1500_ms_and_answers_in_spite_of_a_cancel(line: Line) -> None:
    caller = await line.caller("07")
    branch = caller.invite()
    await caller.settled()
    line.clock.advance(1.499)
    await caller.settled()
    line.clock.advance(0.001)
    await caller.next("180")
    caller.send("CANCEL", branch=branch)
    assert (await caller.next("200"))["CSeq"] == "1 CANCEL"
    assert line.carrier.live_dialogs() == 1
    line.clock.advance(0.3)
    ok = await caller.next("200")
    assert ok["CSeq"] == "1 INVITE"
    caller.ack(ok)
    caller.bye(ok)
    await caller.next("200")
    assert line.carrier.live_dialogs() == 0
    assert line.call.faults == []


async def test_07_records_a_cancel_that_came_before_any_provisional(line: Line) -> None:
    caller = await line.caller("07")
    branch = caller.invite()
    caller.send("CANCEL", branch=branch)
    await caller.next("200")
    assert line.call.faults == ["CANCEL before any provisional response"]


async def test_08_answers_the_invite_and_then_the_cancel(line: Line) -> None:
    caller = await line.caller("08")
    branch = caller.invite()
    await caller.next("100")
    line.clock.advance(0.05)
    await caller.next("180")
    caller.send("CANCEL", branch=branch)
    ok = await caller.next("200")
    assert ok["CSeq"] == "1 INVITE"
    assert (await caller.next("200"))["CSeq"] == "1 CANCEL"
    caller.ack(ok)
    await caller.settled()
    assert line.carrier.live_dialogs() == 1
    caller.bye(ok)
    await caller.next("200")
    assert line.carrier.live_dialogs() == 0
    assert line.call.faults == []


async def test_08_answers_after_4_seconds_when_nobody_cancels(line: Line) -> None:
    caller = await line.caller("08")
    caller.invite()
    await caller.next("100")
    line.clock.advance(3.999)
    await caller.next("180")
    await caller.settled()
    line.clock.advance(0.001)
    await caller.next("200")


async def test_09_loses_two_byes(line: Line) -> None:
    caller, ok = await line.answered("09")
    branch = caller.bye(ok)
    await caller.settled()
    caller.bye(ok, branch=branch)
    await caller.settled()
    assert line.carrier.live_dialogs() == 1
    caller.bye(ok, branch=branch)
    await caller.next("200")
    assert line.carrier.live_dialogs() == 0
    assert [packet.what for packet in line.call.packets].count("BYE") == 3


async def test_10_ends_at_the_bye_and_never_answers_it(line: Line) -> None:
    caller, ok = await line.answered("10")
    branch = caller.bye(ok)
    await caller.settled()
    assert line.carrier.live_dialogs() == 0
    caller.bye(ok, branch=branch)
    line.clock.advance(64)
    await caller.settled()
    caller.bye(ok, cseq=3)
    await caller.settled()


async def test_11_answers_a_bye_with_481(line: Line) -> None:
    caller, ok = await line.answered("11")
    caller.bye(ok)
    await caller.next("481")
    assert line.carrier.live_dialogs() == 0


async def test_12_loses_the_first_cancel(line: Line) -> None:
    caller = await line.caller("12")
    branch = caller.invite()
    await caller.next("100")
    line.clock.advance(0.05)
    await caller.next("180")
    caller.send("CANCEL", branch=branch)
    await caller.settled()
    assert line.carrier.live_dialogs() == 1
    caller.send("CANCEL", branch=branch)
    await caller.next("200")
    await caller.next("487")
    assert line.carrier.live_dialogs() == 0


async def test_13_loses_two_invites_then_answers(line: Line) -> None:
    caller = await line.caller("13")
    branch = caller.invite()
    caller.invite(branch=branch)
    await caller.settled()
    caller.invite(branch=branch)
    await caller.next("100")
    line.clock.advance(0.3)
    await caller.next("180")
    await caller.next("200")
    assert line.call.branches == [branch]


@pytest.mark.parametrize(("digits", "status", "hash_of"), [("14", "407", md5), ("15", "401", sha256)])
async def test_14_15_answer_only_with_right_credentials(
    line: Line, digits: str, status: str, hash_of: Callable[[bytes], str]
) -> None:
    caller = await line.caller(digits)
    header: tuple[str, ...] = ()
    for cseq, password in ((1, "wrong"), (2, "sandbox")):
        branch = caller.invite(cseq, headers=header)
        await caller.next("100")
        challenge = await caller.next(status)
        caller.send("ACK", cseq, tag=challenge.tag, branch=branch)
        header = (credentials(challenge, "INVITE", caller.uri, hash_of, password),)
    caller.invite(3, headers=header)
    await caller.next("100")
    line.clock.advance(0.3)
    await caller.next("180")
    assert (await caller.next("200"))["CSeq"] == "3 INVITE"
    name = "Authorization" if status == "401" else "Proxy-Authorization"
    assert line.call.faults == [f"{name}: wrong response"]


async def test_16_holds_and_resumes(line: Line) -> None:
    caller, ok = await line.answered("16")
    line.clock.advance(1.0)
    hold = await caller.next("INVITE")
    assert "a=sendonly" in hold.body
    caller.answer(hold, caller.sdp("recvonly"))
    assert (await caller.next("ACK"))["CSeq"] == "1 ACK"
    line.clock.advance(0.5)
    resume = await caller.next("INVITE")
    assert "a=sendrecv" in resume.body
    caller.answer(resume, caller.sdp())
    assert (await caller.next("ACK"))["CSeq"] == "2 ACK"
    caller.bye(ok)
    await caller.next("200")
    assert line.call.faults == []


async def test_16_records_a_hold_that_is_answered_by_talking_on(line: Line) -> None:
    caller, _ = await line.answered("16")
    line.clock.advance(1.0)
    caller.answer(await caller.next("INVITE"), caller.sdp("sendrecv"))
    await caller.next("ACK")
    assert line.call.faults == ["sendrecv answers an offer of sendonly"]


async def test_16_acknowledges_a_refused_re_invite_on_its_own_branch(line: Line) -> None:
    caller, _ = await line.answered("16")
    line.clock.advance(1.0)
    hold = await caller.next("INVITE")
    caller.answer(hold, status="488 Not Acceptable Here")
    ack = await caller.next("ACK")
    assert ack["Via"] == hold["Via"]
    assert line.call.faults == ["our re-INVITE was answered 488"]


async def test_17_forks_into_two_dialogs_that_each_want_ack_and_bye(line: Line) -> None:
    caller = await line.caller("17")
    caller.invite()
    await caller.next("100")
    line.clock.advance(0.05)
    ringing = [await caller.next("180"), await caller.next("180")]
    line.clock.advance(0.25)
    answers = [await caller.next("200"), await caller.next("200")]
    assert [ok.tag for ok in answers] == [reply.tag for reply in ringing]
    assert len({ok.tag for ok in answers}) == len({ok.contact for ok in answers}) == 2
    assert line.carrier.live_dialogs() == 2
    for left, ok in ((1, answers[0]), (0, answers[1])):
        caller.ack(ok)
        caller.bye(ok)
        await caller.next("200")
        assert line.carrier.live_dialogs() == left
    assert line.call.faults == []


async def test_18_takes_a_bye_only_by_the_route_set(line: Line) -> None:
    caller, ok = await line.answered("18")
    routes = tuple(f"Route: {route}" for route in reversed(ok.all("Record-Route")))
    assert len(routes) == 2
    caller.bye(ok, 2)
    await caller.next("403")
    caller.bye(ok, 3, headers=routes[::-1])
    await caller.next("403")
    caller.send("BYE", 4, tag=ok.tag, headers=routes)
    await caller.next("481")
    assert line.carrier.live_dialogs() == 1
    caller.bye(ok, 5, headers=routes)
    await caller.next("200")
    assert line.carrier.live_dialogs() == 0
    assert line.call.faults == [
        "BYE with the wrong route set",
        "BYE with the wrong route set",
        "BYE sent to another Request-URI than the Contact",
    ]


async def test_18_does_not_hear_an_ack_without_the_route_set(line: Line) -> None:
    caller = await line.caller("18")
    caller.invite()
    await caller.next("100")
    line.clock.advance(0.3)
    await caller.next("180")
    caller.ack(await caller.next("200"))
    await caller.settled()
    line.clock.advance(0.5)
    await caller.next("200")
    assert line.call.faults == ["ACK with the wrong route set"]


async def test_20_challenges_a_bye_once(line: Line) -> None:
    caller, ok = await line.answered("20")
    caller.bye(ok, 2)
    challenge = await caller.next("407")
    assert line.carrier.live_dialogs() == 1
    caller.bye(ok, 3, headers=(credentials(challenge, "BYE", ok.contact, md5),))
    await caller.next("200")
    assert line.carrier.live_dialogs() == 0
    assert line.call.faults == []


async def test_21_challenges_a_bye_again_because_the_nonce_is_stale(line: Line) -> None:
    caller, ok = await line.answered("21")
    caller.bye(ok, 2)
    first = await caller.next("401")
    assert "stale" not in first["WWW-Authenticate"]
    caller.bye(ok, 3, headers=(credentials(first, "BYE", ok.contact, md5),))
    second = await caller.next("401")
    assert "stale=true" in second["WWW-Authenticate"]
    assert line.carrier.live_dialogs() == 1
    caller.bye(ok, 4, headers=(credentials(second, "BYE", ok.contact, md5),))
    await caller.next("200")
    assert line.carrier.live_dialogs() == 0
    assert line.call.faults == []


async def test_requests_in_the_dialog_are_answered_200(line: Line) -> None:
    caller, ok = await line.answered("00")
    for cseq, method in enumerate(("OPTIONS", "INFO", "UPDATE"), 2):
        caller.send(method, cseq, uri=ok.contact, tag=ok.tag)
        await caller.next("200")
    caller.send("INVITE", 5, uri=ok.contact, tag=ok.tag, body=caller.sdp("sendonly"))
    held = await caller.next("200")
    assert "a=recvonly" in held.body
    caller.ack(held, 5)
    caller.send("REFER", 6, uri=ok.contact, tag=ok.tag)
    await caller.next("405")
    assert line.call.faults == []


async def test_what_a_caller_does_wrong_is_recorded(line: Line) -> None:
    caller, ok = await line.answered("00")
    caller.send("INFO", 1, uri=ok.contact, tag=ok.tag)
    await caller.next("500")
    caller.send("BYE", 2, tag="nobody")
    await caller.next("481")
    caller.send("CANCEL", 1)
    await caller.next("481")
    caller.invite(1)
    await caller.next("482")
    assert line.call.faults == [
        "INFO with CSeq 1 after 1",
        "BYE belongs to no dialog",
        "CANCEL with another branch than its INVITE",
        "new INVITE with CSeq 1 after 1",
        "second INVITE under the Call-ID of an accepted one",
    ]


async def test_requests_outside_any_call_are_refused(line: Line) -> None:
    caller = await line.caller("00")
    caller.send("BYE", tag="nobody")
    await caller.next("481")
    caller.send("REGISTER")
    await caller.next("405")
    assert line.carrier.calls == []


async def test_an_invite_without_a_common_codec_gets_488_and_an_extension_420(line: Line) -> None:
    caller = await line.caller("00")
    branch = caller.send("INVITE", body=caller.sdp().replace("RTP/AVP 0 101", "RTP/AVP 9"))
    await caller.next("100")
    final = await caller.next("488")
    caller.send("ACK", tag=final.tag, branch=branch)
    caller.invite(2, headers=("Require: 100rel",))
    await caller.next("100")
    assert (await caller.next("420"))["Unsupported"] == "100rel"
    assert line.carrier.live_dialogs() == 0


async def test_what_is_no_sip_is_counted_and_harms_nothing(line: Line) -> None:
    caller = await line.caller("00")
    for junk in (b"hello", b"INVITE sip:x SIP/2.0\r\n\r\n", b"\xff\x00" * 400, b"\r\n\r\n"):
        caller.transport.sendto(junk, caller.far)
    await caller.settled()
    assert line.carrier.malformed == 3


async def test_on_event_is_told_each_happening_in_words(line: Line) -> None:
    told: list[str] = []
    line.carrier.on_event = lambda call, text: told.append(f"{call.dialled} {text}")
    caller, ok = await line.answered("00")
    caller.bye(ok)
    await caller.next("200")
    assert told == [
        "+12025550100 is called (number 00: answers)",
        "+12025550100 rings",
        "+12025550100 answers",
        "+12025550100 is hung up on",
    ]


@pytest.mark.skipif(shutil.which("sipp") is None, reason="needs sipp (Debian package sip-tester)")
async def test_sipp_calls_number_00_and_is_content() -> None:
    carrier = SandboxCarrier()
    await carrier.start()
    host, port = carrier.address
    words = f"-sn uac {host}:{port} -s +12025550100 -i 127.0.0.1 -m 3 -r 10 -d 200 -nostdin -timeout 20s"
    process = await asyncio.create_subprocess_exec(
        "sipp", *words.split(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    assert len(carrier.calls) == 3
    assert carrier.live_dialogs() == 0
    await carrier.close()
