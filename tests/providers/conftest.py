"""Fixtures: a cloud on loopback, and the environment that leads to it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop
from tests.providers.cloud import Cloud
from tests.providers.line import FakeLine


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the event loop of the product."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def line() -> FakeLine:
    """The call's side."""
    return FakeLine()


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    """All providers, healthy, and their keys."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    cloud = Cloud()
    async with cloud.serving() as url:
        for provider in ("OPENAI", "DEEPGRAM", "ELEVENLABS"):
            monkeypatch.setenv(f"{provider}_BASE_URL", url)
            monkeypatch.setenv(f"{provider}_API_KEY", f"{provider.lower()}-key")
        yield cloud
