"""The sandbox carrier with a gate on its line, so that a test can stop time at the packet it means."""

import asyncio
from collections.abc import Callable

from onhook.lines.sandbox import SandboxCall, SandboxCarrier
from onhook.lines.sandbox.uas import Address, Request, Response

Arrival = Callable[[bytes], bool]
Departure = Callable[[Request | Response], bool]


class GatedCarrier(SandboxCarrier):
    """A carrier whose packets can be held, each way; what is held goes on its way at `release`."""

    def __init__(self) -> None:
        super().__init__()
        self.held = 0
        self._arrivals: Arrival = _nothing
        self._departures: Departure = _nothing
        self._waiting: list[Callable[[], None]] = []
        self._changed = asyncio.Event()

    @property
    def uri(self) -> str:
        """Where a trunk finds it."""
        host, port = self.address
        return f"sip:{host}:{port};transport=udp"

    def hold(self, *, arrivals: Arrival | None = None, departures: Departure | None = None) -> None:
        """Hold every packet that one of these says yes to, until `release`."""
        self._arrivals = arrivals or _nothing
        self._departures = departures or _nothing

    def release(self) -> None:
        """Hold nothing more, and let go of what is held, in its order."""
        self.hold()
        waiting, self._waiting, self.held = self._waiting, [], 0
        for go_on in waiting:
            go_on()

    def lose(self) -> None:
        """Hold nothing more; what is held never arrives."""
        self._waiting.clear()
        self.release()

    async def until(self, condition: Callable[[], bool], limit_s: float) -> None:
        """Wait for a packet that makes `condition` true. Raises `TimeoutError`."""
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def free(self, limit_s: float) -> None:
        """Wait until nothing rings or talks here."""
        await self.until(lambda: self.live_dialogs() == 0, limit_s)

    async def called(self, digits: str) -> SandboxCall:
        """Wait until a number is called; return its first call."""
        await self.until(lambda: any(call.number.digits == digits for call in self.calls), 5)
        return next(call for call in self.calls if call.number.digits == digits)

    def faults(self) -> list[str]:
        """Return everything the caller did against the RFC."""
        return [fault for call in self.calls for fault in call.faults]

    def receive(self, data: bytes, source: Address) -> None:
        """Take one datagram, or hold it."""
        if self._arrivals(data):
            self._keep(lambda: self.receive(data, source))
        else:
            super().receive(data, source)
        self._changed.set()

    def transmit(self, message: Request | Response, to: Address) -> None:
        """Send one datagram, or hold it."""
        if self._departures(message):
            self._keep(lambda: self.transmit(message, to))
        else:
            super().transmit(message, to)
        self._changed.set()

    def _keep(self, go_on: Callable[[], None]) -> None:
        self._waiting.append(go_on)
        self.held += 1


def packets(call: SandboxCall, direction: str, method: str) -> list[str]:
    """Return what went `in` or `out` under the CSeqs of a method: method names and statuses, in order."""
    return [one.what for one in call.packets if one.direction == direction and one.cseq.endswith(f" {method}")]


def _nothing(_message: object) -> bool:
    return False
