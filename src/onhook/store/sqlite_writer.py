"""The one writer of a SQLite database: a thread that commits waiting commands together.

A commit costs one flush of the disk, however many commands it holds. So the thread takes what waits, runs
each command in a savepoint of its own inside one transaction, commits, and only then tells the callers.
Under load the flush is shared; a lone command pays one flush and one wake-up of the thread.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import apsw

from onhook.store.store import StoreError

logger = logging.getLogger(__name__)

MAX_BATCH = 64
"""Commands in one transaction; bounds how long a stop waits for the transaction before its own."""
CHECKPOINT_PAGES = 1000
"""Length of the write-ahead log at which an idle writer copies it into the database."""
CHECKPOINT_PAGES_BUSY = 16_000
"""Length at which a busy writer does it, too."""

T = TypeVar("T")


class _Command(Generic[T]):
    """Work on the database, and the future of the one who waits for it."""

    __slots__ = ("_error", "_future", "_result", "_work", "urgent")

    def __init__(self, work: Callable[[apsw.Connection], T], future: asyncio.Future[T], *, urgent: bool) -> None:
        self._work = work
        self._future = future
        self._error: Exception | None = None
        self.urgent = urgent

    def run(self, db: apsw.Connection) -> None:
        """Do the work; undo it alone when it fails. Raises when SQLite has undone the whole transaction."""
        db.execute("SAVEPOINT command")
        try:
            self._result = self._work(db)
        except apsw.Error as error:
            if not db.in_transaction:
                raise
            self._undo(db, StoreError(str(error)))
        except Exception as error:  # noqa: BLE001 - belongs to the caller, who gets it
            self._undo(db, error)
        db.execute("RELEASE command")

    def fail(self, error: Exception) -> None:
        """Replace the result by an error."""
        self._error = error

    def deliver(self) -> None:
        """Tell the waiter; one who was cancelled meanwhile is past caring. Runs in the event loop."""
        if self._future.done():
            return
        if self._error is not None:
            self._future.set_exception(self._error)
        else:
            self._future.set_result(self._result)

    def _undo(self, db: apsw.Connection, error: Exception) -> None:
        db.execute("ROLLBACK TO command")
        self._error = error


class Writer:
    """Owns the writing connection, until `close`; used from the event loop's thread.

    After each commit `on_added` is called in the event loop with the names of the tables that got new rows.
    """

    def __init__(self, db: apsw.Connection, on_added: Callable[[set[str]], None]) -> None:
        self._db = db
        self._on_added = on_added
        self._added: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Command[Any] | None] = queue.SimpleQueue()
        self._urgent: deque[_Command[Any]] = deque()
        self._others: deque[_Command[Any]] = deque()
        self._wal_pages = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="onhook-store-writer", daemon=True)
        db.set_update_hook(self._on_row)
        db.set_wal_hook(self._on_commit)
        self._thread.start()

    def submit(self, work: Callable[[apsw.Connection], T], *, urgent: bool = False) -> asyncio.Future[T]:
        """Queue work; the future is done when it is on disk, or holds what went wrong.

        Urgent work goes ahead of all that waits. Cancelling the future does not cancel the work.
        """
        if self._closed:
            raise StoreError("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(_Command(work, future, urgent=urgent))
        return future

    async def close(self) -> None:
        """Finish what was accepted, then close the connection."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        receiving = True
        while receiving or self._urgent or self._others:
            receiving = receiving and self._receive()
            batch = self._take()
            if batch:
                self._commit(batch)
                self._loop.call_soon_threadsafe(self._deliver, batch, self._added)
                self._added = set()
                self._checkpoint()
        self._db.close()

    def _receive(self) -> bool:
        """Sort what has arrived, waiting when there is nothing to do. False at the end of all."""
        while True:
            try:
                command = self._inbox.get(block=not (self._urgent or self._others))
            except queue.Empty:
                return True
            if command is None:
                return False
            (self._urgent if command.urgent else self._others).append(command)

    def _take(self) -> list[_Command[Any]]:
        """Take the next batch, stops first."""
        batch: list[_Command[Any]] = []
        for waiting in (self._urgent, self._others):
            while waiting and len(batch) < MAX_BATCH:
                batch.append(waiting.popleft())
        return batch

    def _commit(self, batch: list[_Command[Any]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for command in batch:
                command.run(self._db)
            self._db.execute("COMMIT")
        except apsw.Error as error:
            logger.exception("%d writes are not durable", len(batch))
            if self._db.in_transaction:
                with contextlib.suppress(apsw.Error):
                    self._db.execute("ROLLBACK")
            for command in batch:
                command.fail(StoreError(f"the write is not durable: {error}"))

    def _deliver(self, batch: list[_Command[Any]], added: set[str]) -> None:
        for command in batch:
            command.deliver()
        self._on_added(added)

    def _on_row(self, what: int, _db: str, table: str, _row: int) -> None:
        if what == apsw.SQLITE_INSERT:
            self._added.add(table)

    def _on_commit(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Shorten the write-ahead log, after the callers have their answers rather than before."""
        idle = self._inbox.empty() and not (self._urgent or self._others)
        if self._wal_pages < (CHECKPOINT_PAGES if idle else CHECKPOINT_PAGES_BUSY):
            return
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error:
            logger.exception("the write-ahead log could not be copied into the database; it grows until it can")
        self._wal_pages = 0
