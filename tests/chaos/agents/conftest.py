"""The event loop of the product."""

import asyncio
from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the event loop of the product."""
    return {"uvloop": uvloop.new_event_loop}
