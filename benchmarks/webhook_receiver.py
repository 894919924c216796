"""A webhook receiver in a process of its own: answers 200 at once, but never on `/hanging`, and times arrivals.

It first says its port. Each line on standard input is answered by a line: `report` tells, for each event that came
(`CALL SEQ`), when it first came (ns since the epoch) and how often.
"""

import asyncio
import re
import sys
import time

import msgspec

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
_EVENT = re.compile(rb'"call_id":"([^"]+)","seq":(\d+)')


class Arrival(msgspec.Struct):
    """When an event first came (ns since the epoch), and how often."""

    first: int
    count: int = 1


class Receiver(asyncio.Protocol):
    """One connection: requests with a Content-Length, one after another."""

    arrivals: dict[str, Arrival] = {}  # noqa: RUF012 - of all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Take whole requests."""
        now = time.time_ns()
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[: end + 2]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            body, self._received = self._received[end + 4 : whole], self._received[whole:]
            self._take(head, body, now)

    def _take(self, head: bytes, body: bytes, now: int) -> None:
        if b" /hanging " in head:
            return
        event = _EVENT.search(body)
        assert event is not None
        name = f"{event[1].decode()} {event[2].decode()}"
        if name in self.arrivals:
            self.arrivals[name].count += 1
        else:
            self.arrivals[name] = Arrival(now)
        self._transport.write(ANSWER)


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(msgspec.json.encode(Receiver.arrivals).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
