"""What the contract does not say and SQLite must do: survive, fail well, and stay quick with a long history."""

import asyncio
import os
import resource
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from onhook.calls.call import Call
from onhook.calls.causes import Cause, Reason
from onhook.calls.selector import CallSelector
from onhook.calls.states import State
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store import (
    sqlite_audit,
    sqlite_blocks,
    sqlite_calls,
    sqlite_outbox,
    sqlite_queries,
    sqlite_records,
    sqlite_timers,
)
from onhook.store.outbox import Delivery, DeliveryState, Finished, Replay, WebhookEndpoint
from onhook.store.queries import CallFilter, Page
from onhook.store.records import BulkStop, DialBlock
from onhook.store.sqlite import SqliteStore
from onhook.store.sqlite_migrate import connect
from onhook.store.store import Agent, Due, StopOrder, StoreError
from onhook.testing.calls import sample_call
from tests.contract.outbox_cases import LATER, an_endpoint, claimed

pytestmark = pytest.mark.unit

NOW = 1_800_000_000_000
CAUSE = Cause("operator", Reason.OPERATOR_STOP)
EVERYTHING = CallSelector(all=True)


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


async def test_timers_blocks_and_unfinished_bulk_stops_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    first = SqliteStore(path)
    await first.open()
    call = sample_call()
    await first.create_call(call)
    timer = CallTimer(TimerKind.STOP_AT, NOW + 5, CAUSE, NOW)
    bulk = BulkStop("bulk_1", "env_1", EVERYTHING, CAUSE, NOW, dial_block_id="block_1", call_ids=(call.id,))
    await first.set_timer(call.id, None, timer)
    await first.put(DialBlock("block_1", "env_1", EVERYTHING, NOW, "operator", bulk_id="bulk_1"))
    await first.put(bulk)
    await first.close()
    second = SqliteStore(path)
    await second.open()
    assert [(due.call.id, due.timer) for due in (await second.due(NOW + 5)).timers] == [(call.id, timer)]
    assert await second.unfinished_bulk_stops() == [bulk]
    assert not await second.save_snapshot(call.id, b"leg", before_invite=True)
    assert [entry.action for entry in await second.audit_entries("env_1")] == ["call.stop_scheduled"]
    await second.close()


async def test_a_block_that_another_process_puts_holds_at_once(store: SqliteStore, tmp_path: Path) -> None:
    call = sample_call()
    await store.create_call(call)
    other = SqliteStore(tmp_path / "onhook.db")
    await other.open()
    await other.put(DialBlock("block_1", "env_1", EVERYTHING, NOW, "operator"))
    assert not await store.save_snapshot(call.id, b"leg", before_invite=True)
    await other.delete(DialBlock, "block_1", "env_1")
    assert await store.save_snapshot(call.id, b"leg", before_invite=True)
    await other.close()


async def test_a_block_that_is_not_durable_holds_nothing_back(store: SqliteStore, tmp_path: Path) -> None:
    call = sample_call()
    await store.create_call(call)
    with no_file_may_grow_beyond((tmp_path / "onhook.db-wal").stat().st_size), pytest.raises(StoreError):
        await store.put(DialBlock("block_1", "env_1", EVERYTHING, NOW, "operator"))
    assert await store.save_snapshot(call.id, b"leg", before_invite=True)


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


# --- what must be known in time is, however much clients ask for


