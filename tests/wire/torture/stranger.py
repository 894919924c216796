"""Somebody who is in no call of ours and sends us what they like."""

import asyncio
import itertools
import random
import re
import socket
from types import TracebackType
from typing import Self

_numbers = itertools.count(1)


class Stranger:
    """A UDP socket on a loopback address of its own, so that answers to any Via find it on that Via's port."""

    def __init__(self, engine_port: int, port: int = 5060) -> None:
        self.received: list[bytes] = []
        self._engine = ("127.0.0.1", engine_port)
        self._socket = _bind(port)
        self._socket.connect(self._engine)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send one datagram now."""
        self._socket.send(data)

    async def fence(self, within: float = 5.0) -> None:
        """Return once all that was sent before has been dealt with: the engine reads in order, and answers OPTIONS."""
        mark = f"fence-{next(_numbers)}"
        self.send(options(mark))
        async with asyncio.timeout(within):
            while not any(mark.encode() in data for data in self.received):
                self.received.append(await asyncio.get_running_loop().sock_recv(self._socket, 65_535))

    def statuses(self) -> list[int]:
        """Return the statuses of what came, without the fences'."""
        return statuses([data for data in self.received if b"fence-" not in data])


def options(mark: str, transport: str = "UDP") -> bytes:
    """Return a harmless request that is always answered with 200."""
    lines = ["OPTIONS sip:us@127.0.0.1 SIP/2.0", f"Via: SIP/2.0/{transport} stranger.test;rport;branch=z9hG4bK{mark}"]
    lines += ["From: <sip:stranger@stranger.test>;tag=s", "To: <sip:us@127.0.0.1>", f"Call-ID: {mark}"]
    lines += ["CSeq: 1 OPTIONS", "Max-Forwards: 70", "Content-Length: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def statuses(messages: list[bytes]) -> list[int]:
    """Return the statuses of responses."""
    return [int(status) for data in messages for status in re.findall(rb"(?m)^SIP/2\.0 (\d{3})", data)]


def _bind(port: int) -> socket.socket:
    for _ in range(50):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.bind((f"127.{random.randint(64, 95)}.{random.randint(0, 255)}.{random.randint(1, 254)}", port))
        except OSError:
            sock.close()
        else:
            return sock
    raise OSError(f"no loopback address has port {port} free")
