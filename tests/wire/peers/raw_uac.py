"""A far end that calls us, on a raw UDP socket: every message is said by the test, every packet is written down."""

import asyncio
import itertools
import re
import time
from collections.abc import Callable

from tests.wire.peers import compose
from tests.wire.peers.packet import Packet, PacketLog

_numbers = itertools.count(1)


class RawUac(asyncio.DatagramProtocol):
    """One call. It answers our BYE with 200 unless `answers_bye` is False, and nothing else by itself."""

    def __init__(self, peer_port: int) -> None:
        number = next(_numbers)
        self.log = PacketLog()
        self.answers_bye = True
        self._peer = ("127.0.0.1", peer_port)
        self._call_id, self._tag = f"raw-{number}", f"raw{number}"
        self._cseq = 1
        self._branches = itertools.count(1)
        self._last = ""
        self._news = asyncio.Event()

    async def open(self) -> None:
        """Bind the socket."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port: int = self._transport.get_extra_info("sockname")[1]

    def close(self) -> None:
        """Fall silent."""
        self._transport.close()

    def invite(self, *, body: str | None = None) -> None:
        """Call."""
        self._branch = f"z9hG4bK{self._tag}"
        self._ask("INVITE", branch=self._branch, to_tag="", body=compose.sdp(40_000) if body is None else body)

    def again(self) -> None:
        """Say the last request once more, byte for byte."""
        self._say(self._last)

    def cancel(self) -> None:
        """Cancel the INVITE."""
        self._ask("CANCEL", branch=self._branch, to_tag="")

    def ack(self) -> None:
        """Acknowledge the final response to the INVITE."""
        refused = (self.answer.status or 0) >= 300
        self._ask("ACK", branch=self._branch if refused else "")

    def bye(self) -> None:
        """Hang up."""
        self._cseq += 1
        self._ask("BYE")

    @property
    def statuses(self) -> list[int]:
        """The responses to the INVITE, in order."""
        return [p.status or 0 for p in self.log.responses("INVITE", sent=False)]

    @property
    def answer(self) -> Packet:
        """The newest response to the INVITE."""
        return self.log.responses("INVITE", sent=False)[-1]

    async def until(self, true: Callable[[], object], within: float = 5.0) -> None:
        """Wait until `true` holds, looked at after each packet."""
        try:
            async with asyncio.timeout(within):
                while not true():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not on the wire within {within} s:\n{self.log}") from None

    async def served(self, method: str) -> int:
        """Wait for the response to a request other than the INVITE; return its status."""
        await self.until(lambda: self.log.responses(method, sent=False))
        return self.log.responses(method, sent=False)[-1].status or 0

    async def hears(self, status: int, within: float = 5.0) -> None:
        """Wait for a response to the INVITE."""
        await self.until(lambda: status in self.statuses, within)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packet = Packet(time.time_ns() / 1e6, sent=False, raw=data.decode())
        self.log.append(packet)
        if packet.status is None and packet.method == "BYE" and self.answers_bye:
            names = ("Via", "From", "To", "Call-ID", "CSeq")
            lines = [f"{name}: {value}" for name in names for value in packet.headers(name)]
            self._say("\r\n".join(["SIP/2.0 200 OK", *lines, "Content-Length: 0", "", ""]))
        self._news.set()

    def _ask(self, method: str, *, branch: str = "", to_tag: str | None = None, body: str = "") -> None:
        target = f"sip:+12025550100@127.0.0.1:{self._peer[1]}"
        if to_tag is None:
            to_tag = self.answer.to_tag
            contact = re.search(r"<([^>]+)>", self.answer.header("Contact"))
            target = contact[1] if contact and not branch else target
        tagged = f";tag={to_tag}" if to_tag else ""
        branch = branch or f"z9hG4bK{self._tag}-{next(self._branches)}"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};rport;branch={branch}",
            "Max-Forwards: 70",
            f"From: <sip:+12025550123@127.0.0.1>;tag={self._tag}",
            f"To: <sip:+12025550100@127.0.0.1>{tagged}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {self._cseq} {method}",
            f"Contact: <sip:raw@127.0.0.1:{self.port}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self._last = "\r\n".join([*lines, "", ""]) + body
        self._say(self._last)

    def _say(self, text: str) -> None:
        self.log.append(Packet(time.time_ns() / 1e6, sent=True, raw=text))
        self._transport.sendto(text.encode(), self._peer)
