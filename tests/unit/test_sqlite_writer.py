"""The writer thread: what shares a transaction, what goes first, and what happens when the disk says no."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from onhook.store import sqlite_writer
from onhook.store.sqlite_writer import MAX_BATCH, Writer
from onhook.store.store import StoreError

pytestmark = pytest.mark.unit


class Held:
    """Keeps the writer busy until let go, so that what is submitted meanwhile has to wait."""

    def __init__(self, writer: Writer) -> None:
        self._started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._go = threading.Event()
        self._done = writer.submit(self._wait)

    async def __aenter__(self) -> None:
        await self._started.wait()

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        await self._done

    def _wait(self, _db: apsw.Connection) -> None:
        self._loop.call_soon_threadsafe(self._started.set)
        assert self._go.wait(10)


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    """A writer of an empty table t(n)."""
    db = apsw.Connection(str(tmp_path / "test.db"))
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
    writer = Writer(db, lambda _tables: None)
    yield writer
    await writer.close()


def insert(n: int) -> Callable[[apsw.Connection], int]:
    def work(db: apsw.Connection) -> int:
        db.execute("INSERT INTO t (n) VALUES (?)", (n,))
        return n

    return work


async def rows(writer: Writer) -> list[int]:
    return await writer.submit(lambda db: [int(n) for (n,) in db.execute("SELECT n FROM t ORDER BY n")])


def note(order: list[str], name: str) -> Callable[[apsw.Connection], None]:
    return lambda _: order.append(name)


async def test_stops_overtake_a_queue_of_other_writes(writer: Writer) -> None:
    order: list[str] = []
    async with Held(writer):
        others = [writer.submit(note(order, "other")) for _ in range(3 * MAX_BATCH)]
        stops = [writer.submit(note(order, "stop"), urgent=True) for _ in range(2)]
    await asyncio.gather(*stops, *others)
    assert order == ["stop"] * 2 + ["other"] * 3 * MAX_BATCH


async def test_writes_of_one_kind_keep_their_order(writer: Writer) -> None:
    order: list[str] = []
    names = [str(n) for n in range(2 * MAX_BATCH)]
    async with Held(writer):
        done = [writer.submit(note(order, name)) for name in names]
    await asyncio.gather(*done)
    assert order == names


async def test_what_waits_is_committed_together(writer: Writer, tmp_path: Path) -> None:
    log = tmp_path / "test.db-wal"
    await writer.submit(insert(0))
    lone = log.stat().st_size
    async with Held(writer):
        done = [writer.submit(insert(n)) for n in range(1, 41)]
    await asyncio.gather(*done)
    together = log.stat().st_size - lone
    assert together <= 2 * lone
    assert await rows(writer) == list(range(41))


async def test_a_result_is_told_only_after_its_commit(writer: Writer, tmp_path: Path) -> None:
    reader = apsw.Connection(str(tmp_path / "test.db"), flags=apsw.SQLITE_OPEN_READONLY)
    for n in range(20):
        await writer.submit(insert(n))
        assert reader.execute("SELECT count(*) FROM t").get == n + 1
    reader.close()


async def test_an_error_undoes_its_own_command_and_no_other(writer: Writer) -> None:
    def half_done(db: apsw.Connection) -> int:
        insert(50)(db)
        return insert(1)(db)

    async with Held(writer):
        done = [
            writer.submit(insert(1)),
            writer.submit(half_done),
            writer.submit(insert(2)),
        ]
    found = await asyncio.gather(*done, return_exceptions=True)
    assert found[0] == 1
    assert isinstance(found[1], StoreError)
    assert found[2] == 2
    assert await rows(writer) == [1, 2]


async def test_an_error_that_is_not_the_databases_reaches_its_caller_alone(writer: Writer) -> None:
    def slip(db: apsw.Connection) -> None:
        insert(7)(db)
        raise LookupError("a slip")

    async with Held(writer):
        wrong, right = writer.submit(slip), writer.submit(insert(8))
    with pytest.raises(LookupError, match="a slip"):
        await wrong
    assert await right == 8
    assert await rows(writer) == [8]


async def test_a_full_disk_fails_the_write_and_a_disk_with_room_takes_the_next(writer: Writer) -> None:
    def limit(db: apsw.Connection, pages: int) -> None:
        db.execute(f"PRAGMA max_page_count = {pages}")

    await writer.submit(lambda db: limit(db, 1))
    with pytest.raises(StoreError):
        await writer.submit(lambda db: db.execute("INSERT INTO t VALUES (1, zeroblob(100000))").close())
    await writer.submit(lambda db: limit(db, 1000))
    await writer.submit(insert(2))
    assert await rows(writer) == [2]


async def test_a_commit_that_fails_fails_every_command_of_its_batch_and_the_writer_goes_on(writer: Writer) -> None:
    def refuse_commits(db: apsw.Connection) -> None:
        db.set_commit_hook(lambda: True)

    async with Held(writer):
        done = [writer.submit(insert(1)), writer.submit(insert(2))]
        blocker = writer.submit(refuse_commits, urgent=True)
    found = await asyncio.gather(blocker, *done, return_exceptions=True)
    assert [type(result) for result in found] == [StoreError] * 3
    await writer.submit(lambda db: db.set_commit_hook(None))
    assert await writer.submit(insert(3)) == 3
    assert await rows(writer) == [3]


async def test_a_transaction_that_sqlite_gives_up_fails_as_a_whole(writer: Writer) -> None:
    def lose_the_transaction(db: apsw.Connection) -> None:
        db.execute("INSERT OR ROLLBACK INTO t (n) VALUES (1), (1)")

    async with Held(writer):
        done: list[asyncio.Future[Any]] = [writer.submit(insert(5)), writer.submit(lose_the_transaction)]
    await asyncio.wait(done)
    for future in done:
        with pytest.raises(StoreError, match="not durable: UNIQUE"):
            await future
    assert await writer.submit(insert(6)) == 6
    assert await rows(writer) == [6]


async def test_a_lock_of_another_program_fails_the_write_and_is_got_over(writer: Writer, tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "test.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="not durable"):
        await writer.submit(insert(1))
    other.execute("ROLLBACK")
    other.close()
    assert await writer.submit(insert(2)) == 2
    assert await rows(writer) == [2]


async def test_a_waiter_who_was_cancelled_does_not_cancel_the_write(writer: Writer) -> None:
    async with Held(writer):
        writer.submit(insert(1)).cancel()
    assert await rows(writer) == [1]


async def test_closing_finishes_what_was_accepted_and_takes_no_more(writer: Writer) -> None:
    async with Held(writer):
        done = [writer.submit(insert(n)) for n in range(2 * MAX_BATCH)]
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="closed"):
            writer.submit(insert(-1))
    await closing
    assert await asyncio.gather(*done) == list(range(2 * MAX_BATCH))


async def test_the_write_ahead_log_does_not_grow_for_ever_even_when_the_writer_is_never_idle(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = 100
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES_BUSY", pages)
    monkeypatch.setattr(sqlite_writer, "MAX_BATCH", 1)

    def fill(db: apsw.Connection) -> None:
        db.execute("INSERT INTO t (data) VALUES (zeroblob(?))", (4096 * pages // 4,))

    await asyncio.gather(*(writer.submit(fill) for _ in range(40)))
    assert (tmp_path / "test.db-wal").stat().st_size < 4096 * pages * 2
