"""Each number of the sandbox carrier, called over UDP by a caller that is nothing but a socket and strings."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Callable

import pytest
from tests.wire.sandbox_caller import Caller, Line, credentials, md5, sha256

pytestmark = pytest.mark.wire


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
    line.clock.advance(0.25)
    final = await caller.next(status)
    assert line.carrier.live_dialogs() == 0
    caller.send("ACK", tag=final.tag, branch=branch)
    await caller.settled()
    return caller


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
async def test_02_05_19_refuse(line: Line, digits: str, status: str) -> None:
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
    caller.ack(ok)
    caller.bye(ok)
    await caller.next("200")
    assert line.carrier.live_dialogs() == 0
    assert line.call.faults == []


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
