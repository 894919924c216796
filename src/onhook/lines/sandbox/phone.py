"""The sandbox carrier as a program: it prints one line per happening."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from onhook.lines.sandbox.calls import SandboxCall
from onhook.lines.sandbox.carrier import SandboxCarrier
from onhook.lines.sandbox.numbers import NUMBERS


async def run_phone(host: str, port: int, printer: Callable[[str], None]) -> None:
    """Run a sandbox carrier until cancelled, and print what happens. Raises `OSError` when the port is taken.

    `host` is the IPv4 address that callers reach; anything else raises `ValueError`.
    """
    carrier = SandboxCarrier(host, port)
    await carrier.start()

    def show(call: SandboxCall, text: str) -> None:
        moment = datetime.fromtimestamp(carrier.clock.now_ms() / 1000, UTC).astimezone()
        printer(f"{moment:%H:%M:%S.%f}"[:-3] + f"  {call.dialled} {text}")

    carrier.on_event = show
    printer(f"The sandbox carrier listens on sip:{carrier.address[0]}:{carrier.address[1]};transport=udp")
    for number in NUMBERS:
        printer(f"  +120255501{number.digits}  {number.title}")
    try:
        await asyncio.Event().wait()
    finally:
        await carrier.close()
