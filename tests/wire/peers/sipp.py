"""sipp (Debian package sip-tester) as a far end: one scenario, one call, its own verdict and its message log."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType

from tests.wire.peers.packet import Packet, PacketLog

SCENARIOS = Path(__file__).parent.parent / "scenarios"
ENTRY = re.compile(
    r"^-{5,} (\d{4}-\d\d-\d\d[ \t]+\d\d:\d\d:\d\d\.\d{6}).*?\n\w+ message (sent|received).*?:\s*?\n\n", re.M
)


class Sipp:
    """Run `scenario` while the context is open. sipp does what the scenario says once and leaves.

    With `calls`, a port on this machine, sipp begins by calling it; its address is then taken when it has called.
    """

    def __init__(
        self, program: str, scenario: str, folder: Path, *, transport: str = "udp", calls: int | None = None
    ) -> None:
        self._program, self._scenario, self._folder, self._transport = program, scenario, folder, transport
        self._target = () if calls is None else (f"127.0.0.1:{calls}",)
        self.port, self.media_port = _free_port(transport), _free_media_port()

    async def __aenter__(self) -> "Sipp":
        address = ("-i", "127.0.0.1", "-p", str(self.port), "-mp", str(self.media_port), "-t", f"{self._transport[0]}1")
        bounds = ("-m", "1", "-timeout", "20", "-timeout_error", "-nostdin", "-rtp_echo")
        logs = ("-trace_msg", "-message_file", "messages.log", "-trace_err", "-error_file", "errors.log")
        scenario = ("-sf", str(SCENARIOS / f"{self._scenario}.xml"))
        self._sipp = await asyncio.create_subprocess_exec(
            self._program,
            *self._target,
            *scenario,
            *address,
            *bounds,
            *logs,
            stdout=asyncio.subprocess.DEVNULL,
            cwd=self._folder,
        )
        if self._target:
            return self
        async with asyncio.timeout(5):
            while not _is_taken(self.port, self._transport):  # noqa: ASYNC110 - sipp says nothing when it is ready
                await asyncio.sleep(0.01)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._sipp.kill()
        await self._sipp.wait()

    async def verdict(self) -> PacketLog:
        """Wait for sipp to leave; fail unless the call went by the scenario. Return its messages."""
        async with asyncio.timeout(25):
            code = await self._sipp.wait()
        log = self.messages()
        assert code == 0, f"sipp left with {code}\n{self._read('errors.log')}\n{log}"
        return log

    async def logged(self, true: Callable[[PacketLog], object], within: float = 5.0) -> None:
        """Wait until sipp's log satisfies `true`."""
        async with asyncio.timeout(within):
            while not true(self.messages()):  # noqa: ASYNC110 - a file cannot be awaited
                await asyncio.sleep(0.02)

    def messages(self) -> PacketLog:
        """Return what sipp logged so far; its clock is this machine's."""
        text = self._read("messages.log")
        entries = list(ENTRY.finditer(text))
        ends = [*(entry.start() for entry in entries), len(text)][1:]
        return PacketLog(
            Packet(
                datetime.strptime(re.sub(r"\s+", " ", entry[1]), "%Y-%m-%d %H:%M:%S.%f").timestamp() * 1000,
                entry[2] == "sent",
                text[entry.end() : end].rstrip("\n") + "\r\n\r\n",
            )
            for entry, end in zip(entries, ends, strict=True)
        )

    def _read(self, name: str) -> str:
        path = self._folder / name
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def _socket(transport: str) -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)


def _free_port(transport: str) -> int:
    with _socket(transport) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _free_media_port() -> int:
    """Return a port such that the one for video, two above, is free as well: sipp binds both."""
    for _ in range(50):
        port = _free_port("udp")
        if port < 65_000 and not _is_taken(port + 2, "udp"):
            return port
    raise OSError("no two free ports for sipp's media")


def _is_taken(port: int, transport: str) -> bool:
    with _socket(transport) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
