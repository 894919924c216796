"""The sandbox carrier as a user agent server: RFC 3261 for all numbers, and what it records of a caller's faults."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator

import pytest
from tests.wire.sandbox_caller import Line

from onhook.lines.sandbox import NUMBERS, SandboxCarrier, run_phone

pytestmark = pytest.mark.wire


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    await line.carrier.start()
    yield line
    for caller in line.callers:
        caller.transport.close()
    await line.carrier.close()


async def test_a_response_copies_all_vias_and_fills_in_rport(line: Line) -> None:
    caller = await line.caller("00")
    caller.invite()
    trying = await caller.next("100")
    top, behind = trying.all("Via")
    assert f"rport={caller.port}" in top
    assert "received=127.0.0.1" in top
    assert behind == "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK-behind"
    assert trying.tag == ""


async def test_a_repeated_request_gets_its_answer_again(line: Line) -> None:
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


async def test_an_update_and_a_re_invite_change_the_session_or_get_488(line: Line) -> None:
    caller, ok = await line.answered("00")
    caller.send("UPDATE", 2, uri=ok.contact, tag=ok.tag, body=caller.sdp("inactive"))
    assert "a=inactive" in (await caller.next("200")).body
    caller.send("UPDATE", 3, uri=ok.contact, tag=ok.tag, body="v=0\r\n")
    await caller.next("488")
    branch = caller.send("INVITE", 4, uri=ok.contact, tag=ok.tag, body="v=0\r\n")
    await caller.next("488")
    caller.send("ACK", 4, uri=ok.contact, tag=ok.tag, branch=branch)
    await caller.settled()
    assert line.carrier.live_dialogs() == 1
    assert line.call.faults == []


async def test_an_invite_without_sdp_gets_an_offer_and_its_ack_brings_the_answer(line: Line) -> None:
    caller = await line.caller("00")
    caller.send("INVITE")
    await caller.next("100")
    line.clock.advance(0.3)
    await caller.next("180")
    ok = await caller.next("200")
    assert "m=audio" in ok.body
    caller.send("ACK", uri=ok.contact, tag=ok.tag, body="v=0\r\n")
    await caller.settled()
    assert line.call.faults == ["unusable SDP answer: no single audio stream over IPv4"]


async def test_a_bye_in_the_early_dialog_ends_the_invite_with_487(line: Line) -> None:
    caller = await line.caller("01")
    branch = caller.invite()
    await caller.next("100")
    line.clock.advance(0.05)
    ringing = await caller.next("180")
    caller.bye(ringing)
    assert (await caller.next("200"))["CSeq"] == "2 BYE"
    final = await caller.next("487")
    caller.send("ACK", tag=final.tag, branch=branch)
    await caller.settled()
    assert line.carrier.live_dialogs() == 0
    assert line.call.faults == []


async def test_a_missing_a_late_and_a_foreign_ack_are_told_apart(line: Line) -> None:
    caller = await line.caller("00")
    branch = caller.invite()
    await caller.next("100")
    line.clock.advance(0.3)
    await caller.next("180")
    ok = await caller.next("200")
    caller.send("ACK", tag="nobody")
    caller.ack(ok, cseq=9)
    caller.bye(ok)
    await caller.next("200")
    caller.send("ACK", uri=ok.contact, tag=ok.tag, branch=branch)
    await caller.settled()
    assert line.call.faults == [
        "ACK belongs to no dialog",
        "ACK with CSeq 9 belongs to no 2xx",
        "BYE before the ACK of the 2xx",
        "the ACK of a 2xx has the branch of its INVITE",
    ]


async def test_an_unanswered_bye_of_the_far_end_is_recorded(line: Line) -> None:
    caller, _ = await line.answered("04")
    line.clock.advance(3 + 32)
    for _ in range(11):
        await caller.next("BYE")
    await caller.settled()
    assert line.call.faults == ["our BYE was never answered"]


async def test_a_refused_bye_of_the_far_end_is_recorded(line: Line) -> None:
    caller, _ = await line.answered("04")
    line.clock.advance(3)
    caller.answer(await caller.next("BYE"), status="403 Forbidden")
    await caller.settled()
    assert line.call.faults == ["our BYE was answered 403"]


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


async def test_07_records_a_cancel_that_came_before_any_provisional(line: Line) -> None:
    caller = await line.caller("07")
    branch = caller.invite()
    caller.send("CANCEL", branch=branch)
    await caller.next("200")
    assert line.call.faults == ["CANCEL before any provisional response"]


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


async def test_the_phone_program_prints_its_address_its_numbers_and_what_happens() -> None:
    printed: asyncio.Queue[str] = asyncio.Queue()
    program = asyncio.create_task(run_phone("127.0.0.1", 0, printed.put_nowait))
    async with asyncio.timeout(5):
        found = re.search(r"sip:127\.0\.0\.1:(\d+)", await printed.get())
        assert found is not None
        for number in NUMBERS:
            assert await printed.get() == f"  +120255501{number.digits}  {number.title}"
        line = Line()
        line.carrier = SandboxCarrier(port=int(found[1]))
        caller = await line.caller("02")
        caller.invite()
        assert (await printed.get()).endswith("  +12025550102 is called (number 02: busy)")
        assert (await printed.get()).endswith("  +12025550102 answers 486 Busy Here")
    caller.transport.close()
    program.cancel()
    with pytest.raises(asyncio.CancelledError):
        await program


async def test_a_taken_port_is_an_os_error(line: Line) -> None:
    with pytest.raises(OSError, match="in use"):
        await SandboxCarrier(port=line.carrier.address[1]).start()


async def test_a_closed_carrier_leaves_no_timer_running(line: Line) -> None:
    await line.answered("04")
    await line.carrier.close()
    assert line.clock.pending == 0
    assert line.carrier.live_dialogs() == 0
    assert line.call.dialled == "+12025550104"


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
