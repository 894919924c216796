"""Opening a SQLite database: its settings, and its migrations."""

from importlib import resources
from pathlib import Path

import apsw

from onhook.store.store import StoreError

BUSY_TIMEOUT_MS = 1000
"""How long to wait for a lock that another program holds, such as a backup."""


def connect(path: Path) -> apsw.Connection:
    """Open the database for writing, making and migrating it as needed. Raises `StoreError`.

    A new one is nobody's but ours to read, wherever it lies: it holds numbers and what was said of people. SQLite gives
    the files beside it the same mode. The mode of one that is there already is its owner's choice.
    """
    try:
        path.touch(mode=0o600)
        db = apsw.Connection(str(path))
        db.set_busy_timeout(BUSY_TIMEOUT_MS)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        migrate(db, migrations())
    except (apsw.Error, OSError) as error:
        raise StoreError(f"cannot open {path}: {error}") from error
    return db


def connect_reader(path: Path) -> apsw.Connection:
    """Open a migrated database for reading only. Raises `StoreError`."""
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        db.set_busy_timeout(BUSY_TIMEOUT_MS)
    except apsw.Error as error:
        raise StoreError(f"cannot open {path} for reading: {error}") from error
    return db


def migrations() -> list[str]:
    """Return the migrations' SQL in order; the first makes version 1 of an empty database."""
    files = [file for file in resources.files("onhook.store.migrations").iterdir() if file.name.endswith(".sql")]
    return [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name)]


def migrate(db: apsw.Connection, scripts: list[str]) -> None:
    """Bring the database to version `len(scripts)`, each step in a transaction of its own.

    Raises `StoreError` when the database is newer than the scripts: an older program must not touch it.
    """
    version = _version(db)
    if version > len(scripts):
        raise StoreError(f"the database has version {version}, this program knows {len(scripts)}: it needs a newer one")
    for number, script in enumerate(scripts[version:], version + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            if _version(db) < number:  # another process may have been quicker
                db.execute(script).fetchall()  # else it would stop at the first row of a result
                db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _version(db: apsw.Connection) -> int:
    return int(db.pragma("user_version"))
