"""Checkpoints: how far the audit log was sealed and with which hash, kept in files outside the database.

Whoever can write into the database could cut the log's end off together with its seals, or compute a chain anew; these
files say what was there. Each environment has two: `NAME.head` is the newest checkpoint, put in place whole, and
`NAME.heads` all of them, one JSON object per line, only ever added to. A copy kept on another machine finds even the
work of somebody who can write here too.
"""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

import msgspec

from onhook.audit.chain import GENESIS
from onhook.store.audit import AuditSeal


class Head(msgspec.Struct, frozen=True):
    """A checkpoint: at `at` (ms), `number` entries were sealed, the last one `seq` with `hash`."""

    number: int
    seq: int
    hash: str
    at: int


class HeadsError(Exception):
    """A file of checkpoints holds something else."""


class Heads:
    """The checkpoints in a directory, which is made when there is something to write. All methods block.

    They raise OSError, and those that read `HeadsError`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writing = threading.Lock()

    def environments(self) -> list[str]:
        """Return the environments that have checkpoints, sorted."""
        return sorted({unquote(path.stem) for path in self._directory.glob("*.head*") if path.suffix != ".tmp"})

    def newest(self, environment_id: str) -> Head | None:
        """Return an environment's newest checkpoint."""
        path = self._path(environment_id, "head")
        return _head(path.read_bytes(), path) if path.exists() else None

    def history(self, environment_id: str) -> list[Head]:
        """Return all checkpoints of an environment, oldest first. A last line without an end was cut by a crash."""
        path = self._path(environment_id, "heads")
        if not path.exists():
            return []
        *lines, _ = path.read_bytes().split(b"\n")
        return [_head(line, path) for line in lines]

    def add(self, environment_id: str, seal: AuditSeal | None, at: int) -> Head:
        """Make a checkpoint of an environment's last seal, on disk when this returns; None is the one before all."""
        head = Head(seal.number, seal.seq, seal.hash, at) if seal is not None else Head(0, 0, GENESIS, at)
        line = msgspec.json.encode(head) + b"\n"
        with self._writing:  # A thread outlives the task that waits for it.
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _append(self._path(environment_id, "heads"), line)
            _replace(self._path(environment_id, "head"), line)
            _sync_directory(self._directory)
        return head

    def _path(self, environment_id: str, kind: str) -> Path:
        return self._directory / f"{quote(environment_id, safe='').replace('.', '%2E')}.{kind}"


def newest_of(heads: Iterable[Head]) -> Head | None:
    """Return the checkpoint that covers most."""
    return max(heads, key=lambda head: head.number, default=None)


def _head(line: bytes, path: Path) -> Head:
    try:
        return msgspec.json.decode(line, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HeadsError(f"{path.name} holds a line that is no checkpoint: {error}") from error


def _append(path: Path, line: bytes) -> None:
    """Add a line, in the place of one that a crash has cut."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        file.seek(_end_of_lines(file))
        file.truncate()
        file.write(line)
        _flush(file)


def _end_of_lines(file: BinaryIO) -> int:
    """Return where the last whole line ends. A line is shorter than what is looked at."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - 4096)
    file.seek(start)
    return start + file.read().rfind(b"\n") + 1


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_suffix(".tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        _flush(file)
    draft.replace(path)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
