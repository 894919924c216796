"""Where the work of a SQLite store runs: the writer thread, the reader threads, and the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from onhook.store.sqlite_migrate import connect, connect_reader
from onhook.store.sqlite_writer import Writer
from onhook.store.store import StoreError

T = TypeVar("T")


class _Reader:
    """A thread with a connection of its own."""

    def __init__(self, path: Path, name: str) -> None:
        self._db = connect_reader(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"onhook-store-{name}")

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run work in the thread, after all that was given to it before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _reading, work, self._db)

    async def close(self) -> None:
        """Finish what was accepted, then close the connection."""
        await asyncio.to_thread(self._thread.shutdown)
        self._db.close()


class _Open:
    """What an open store holds."""

    def __init__(self, path: Path, db: apsw.Connection, on_added: Callable[[set[str]], None]) -> None:
        self.near = connect_reader(path)
        """For the event loop's thread."""
        self.lists = _Reader(path, "lists")
        """For what clients ask for: their history may be long."""
        self.sweeps = _Reader(path, "sweeps")
        """For what calls wait for: deadlines and configuration. No client's list is in front of it."""
        self.writer = Writer(db, on_added)

    async def close(self) -> None:
        """Finish what was accepted; the writer's connection is the last to close and tidies up the files."""
        await self.lists.close()
        await self.sweeps.close()
        self.near.close()
        await self.writer.close()


class SqliteBase:
    """An SQLite database at `path`, which is made when it is not there, and its threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: _Open | None = None
        self._followers: list[tuple[frozenset[str], Callable[[], None]]] = []

    async def open(self) -> None:
        """Open and migrate. Raises `StoreError`."""
        if self._parts is None:
            db = await asyncio.to_thread(connect, self._path)
            self._parts = _Open(self._path, db, self._wake)

    async def close(self) -> None:
        """Finish what was accepted, then close."""
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.close()

    async def _write(self, work: Callable[[apsw.Connection], T], *, urgent: bool = False) -> T:
        """Run work in the writer thread; it is on disk when this returns."""
        return await self._opened().writer.submit(work, urgent=urgent)

    def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run the reading of one thing right here."""
        return _reading(work, self._opened().near)

    async def _scan(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run a longer read for a client."""
        return await self._opened().lists.read(work)

    async def _look(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run a longer read for the server itself."""
        return await self._opened().sweeps.read(work)

    def _follow(self, tables: set[str], wake: Callable[[], None]) -> Callable[[], None]:
        follower = (frozenset(tables), wake)
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    def _wake(self, added_to: set[str]) -> None:
        """Wake those who follow one of the tables that a commit added rows to."""
        for tables, wake in tuple(self._followers):
            if not tables.isdisjoint(added_to):
                wake()

    def _opened(self) -> _Open:
        if self._parts is None:
            raise StoreError("the store is not open")
        return self._parts


def _reading(work: Callable[[apsw.Connection], T], db: apsw.Connection) -> T:
    try:
        return work(db)
    except apsw.Error as error:
        raise StoreError(f"cannot read: {error}") from error
