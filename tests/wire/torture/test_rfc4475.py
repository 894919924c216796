"""The torture messages of RFC 4475 do no harm, and get the answer they deserve, beside a live call."""

import asyncio
import re

import pytest
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import FAST, STOP, Line, assert_confirmed, seen
from tests.wire.peers.compose import Act
from tests.wire.peers.raw_uas import RawUas
from tests.wire.torture.messages import MISFRAMED, NO_FRAME, OWED, TortureMessage, read_messages
from tests.wire.torture.stranger import Stranger, options, statuses
from tests.wire.torture.vigil import BRIEF, Vigil, held

from onhook.calls.proof import Method
from onhook.lines.engine import Answered

pytestmark = pytest.mark.wire

MESSAGES = read_messages()
each_message = pytest.mark.parametrize("message", MESSAGES, ids=str)


@pytest.fixture
async def vigil() -> Vigil:
    return Vigil()


async def answered_call(line: Line, far: RawUas) -> str:
    call = await line.place(far.port)
    await line.until(Answered)
    await seen(far, lambda log: log.requests("ACK"))
    return call


async def assert_unharmed(line: Line, far: RawUas, call: str) -> None:
    """The live call still answers in its dialog and ends with a proof."""
    assert line.ends() == 0
    assert line.engine.remembered_legs() == 1, "a torture message made a leg"
    before = len(far.log.responses("OPTIONS", sent=False))
    far.perform(Act("OPTIONS"))
    await seen(far, lambda log: len(log.responses("OPTIONS", sent=False)) > before)
    assert far.log.responses("OPTIONS", sent=False)[-1].status == 200
    line.engine.hangup(call, STOP)
    await assert_confirmed(line, far, Method.BYE)


def test_all_messages_of_the_rfc_are_here_with_what_we_owe_them() -> None:
    assert len(MESSAGES) == 49
    assert [message.name for message in MESSAGES] == list(OWED)
    assert len({message.section for message in MESSAGES}) == 49


@pytest.mark.parametrize(
    "message", [one for one in MESSAGES if one.content_length and one.name not in MISFRAMED], ids=str
)
def test_the_bodies_have_the_length_that_the_rfc_gives_them(message: TortureMessage) -> None:
    assert len(message.body) == message.content_length


@each_message
async def test_a_datagram_gets_what_it_deserves_and_the_live_call_goes_on(
    far_end: FarEnd, open_line: OpenLine, vigil: Vigil, message: TortureMessage
) -> None:
    far, line = far_end(), await open_line(FAST)
    async with vigil:
        call = await answered_call(line, far)
        with Stranger(line.port, message.reply_port) as stranger:
            stranger.send(message.data)
            if message.reply_port == 5060:
                await stranger.fence()
            else:
                with Stranger(line.port) as other:
                    await other.fence()
                await stranger.fence()
            assert stranger.statuses() == ([] if message.owed is None else [message.owed])
        await assert_unharmed(line, far, call)


@each_message
async def test_on_a_stream_it_gets_the_same_or_the_connection_is_closed(
    far_end: FarEnd, open_line: OpenLine, vigil: Vigil, message: TortureMessage
) -> None:
    far, line = far_end(), await open_line(FAST)
    async with vigil:
        call = await answered_call(line, far)
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(message.data + options("fence", "TCP"))
        if message.name not in MISFRAMED:
            got = await read_until(reader, b"Call-ID: fence")
            answers = [one for one in re.split(rb"(?=SIP/2\.0 \d{3} )", got) if one and b"Call-ID: fence" not in one]
            assert statuses(answers) == ([] if message.owed is None or message.name in NO_FRAME else [message.owed])
            assert reader.at_eof() is (message.name in NO_FRAME)
        writer.close()
        await assert_unharmed(line, far, call)


async def test_nothing_of_them_is_kept(far_end: FarEnd, open_line: OpenLine, vigil: Vigil) -> None:
    far, line = far_end(), await open_line(BRIEF)
    async with vigil:
        call = await answered_call(line, far)
        await asyncio.sleep(70 * BRIEF.t1)  # Until the call's own INVITE is forgotten (RFC 6026 timer M).
        before = held(line)
        with Stranger(line.port) as stranger:
            for message in MESSAGES:
                stranger.send(message.data)
            await stranger.fence()
        assert held(line) == before, "strangers are answered without state (RFC 3261 section 8.2.7)"
        await assert_unharmed(line, far, call)


async def read_until(reader: asyncio.StreamReader, mark: bytes, within: float = 5.0) -> bytes:
    """Read until `mark` has come with the rest of its message, or the far end has closed."""
    got = b""
    async with asyncio.timeout(within):
        while not (mark in got and got.endswith(b"\r\n\r\n")) and (more := await reader.read(65_536)):
            got += more
    return got
