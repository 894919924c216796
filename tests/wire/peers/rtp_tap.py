"""The far end's ear and voice: one RTP socket that records, echoes and presses keys; shares no code with onhook."""

import asyncio
import socket
import struct
import threading
from types import TracebackType

EVENTS = "0123456789*#ABCD"
FRAME = 160


class RtpTap:
    """Records mu-law by sequence number (`heard`), sends each packet back with its own SSRC when `echo`."""

    def __init__(self, *, echo: bool = False) -> None:
        self._echo, self._frames = echo, dict[int, bytes]()
        self._peer: tuple[str, int] | None = None
        self._changed, self._closing = threading.Condition(), False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS: times of arrival are the kernel's
        self._socket.bind(("127.0.0.1", 0))
        self.last_at = 0.0
        """When the last packet came, in ms since the epoch."""
        self.port: int = self._socket.getsockname()[1]
        self._keys: dict[int, int] = {}
        self._sequence = 0
        self._first: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "RtpTap":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._closing = True
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(2)
        self._socket.close()

    @property
    def frames(self) -> int:
        """How many different packets of mu-law came."""
        return len(self._frames)

    @property
    def heard(self) -> bytes:
        """All mu-law heard, in order of sequence number; what was lost is silence."""
        if not self._frames:
            return b""
        first, last = min(self._frames), max(self._frames)
        return b"".join(self._frames.get(number, b"\xff" * FRAME) for number in range(first, last + 1))

    async def received(self, frames: int, within: float = 10.0) -> None:
        """Wait until so many frames were heard."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self._frames) >= frames, within)

        assert await asyncio.to_thread(wait), f"{len(self._frames)} of {frames} frames within {within} s"

    async def received_keys(self, keys: str, within: float = 5.0) -> None:
        """Wait until the far end's user has pressed exactly `keys`: each one event, with a timestamp of its own."""

        def pressed() -> str:
            return "".join(EVENTS[self._keys[timestamp]] for timestamp in sorted(self._keys))

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: pressed() == keys, within)

        assert await asyncio.to_thread(wait), f"{pressed()!r} instead of {keys!r}"

    def press(self, digit: str, duration_ms: int) -> None:
        """Send one key as RFC 4733 events: growing durations, one timestamp, three ends."""
        ticks = range(160, duration_ms * 8 + 1, 160)
        for marker, duration in zip([True] + [False] * len(ticks), ticks, strict=False):
            self._event(digit, duration, marker=marker, end=False)
        for _ in range(3):
            self._event(digit, duration_ms * 8, marker=False, end=True)

    def _event(self, digit: str, duration: int, *, marker: bool, end: bool) -> None:
        payload = struct.pack("!BBH", EVENTS.index(digit), 10 | (0x80 if end else 0), duration)
        self._send(101 | (0x80 if marker else 0), 77_000, payload)

    def _send(self, payload_type: int, timestamp: int, payload: bytes) -> None:
        assert self._peer is not None, "nothing heard yet: nobody to talk to"
        self._sequence += 1
        header = struct.pack("!BBHII", 0x80, payload_type, self._sequence, timestamp & 0xFFFFFFFF, 0xFA12)
        self._socket.sendto(header + payload, self._peer)

    def _run(self) -> None:
        while not self._closing:
            data, stamps, _, source = self._socket.recvmsg(2048, 64)
            if len(data) < 16:
                continue
            seconds, nanos = struct.unpack("qq", stamps[0][2])
            self.last_at = seconds * 1000 + nanos / 1e6
            sequence, timestamp = struct.unpack_from("!HI", data, 2)
            with self._changed:
                if data[1] & 0x7F == 101 and data[13] & 0x80:  # the end of an event, sent three times
                    self._keys[timestamp] = data[12]
                    self._changed.notify_all()
                if data[1] & 0x7F != 0:
                    continue
                self._peer = source
                self._first = sequence if self._first is None else self._first
                self._frames[(sequence - self._first + 0x8000) & 0xFFFF] = data[12:]
                if self._echo:
                    self._send(0, timestamp, data[12:])
                self._changed.notify_all()
