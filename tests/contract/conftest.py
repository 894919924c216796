"""Every store that onhook ships; each contract test runs on all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from onhook.store.sqlite import SqliteStore
from onhook.store.store import Store
from onhook.testing.store import MemoryStore


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the event loop of the product."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store."""
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "onhook.db")
    await store.open()
    yield store
    await store.close()
