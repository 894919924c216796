"""A tcpdump capture of the loopback, read back as packets: the judge that neither side of the call can bend."""

import asyncio
import contextlib
import secrets
import signal
import socket
import struct
from pathlib import Path
from types import TracebackType

from tests.wire.peers.packet import Packet, PacketLog


class Capture:
    """Capture UDP at the far end's `port` while the context is open; `log` holds the packets afterwards.

    With `audio` the file holds all UDP of the loopback, for a dissector to tell apart; `log` stays empty. It is closed
    once a datagram of ours is in it that was sent last, for much traffic may wait to be written.
    """

    def __init__(self, program: str, port: int, path: Path, *, audio: bool = False) -> None:
        self.log = PacketLog()
        self._program, self._port, self._path = program, port, path
        self._expression = "udp" if audio else f"udp port {port}"

    async def __aenter__(self) -> "Capture":
        # --immediate-mode and -U: else the last packets are missing from the file
        options = ("-i", "lo", "--immediate-mode", "-U", "-Z", "root", "-j", "host", "-w", str(self._path))
        self._tcpdump = await asyncio.create_subprocess_exec(
            self._program, *options, self._expression, stderr=asyncio.subprocess.PIPE
        )
        assert self._tcpdump.stderr is not None
        async with asyncio.timeout(5):
            while line := await self._tcpdump.stderr.readline():
                if b"listening on" in line:
                    return self
        raise OSError("tcpdump did not start to listen")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._expression == "udp":
            await self._written()
        with contextlib.suppress(ProcessLookupError):
            self._tcpdump.send_signal(signal.SIGINT)
        await self._tcpdump.wait()
        if self._expression != "udp":
            self.log = read_pcap(self._path.read_bytes(), self._port)

    async def _written(self) -> None:
        """Wait until all that was on the wire is in the file."""
        token = secrets.token_bytes(32)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.bind(("127.0.0.1", 0))
            last.sendto(token, last.getsockname())
        async with asyncio.timeout(10):
            while token not in self._path.read_bytes():  # noqa: ASYNC110 - tcpdump tells nobody when it writes
                await asyncio.sleep(0.01)


def read_pcap(data: bytes, port: int) -> PacketLog:
    """Return the SIP messages over UDP on IPv4 of a classic pcap file with Ethernet framing (as `lo` has)."""
    log, offset = PacketLog(), 24
    while offset + 16 <= len(data):
        seconds, micros, length = struct.unpack_from("<III", data, offset)
        ip = data[offset + 16 + 14 : offset + 16 + length]
        offset += 16 + length
        udp = ip[(ip[0] & 15) * 4 :]
        text = udp[8:].decode("utf-8", "replace")
        if text.strip():
            log.append(Packet(seconds * 1000 + micros / 1000, struct.unpack_from("!H", udp)[0] == port, text))
    return log
