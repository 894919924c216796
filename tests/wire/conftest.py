"""Fixtures of the wire suite: far ends and lines that are closed after each test."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest
import uvloop
from tests.wire.harness import FAST, Line
from tests.wire.peers.raw_uas import RawUas, Script

from onhook.lines.sip.engine import SipSettings

OpenLine = Callable[..., Awaitable[Line]]
FarEnd = Callable[..., RawUas]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the event loop of the product."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    """Start raw far ends: `far_end({"BYE": [LOST, OK]})`."""
    with ExitStack() as stack:

        def start(script: Script | None = None, media_port: int = 0) -> RawUas:
            far = RawUas(script, media_port)
            stack.callback(far.close)
            return far

        yield start


@pytest.fixture
async def open_line() -> AsyncIterator[OpenLine]:
    """Start engines: `await open_line(FAST)`."""
    async with AsyncExitStack() as stack:

        async def start(settings: SipSettings = FAST) -> Line:
            line = Line(settings)
            await line.start()
            stack.push_async_callback(line.close)
            return line

        yield start


@pytest.fixture(scope="session")
def sipp_program() -> str:
    """The path of sipp (Debian package sip-tester); must be there in CI, else the test is skipped."""
    return _needed_program("sipp", "sip-tester")


@pytest.fixture(scope="session")
def tcpdump_program() -> str:
    """The path of tcpdump; must be there in CI; needs root to open the loopback."""
    if os.geteuid() != 0:
        pytest.skip("tcpdump on the loopback needs root")
    return _needed_program("tcpdump", "tcpdump")


@pytest.fixture(scope="session")
def tshark_program() -> str:
    """The path of tshark; must be there in CI, else the test is skipped."""
    return _needed_program("tshark", "tshark")


def _needed_program(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{program} is missing: CI must install the Debian package {package}")
    if path is None:
        pytest.skip(f"{program} is not installed (Debian package {package})")
    return path
