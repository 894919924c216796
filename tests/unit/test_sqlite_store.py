"""What the contract does not say and SQLite must do: survive, fail well, and stay quick with a long history."""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from onhook.calls.causes import Cause, Reason
from onhook.calls.states import State
from onhook.store import sqlite_calls, sqlite_queries, sqlite_records
from onhook.store.sqlite import SqliteStore
from onhook.store.sqlite_migrate import connect
from onhook.store.store import CallFilter, Page, StopOrder, StoreError
from onhook.testing.calls import sample_call

pytestmark = pytest.mark.unit

NOW = 1_800_000_000_000
CAUSE = Cause("operator", Reason.OPERATOR_STOP)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "onhook.db")
    await store.open()
    yield store
    await store.close()


# --- survival

WRITES_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from typing import Any
from onhook.calls.causes import Cause, Reason
from onhook.store.sqlite import SqliteStore
from onhook.store.store import StopOrder
from onhook.testing.calls import sample_call

async def one(store, number):
    call = sample_call(id=f"call_{number}")
    await store.create_call(call)
    await store.save_snapshot(call.id, b"snapshot", before_invite=True)
    await store.request_stop(StopOrder(call.id, Cause("operator", Reason.OPERATOR_STOP), number))
    print(call.id, flush=True)

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    for start in range(0, 100_000, 8):
        await asyncio.gather(*(one(store, number) for number in range(start, start + 8)))

asyncio.run(main())
"""


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITES_UNTIL_KILLED, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(200)]
    process.kill()
    acknowledged += [line.decode().strip() async for line in process.stdout if line.endswith(b"\n")]
    await process.wait()
    store = SqliteStore(path)
    await store.open()
    snapshots = await store.snapshots()
    for call_id in acknowledged:
        call = await store.get_call(call_id, None)
        assert call is not None
        assert call.state is State.ENDING
        assert [event.seq for event in await store.events(call_id)] == [1, 2]
        assert snapshots[call_id] == b"snapshot"
    await store.close()


async def test_a_store_that_is_opened_again_has_everything(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    first = SqliteStore(path)
    await first.open()
    call = sample_call()
    await first.create_call(call)
    await first.save_snapshot(call.id, b"x", before_invite=True)
    await first.close()
    assert os.listdir(tmp_path) == ["onhook.db"]
    second = SqliteStore(path)
    await second.open()
    assert await second.get_call(call.id, None) == call
    assert await second.snapshots() == {call.id: b"x"}
    await second.close()


async def test_closing_waits_for_writes_and_lists_in_flight(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "onhook.db")
    await store.open()
    calls = [sample_call() for _ in range(100)]
    writes = [asyncio.create_task(store.create_call(call)) for call in calls]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    await store.open()
    assert await store.count_calls(CallFilter()) == 100
    await store.close()


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "onhook.db")
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.check()
    with pytest.raises(StoreError, match="not open"):
        await store.get_call("call_1", None)
    with pytest.raises(StoreError, match="not open"):
        await store.due(NOW)


# --- failure


@contextmanager
def no_file_may_grow_beyond(size: int) -> Iterator[None]:
    """Make the kernel refuse writes past `size` bytes of any file, as a full disk refuses them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_when_the_disk_is_full_writes_fail_reads_go_on_and_room_mends_it(
    store: SqliteStore, tmp_path: Path
) -> None:
    call = sample_call()
    await store.create_call(call)
    with no_file_may_grow_beyond((tmp_path / "onhook.db-wal").stat().st_size):
        with pytest.raises(StoreError):
            await store.check()
        with pytest.raises(StoreError):
            await store.request_stop(StopOrder(call.id, CAUSE, NOW))
        assert await store.get_call(call.id, None) == call
        assert (await store.due(NOW)).ending == ()
    stopped = await store.request_stop(StopOrder(call.id, CAUSE, NOW))
    assert stopped is not None
    assert stopped.first
    assert [event.seq for event in await store.events(call.id)] == [1, 2]


async def test_text_that_cannot_be_stored_fails_its_own_write_alone(store: SqliteStore) -> None:
    good, bad = sample_call(), sample_call(to_number="+1\udc80")
    found = await asyncio.gather(store.create_call(bad), store.create_call(good), return_exceptions=True)
    assert isinstance(found[0], UnicodeEncodeError)
    assert await store.get_call(good.id, None) == good
    assert await store.get_call(bad.id, None) is None


async def test_a_reader_that_fails_says_so(store: SqliteStore, tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "onhook.db"))
    other.execute("DROP TABLE call_events")
    other.close()
    with pytest.raises(StoreError, match="cannot read"):
        await store.events("call_1")


# --- a long history costs nothing


def plans(db: apsw.Connection, query: Callable[[apsw.Connection], object]) -> list[str]:
    """Return how SQLite would look up the tables of every statement that `query` runs."""
    statements: list[tuple[str, Any]] = []

    def note(_cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        statements.append((sql, bindings))
        return True

    db.exec_trace = note
    query(db)
    db.exec_trace = None
    return [row[3] for sql, bindings in statements for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]


def of_environment(**conditions: object) -> Callable[[apsw.Connection], object]:
    where = CallFilter(environment_id="env_1", **conditions)  # type: ignore[arg-type]
    return lambda db: sqlite_queries.list_calls(db, where, Page(after=(1, "a")))


ORDER = StopOrder("call_1", CAUSE, NOW, or_sip_call_id=True)
INDEXED: dict[str, tuple[Callable[[apsw.Connection], object], set[str]]] = {
    "stop": (lambda db: sqlite_calls.stop(db, ORDER), {"sqlite_autoindex_calls_1", "calls_by_sip_call_id"}),
    "events": (lambda db: sqlite_calls.events(db, "call_1", 0, 10), {"call_events_by_seq"}),
    "due": (lambda db: sqlite_queries.due(db, NOW, 10), {"calls_to_dial", "calls_by_deadline", "calls_ending"}),
    "counts": (sqlite_queries.live_call_counts, {"calls_unsettled"}),
    "page": (of_environment(), {"calls_by_creation"}),
    "active": (of_environment(over=False, agent_ids=("agent_1",)), {"calls_unsettled"}),
    "unsettled": (of_environment(states=(State.ENDING, State.DIALING)), {"calls_unsettled"}),
    "key": (lambda db: sqlite_records.key_by_hash(db, "ab"), {"api_key_by_hash"}),
    "number": (lambda db: sqlite_records.number_by_value(db, "env_1", "+1"), {"number_by_value"}),
}


@pytest.mark.parametrize("name", INDEXED)
def test_what_runs_often_looks_only_at_what_it_needs(name: str, tmp_path: Path) -> None:
    query, indexes = INDEXED[name]
    db = connect(tmp_path / "onhook.db")
    found = plans(db, query)
    db.close()
    assert found
    for index in indexes:
        assert any(f"INDEX {index}" in line for line in found), found
    lookups = [line for line in found if "calls" in line or "records" in line]
    assert all(any(f"INDEX {index}" in line for index in indexes) for line in lookups), found
