"""Every store that onhook ships; each contract test runs on all of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.store.sqlite import SqliteStore
from onhook.store.store import Store
from onhook.testing.store import MemoryStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store."""
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "onhook.db")
    await store.open()
    yield store
    await store.close()
