"""What a `MemoryStore` holds, and how it is written."""

import asyncio
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from onhook.calls.call import Call, Event
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store import rules
from onhook.store.audit import AuditEntry
from onhook.store.outbox import WebhookEndpoint
from onhook.store.rules import Change, Held
from onhook.store.store import Agent, R, Record, StoreError
from onhook.testing.outbox import MemoryOutbox

J = TypeVar("J", Held, Event, AuditEntry)


class MemoryBase:
    """Dictionaries.

    Set `fail_writes` to make every write raise `StoreError`, as a full disk does; set `write_delay` (seconds)
    to make every write wait first, as a slow disk does. Reads are never disturbed.
    """

    def __init__(self) -> None:
        self.fail_writes = False
        self.write_delay = 0.0
        self._records: dict[tuple[type[Record], str], Record] = {}
        self._calls: dict[str, Held] = {}
        self._events: dict[str, list[Event]] = {}
        self._snapshots: dict[str, bytes] = {}
        self._timers: dict[tuple[str, TimerKind], CallTimer] = {}
        self._audit: list[AuditEntry] = []
        self._outbox = MemoryOutbox(self._endpoints, lambda call_id: self._call(call_id, None), self._set, self._agent)

    async def _writable(self) -> None:
        if self.write_delay > 0:
            await asyncio.sleep(self.write_delay)
        if self.fail_writes:
            raise StoreError("writes are set to fail")

    def _call(self, call_id: str, environment_id: str | None) -> Call | None:
        held = self._calls.get(call_id)
        return held.call if held is not None and rules.visible(held.call, environment_id) else None

    def _save(self, change: Change) -> Call:
        held = through_json(change.held)
        self._calls[held.call.id] = held
        if change.event is not None:
            self._events.setdefault(held.call.id, []).append(through_json(change.event))
            self._outbox.log(held.call, change.event)
        return held.call

    def _set(self, record: Record) -> None:
        self._records[type(record), record.id] = record

    def _agent(self, agent_id: str) -> Agent | None:
        return next((one for one in self._of(Agent) if one.id == agent_id), None)

    def _endpoints(self) -> dict[str, WebhookEndpoint]:
        return {one.id: one for one in self._of(WebhookEndpoint)}

    def _all(self) -> Iterable[Call]:
        return (held.call for held in self._calls.values())

    def _of(self, kind: type[R]) -> Iterable[R]:
        return (record for record in self._records.values() if isinstance(record, kind))

    def _forget_timers(self, call_id: str) -> list[TimerKind]:
        return [kind for kind in TimerKind if self._timers.pop((call_id, kind), None) is not None]

    def _note(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""
        self._audit.append(through_json(msgspec.structs.replace(entry, seq=len(self._audit) + 1)))


def through_json(value: J) -> J:
    """Return the value as a database gives it back: a copy, in which a tuple is a list."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))
