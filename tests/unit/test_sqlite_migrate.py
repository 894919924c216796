"""Opening a database: from nothing, from an older version, and never from a newer one."""

from pathlib import Path

import apsw
import pytest

from onhook.calls.call import Stop
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Result
from onhook.store import sqlite_calls, sqlite_records, sqlite_timers
from onhook.store.sqlite import SqliteStore
from onhook.store.sqlite_migrate import connect, migrate, migrations
from onhook.store.store import StoreError

pytestmark = pytest.mark.unit


def version(db: apsw.Connection) -> int:
    return int(db.pragma("user_version"))


def schema(db: apsw.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT name, sql FROM sqlite_schema"))


def test_an_empty_database_is_brought_to_the_newest_version(tmp_path: Path) -> None:
    db = connect(tmp_path / "onhook.db")
    assert version(db) == len(migrations()) >= 1
    assert db.execute("SELECT count(*) FROM calls").get == 0
    db.close()


def test_a_new_database_is_readable_by_us_alone_and_so_are_the_files_beside_it(tmp_path: Path) -> None:
    db = connect(tmp_path / "onhook.db")
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    db.close()
    assert modes == dict.fromkeys(("onhook.db", "onhook.db-wal", "onhook.db-shm"), 0o600)


def test_the_mode_of_a_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    connect(path).close()
    path.chmod(0o640)
    connect(path).close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_write_is_flushed_before_it_counts(tmp_path: Path) -> None:
    db = connect(tmp_path / "onhook.db")
    full = 2
    assert (db.pragma("journal_mode"), db.pragma("synchronous"), db.pragma("foreign_keys")) == ("wal", full, 1)
    db.close()


def test_a_database_of_this_version_is_left_as_it_is(tmp_path: Path) -> None:
    first = connect(tmp_path / "onhook.db")
    first.execute("UPDATE heartbeat SET count = 5")
    first.close()
    second = connect(tmp_path / "onhook.db")
    assert second.execute("SELECT count FROM heartbeat").get == 5
    second.close()


def test_a_database_of_the_first_version_becomes_what_a_new_one_is(tmp_path: Path) -> None:
    old = apsw.Connection(":memory:")
    migrate(old, migrations()[:1])
    columns = "id, environment_id, agent_id, trunk_id, dialect, direction, from_number, to_number, state, sip_call_id"
    old.execute(
        f"INSERT INTO calls ({columns}, created_at, updated_at, max_duration_ms, ring_timeout_ms, details, last_seq)"
        " VALUES ('call_1', 'env_1', 'a', 't', 'native', 'outbound', '+1', '+2', 'dialing', 's', 1, 1, 1, 1, '{}', 1)"
    )
    migrate(old, migrations())
    new = connect(tmp_path / "onhook.db")
    assert sqlite_calls.get(old, "call_1", "env_1") is not None
    assert schema(old) == schema(new)
    new.close()


def test_stops_and_keys_of_a_database_from_before_call_control_are_read_as_they_were_meant(tmp_path: Path) -> None:
    old = apsw.Connection(":memory:")
    migrate(old, migrations()[:4])
    cause = '{"initiator": "api_key:key_1", "reason": "api_stop"}'
    columns = "id, environment_id, agent_id, trunk_id, dialect, direction, from_number, to_number, state, sip_call_id"
    old.execute(
        f"INSERT INTO calls ({columns}, created_at, updated_at, max_duration_ms, ring_timeout_ms, cause, stop, details,"
        " ended_at, outcome, last_seq) VALUES ('call_1', 'env_1', 'a', 't', 'native', 'outbound', '+1', '+2', 'ending',"
        " 's', 1, 1, 1, 1, ?1, json_object('requested_at', 5, 'cause', json(?1), 'result', 'pending'), '{}',"
        " 5, 'canceled', 2)",
        (cause,),
    )
    key = '{"id": "key_1", "environment_id": "env_1", "name": "n", "token_sha256": "ab", "last4": "1", "created_at": 1}'
    old.execute("INSERT INTO records VALUES ('api_key', 'key_1', 'env_1', 1, ?)", (key,))
    migrate(old, migrations())
    call, found = sqlite_calls.get(old, "call_1", "env_1"), sqlite_records.key_by_hash(old, "ab")
    assert call is not None
    assert call.stop == Stop(5, Cause("api_key:key_1", Reason.API_STOP), Result.PENDING)
    assert found is not None
    assert found.scopes == ()
    assert sqlite_timers.of_call(old, "call_1") == []
    assert sqlite_records.unfinished_bulk_stops(old) == []


def test_a_first_database_from_before_calls_were_listed_by_start_gets_that_index() -> None:
    old = apsw.Connection(":memory:")
    migrate(old, migrations()[:1])
    old.execute("DROP INDEX calls_by_start")
    migrate(old, migrations())
    assert "calls_by_start" in schema(old)


def test_only_the_missing_steps_are_taken() -> None:
    db = apsw.Connection(":memory:")
    steps = ["CREATE TABLE a (x); INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2)"]
    migrate(db, steps[:1])
    migrate(db, steps)
    migrate(db, steps)
    assert [x for (x,) in db.execute("SELECT x FROM a")] == [1, 2]
    assert version(db) == 2


def test_a_step_is_taken_whole_even_when_a_statement_in_it_returns_rows() -> None:
    db = apsw.Connection(":memory:")
    migrate(db, ["CREATE TABLE a (x); SELECT 1 UNION SELECT 2; INSERT INTO a VALUES (3)"])
    assert db.execute("SELECT x FROM a").get == 3


def test_a_step_that_fails_leaves_the_version_before_it() -> None:
    db = apsw.Connection(":memory:")
    with pytest.raises(apsw.SQLError):
        migrate(db, ["CREATE TABLE a (x)", "INSERT INTO a VALUES (2); INSERT INTO missing VALUES (1)"])
    assert version(db) == 1
    assert db.execute("SELECT count(*) FROM a").get == 0
    assert not db.in_transaction


async def test_a_database_of_a_newer_program_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    db = connect(path)
    db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(StoreError, match="version 999"):
        await SqliteStore(path).open()
    db = apsw.Connection(str(path))
    assert version(db) == 999
    db.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    path.write_text("not a database, but long enough to be looked at " * 100)
    with pytest.raises(StoreError, match="cannot open"):
        await SqliteStore(path).open()


async def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        await SqliteStore(tmp_path / "missing" / "onhook.db").open()
