"""Timers, bulk stops and the audit log of a SQLite store."""

from collections.abc import Sequence
from functools import partial

from onhook.calls.call import Call
from onhook.calls.selector import CallSelector
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store import sqlite_audit, sqlite_queries, sqlite_records, sqlite_timers
from onhook.store.audit import AuditEntry, AuditSeal
from onhook.store.records import BulkStop
from onhook.store.sqlite_base import SqliteBase
from onhook.store.timers import TimerCleared, TimerSet

STRETCH = 1000
"""Calls that one read looks up, so that no sweep waits long for a list of any length."""


class SqliteControl(SqliteBase):
    """What stops calls later, or many at once, and who asked for it."""

    async def set_timer(
        self,
        call_id: str,
        environment_id: str | None,
        timer: CallTimer,
        *,
        only_answered: bool = False,
        if_absent: bool = False,
    ) -> TimerSet | None:
        """Set a live call's timer; None when there is no such call."""
        return await self._write(
            lambda db: sqlite_timers.put(
                db, call_id, environment_id, timer, only_answered=only_answered, if_absent=if_absent
            ),
            urgent=True,
        )

    async def shorten_timer(
        self,
        call_id: str,
        environment_id: str | None,
        kind: TimerKind,
        to: int,
        at: int,
        *,
        actor: str = "system",
        reason: str | None = None,
        request_id: str | None = None,
    ) -> TimerSet | None:
        """Let a live call's timer come earlier; None when there is no such call."""
        return await self._write(
            lambda db: sqlite_timers.shorten(
                db, call_id, environment_id, kind, to, at, actor=actor, reason=reason, request_id=request_id
            ),
            urgent=True,
        )

    async def clear_timer(
        self,
        call_id: str,
        environment_id: str | None,
        kind: TimerKind,
        at: int,
        *,
        actor: str = "system",
        reason: str | None = None,
        request_id: str | None = None,
    ) -> TimerCleared | None:
        """Take back a live call's timer; None when there is no such call."""
        return await self._write(
            lambda db: sqlite_timers.clear(
                db, call_id, environment_id, kind, at, actor=actor, reason=reason, request_id=request_id
            ),
            urgent=True,
        )

    async def timers(self, call_id: str) -> list[CallTimer]:
        """Return a call's timers, the earliest first."""
        return self._read(lambda db: sqlite_timers.of_call(db, call_id))

    async def timers_of(self, call_ids: Sequence[str]) -> dict[str, list[CallTimer]]:
        """Return the timers of many calls by the call's id."""
        return await self._look(lambda db: sqlite_timers.of_calls(db, call_ids))

    async def count_overdue(self, now: int, grace_ms: int) -> int:
        """Count the live calls whose deadline, or a timer, passed more than `grace_ms` before `now`."""
        return await self._look(lambda db: sqlite_timers.count_overdue(db, now - grace_ms))

    async def select_calls(self, environment_id: str | None, selector: CallSelector, now: int) -> list[Call]:
        """Return the live calls that a selector means, oldest first."""
        return await self._look(lambda db: sqlite_queries.select_calls(db, environment_id, selector, now))

    async def get_calls(self, ids: Sequence[str]) -> list[Call]:
        """Return calls in the order of `ids`; leaves out those that are gone."""
        found: list[Call] = []
        for start in range(0, len(ids), STRETCH):
            found += await self._look(partial(sqlite_queries.calls_by_id, ids=ids[start : start + STRETCH]))
        return found

    async def unfinished_bulk_stops(self) -> list[BulkStop]:
        """Return the bulk stops, no dry runs, that nobody has finished, oldest first."""
        return await self._look(sqlite_records.unfinished_bulk_stops)

    async def audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""
        await self._write(lambda db: sqlite_audit.add(db, entry))

    async def audit_entries(self, environment_id: str, after: int = 0, limit: int = 500) -> list[AuditEntry]:
        """Return an environment's entries with `seq` greater than `after`, in order."""
        return await self._scan(lambda db: sqlite_audit.entries(db, environment_id, after, limit))

    async def unsealed_audit(self, environment_id: str, limit: int = 500) -> list[AuditEntry]:
        """Return the entries after the one sealed last, in order."""
        return await self._scan(lambda db: sqlite_audit.unsealed(db, environment_id, limit))

    async def seal_audit(self, seals: Sequence[AuditSeal]) -> None:
        """Add seals, all or none. Raises `ConflictError` when one of their numbers or entries is sealed already."""
        await self._write(lambda db: sqlite_audit.seal(db, seals))

    async def audit_seals(self, environment_id: str, after: int = 0, limit: int = 500) -> list[AuditSeal]:
        """Return an environment's seals with `number` greater than `after`, in order."""
        return await self._scan(lambda db: sqlite_audit.seals(db, environment_id, after, limit))

    async def last_seal(self, environment_id: str) -> AuditSeal | None:
        """Return an environment's newest seal."""
        return self._read(lambda db: sqlite_audit.last_seal(db, environment_id))
