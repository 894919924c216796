"""The sandbox carrier and caller as programs: they print one line per happening."""

import asyncio
import contextlib
import math
from collections.abc import Callable
from datetime import UTC, datetime

from onhook.clock import Clock
from onhook.lines.sandbox.caller import CallerState, OutgoingCall, Plan, SandboxCaller
from onhook.lines.sandbox.calls import SandboxCall
from onhook.lines.sandbox.carrier import SandboxCarrier
from onhook.lines.sandbox.numbers import NUMBERS

LEAVE_S = 1.0
"""How long a caller that leaves waits for an answer."""


async def run_phone(host: str, port: int, printer: Callable[[str], None]) -> None:
    """Run a sandbox carrier until cancelled, and print what happens. Raises `OSError` when the port is taken.

    `host` is the IPv4 address that callers reach; anything else raises `ValueError`.
    """
    carrier = SandboxCarrier(host, port)
    await carrier.start()

    def show(call: SandboxCall, text: str) -> None:
        printer(f"{_moment(carrier.clock)}  {call.dialled} {text}")

    carrier.on_event = show
    printer(f"The sandbox carrier listens on sip:{carrier.address[0]}:{carrier.address[1]};transport=udp")
    for number in NUMBERS:
        printer(f"  +120255501{number.digits}  {number.title}")
    try:
        await asyncio.Event().wait()
    finally:
        await carrier.close()


async def run_call(uri: str, plan: Plan, transport: str, host: str, printer: Callable[[str], None]) -> int:
    """Call `uri` and stay on the line until it ends; return the status that the call was answered or refused with.

    That is 0 when there was no final response. When cancelled, hang up first. Raises as `SandboxCaller.call` does.
    """
    caller = SandboxCaller(host, transport=transport)
    await caller.start()

    def show(_call: OutgoingCall, text: str) -> None:
        printer(f"{_moment(caller.clock)}  {text}")

    caller.on_event = show
    try:
        call = await caller.call(uri, plan)
        try:
            await call.until(CallerState.OVER, within=math.inf)
        except asyncio.CancelledError:
            await _leave(call)
            raise
        for fault in call.faults:
            printer(f"FAULT: {fault}")
        return call.final or 0
    finally:
        await caller.close()


async def _leave(call: OutgoingCall) -> None:
    """Give up or hang up, and wait a moment for the answer."""
    if call.state is CallerState.ANSWERED:
        call.hang_up()
    else:
        call.cancel()
    answered = len(call.packets)
    with contextlib.suppress(TimeoutError):
        await call.satisfies(lambda: any(p.direction == "in" for p in call.packets[answered:]), within=LEAVE_S)


def _moment(clock: Clock) -> str:
    return f"{datetime.fromtimestamp(clock.now_ms() / 1000, UTC).astimezone():%H:%M:%S.%f}"[:-3]
