"""The watch over a test with hostile input: nothing may be raised in the event loop, logged as a fault, or leak."""

import asyncio
import gc
import logging
import os
from types import TracebackType
from typing import Any, Self

from tests.wire.harness import Line

from onhook.lines.sip.engine import SipSettings

BRIEF = SipSettings(bind_port=0, t1=0.01, t2=0.05, t4=0.05, watch=1.0)
"""A fiftieth of the RFC's timers: 64*T1 is 0.64 s."""


class Vigil(logging.Handler):
    """While open, collects what went wrong behind the test's back; leaving fails the test for any of it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.faults: list[str] = []

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_exception_handler(self._on_loop)
        logging.getLogger().addHandler(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        gc.collect()  # An exception that no task was asked for is reported when the task goes.
        await asyncio.sleep(0)
        logging.getLogger().removeHandler(self)
        asyncio.get_running_loop().set_exception_handler(None)
        if error is None:
            assert not self.faults, "\n\n".join(self.faults)

    def emit(self, record: logging.LogRecord) -> None:
        """Note what was logged as an error, traceback included."""
        self.faults.append(self.format(record))

    def _on_loop(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"in the event loop: {context}")


def held(line: Line) -> dict[str, int]:
    """Count what an engine and its process hold on to."""
    engine = line.engine
    return {
        "transactions": len(engine.layer),
        "legs": engine.remembered_legs(),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