async def test_a_list_that_takes_long_holds_up_no_sweep(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()

    def long_list(*_: object) -> list[Call]:
        may_end.wait(10)
        return []

    monkeypatch.setattr(sqlite_queries, "list_calls", long_list)
    lists = asyncio.create_task(store.list_calls(CallFilter(), Page()))
    async with asyncio.timeout(5):
        assert await store.due(NOW) == Due()
        assert await store.find(Agent, "env_1") == []
    assert not lists.done()
    may_end.set()
    assert await lists == []


async def test_one_claim_skips_so_many_deliveries_and_no_more(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_outbox, "SWEEP", 3)
    for name in ("a", "b"):
        await an_endpoint(store, id=name)
        for _ in range(2):
            await store.create_call(sample_call())
    for name in ("a", "b"):
        await store.delete(WebhookEndpoint, name, "env_1")
    left = []
    for _ in range(3):
        left.append((await store.backlog()).due)
        await store.claim(LATER, 10, 10, {})
    assert left == [6, 3, 0]


async def test_a_replay_is_queued_in_steps_that_a_stop_can_come_between(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_outbox, "SWEEP", 2)
    steps: list[int] = []
    add = sqlite_outbox.add

    def noted(db: apsw.Connection, deliveries: list[Delivery]) -> None:
        steps.append(len(deliveries))
        add(db, deliveries)

    for _ in range(5):
        await store.create_call(sample_call())
    await an_endpoint(store)
    monkeypatch.setattr(sqlite_outbox, "add", noted)
    assert await store.replay(Replay("hook_1", "env_1", LATER)) == 5
    assert steps == [2, 2, 1]


async def test_old_deliveries_are_purged_though_older_ones_still_wait(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_outbox, "SWEEP", 2)
    await an_endpoint(store)
    for _ in range(3):
        await store.create_call(sample_call())
    waiting = [one.id for one in await claimed(store, limit=3)]
    await store.create_call(sample_call())
    (done,) = await claimed(store, limit=1)
    finished = [Finished(one, DeliveryState.DUE, LATER) for one in waiting]
    finished.append(Finished(done.id, DeliveryState.DONE, LATER))
    await store.claim(NOW, 0, 0, {}, finished)
    assert await store.purge_deliveries(LATER) == 1
    assert (await store.backlog()).due == 3


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


def of_environment(*, by_start: bool = False, **conditions: object) -> Callable[[apsw.Connection], object]:
    where = CallFilter(environment_id="env_1", **conditions)  # type: ignore[arg-type]

    def first_and_second_page(db: apsw.Connection) -> None:
        for after in (None, (1, "a")):
            sqlite_queries.list_calls(db, where, Page(after=after, by_start=by_start))

    return first_and_second_page


def number_of_calls(**conditions: object) -> Callable[[apsw.Connection], object]:
    where = CallFilter(environment_id="env_1", **conditions)  # type: ignore[arg-type]
    return lambda db: sqlite_queries.count_calls(db, where)


ONE, TWO = ("agent_1",), ("agent_1", "agent_2")
ORDER = StopOrder("call_1", CAUSE, NOW, or_sip_call_id=True)
INDEXED: dict[str, tuple[Callable[[apsw.Connection], object], set[str]]] = {
    "stop": (lambda db: sqlite_calls.stop(db, ORDER), {"sqlite_autoindex_calls_1", "calls_by_sip_call_id"}),
    "events": (lambda db: sqlite_calls.events(db, "call_1", 0, 10), {"call_events_by_seq"}),
    "due": (
        lambda db: sqlite_queries.due(db, NOW, 10),
        {"records_by_environment", "calls_to_dial", "calls_by_deadline", "calls_ending", "call_timers_by_moment"},
    ),
    "overdue": (
        lambda db: sqlite_timers.count_overdue(db, NOW),
        {"calls_by_deadline", "call_timers_by_moment", "calls_1"},
    ),
    "selected": (lambda db: sqlite_queries.select_calls(db, "env_1", EVERYTHING, NOW), {"calls_unsettled"}),
    "selected anywhere": (lambda db: sqlite_queries.select_calls(db, None, EVERYTHING, NOW), {"calls_unsettled"}),
    "dial blocks": (lambda db: sqlite_blocks.of_environment(db, "env_1"), {"records_by_environment"}),
    "unfinished bulk stops": (sqlite_records.unfinished_bulk_stops, {"bulk_stops_unfinished"}),
    "audit": (lambda db: sqlite_audit.entries(db, "env_1", 5, 10), {"audit_by_environment"}),
    "audit not sealed": (lambda db: sqlite_audit.unsealed(db, "env_1", 10), {"PRIMARY KEY", "audit_by_environment"}),
    "counts": (sqlite_queries.live_call_counts, {"calls_unsettled"}),
    "standings": (sqlite_queries.standings, {"calls_unsettled"}),
    "page": (of_environment(), {"calls_by_creation"}),
    "active": (of_environment(over=False, agent_ids=("agent_1",)), {"calls_unsettled"}),
    "active of two": (of_environment(over=False, agent_ids=TWO), {"calls_unsettled"}),
    "agent": (of_environment(agent_ids=ONE), {"calls_by_agent"}),
    "agent's failed": (of_environment(agent_ids=ONE, states=(State.ENDED,)), {"calls_by_agent"}),
    "agents": (of_environment(agent_ids=TWO), {"calls_by_creation"}),
    "agent by start": (of_environment(agent_ids=ONE, by_start=True), {"calls_by_start"}),
    "ids by start": (of_environment(ids=("call_1", "call_2"), by_start=True), {"sqlite_autoindex_calls_1"}),
    "ids of an agent": (of_environment(ids=("call_1",), agent_ids=ONE), {"sqlite_autoindex_calls_1"}),
    "count of an agent": (number_of_calls(agent_ids=ONE), {"calls_by_agent", "calls_deleted"}),
    "count of its active": (number_of_calls(agent_ids=ONE, over=False), {"calls_unsettled", "calls_deleted"}),
    "endpoints": (lambda db: sqlite_records.endpoints_for(db, "env_1", "agent_1"), {"webhook_by_agent"}),
    "erasable": (sqlite_calls.erasable, {"calls_deleted", "sqlite_autoindex_snapshots_1", "deliveries_by_call"}),
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
        assert any(index in line for line in found), found
    lookups = [line for line in found if any(table in line for table in ("calls", "call_timers", "records", "audit"))]
    assert all(any(index in line for index in indexes) for line in lookups), found
