"""TCP connections that break: a BYE that was lost with its connection goes over a new one."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from tests.wire.conftest import OpenLine
from tests.wire.harness import FAST, STOP

from onhook.calls.proof import Result
from onhook.lines.engine import Answered

pytestmark = pytest.mark.wire

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"


class ResettingFarEnd:
    """Answers an INVITE over TCP, and resets the connection of the first `resets` BYEs instead of answering them."""

    def __init__(self, resets: int) -> None:
        self.byes: list[str] = []
        self._resets = resets
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            length = re.search(r"Content-Length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            method = head.partition(" ")[0]
            if method == "BYE":
                self.byes.append(head)
                if len(self.byes) <= self._resets:
                    writer.transport.abort()
                    return
            if method != "ACK":
                writer.write(self._answer(head, SDP if method == "INVITE" else "", writer).encode())

    async def _head(self, reader: asyncio.StreamReader) -> str:
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return ""

    def _answer(self, head: str, body: str, writer: asyncio.StreamWriter) -> str:
        host, port = writer.get_extra_info("sockname")
        copied = re.findall(r"^(?:Via|From|To|Call-ID|CSeq):.*$", head, re.M)
        lines = [
            line.strip() + (";tag=far" if line.startswith("To:") and "tag=" not in line else "") for line in copied
        ]
        contact = f"Contact: <sip:far@{host}:{port};transport=tcp>"
        kind = ["Content-Type: application/sdp"] if body else []
        return "\r\n".join(["SIP/2.0 200 OK", *lines, contact, *kind, f"Content-Length: {len(body)}", "", body])


@pytest.fixture
async def far_end() -> AsyncIterator[ResettingFarEnd]:
    far = ResettingFarEnd(resets=2)
    async with asyncio.timeout(20):
        yield far
    await far.close()


async def test_a_bye_lost_with_its_connection_is_repeated_on_a_new_one(
    far_end: ResettingFarEnd, open_line: OpenLine
) -> None:
    line = await open_line(FAST)
    call = await line.place(await far_end.start(), transport="tcp")
    await line.until(Answered)
    line.engine.hangup(call, STOP)
    ended = await line.ended()
    (step,) = ended.proof.steps
    assert (ended.proof.result, step.status, step.count) == (Result.CONFIRMED, 200, 3)
    assert len(far_end.byes) == 3
    assert len(set(far_end.byes)) == 1, "one transaction: who saw it before knows it again"
