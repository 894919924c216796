"""Timers, dial blocks, bulk stops and the audit log of a `MemoryStore`."""

from collections.abc import Sequence

import msgspec

from onhook.calls.call import Call
from onhook.calls.selector import CallSelector, matches
from onhook.calls.states import LIVE
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store import control_rules, rules
from onhook.store.audit import AuditEntry, AuditSeal
from onhook.store.records import BulkStop, DialBlock
from onhook.store.rules import Change, Held
from onhook.store.store import ConflictError
from onhook.store.timers import DueTimer, TimerCleared, TimerSet
from onhook.testing import queries
from onhook.testing.base import MemoryBase


class MemoryControl(MemoryBase):
    """What stops calls later, or many at once, keeps them from being dialled, and who asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self._seals: list[AuditSeal] = []

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
        await self._writable()
        held = self._held(call_id, environment_id)
        if held is None:
            return None
        present = self._timers.get((call_id, timer.kind))
        if not control_rules.may_set(held.call, present, only_answered=only_answered, if_absent=if_absent):
            return TimerSet(held.call, present, set=False)
        return self._entered(control_rules.timer_set(held, timer), timer)

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
        await self._writable()
        held = self._held(call_id, environment_id)
        if held is None:
            return None
        present = self._timers.get((call_id, kind))
        if present is None or not control_rules.may_shorten(held.call, present, to):
            return TimerSet(held.call, present, set=False)
        timer = msgspec.structs.replace(present, at=to)
        return self._entered(control_rules.timer_moved(held, timer, at, actor, reason, request_id), timer)

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
        await self._writable()
        held = self._held(call_id, environment_id)
        if held is None:
            return None
        present = self._timers.pop((call_id, kind), None)
        if present is None:
            return TimerCleared(held.call, None)
        change = control_rules.timer_cleared(held, present, at, actor, reason, request_id)
        return TimerCleared(held.call if change is None else self._tell(change), present)

    async def timers(self, call_id: str) -> list[CallTimer]:
        """Return a call's timers, the earliest first."""
        return [timer for owner, timer in self._by_moment() if owner == call_id]

    async def timers_of(self, call_ids: Sequence[str]) -> dict[str, list[CallTimer]]:
        """Return the timers of many calls by the call's id."""
        return {call_id: found for call_id in call_ids if (found := await self.timers(call_id))}

    async def count_overdue(self, now: int, grace_ms: int) -> int:
        """Count the live calls whose deadline, or a timer, passed more than `grace_ms` before `now`."""
        before = now - grace_ms
        late = {call.id for call in self._live() if call.deadline_at is not None and call.deadline_at < before}
        return len(late | {call_id for call_id, timer in self._by_moment() if timer.at < before})

    async def select_calls(self, environment_id: str | None, selector: CallSelector, now: int) -> list[Call]:
        """Return the live calls that a selector means, oldest first."""
        reached = [call for call in self._live() if environment_id in (None, call.environment_id)]
        return sorted((call for call in reached if matches(selector, call, now)), key=queries.place)

    async def get_calls(self, ids: Sequence[str]) -> list[Call]:
        """Return calls in the order of `ids`; leaves out those that are gone."""
        return [self._calls[call_id].call for call_id in ids if call_id in self._calls]

    async def unfinished_bulk_stops(self) -> list[BulkStop]:
        """Return the bulk stops, no dry runs, that nobody has finished, oldest first."""
        unfinished = [one for one in self._of(BulkStop) if one.first is None and not one.dry_run]
        return sorted(unfinished, key=lambda one: (one.created_at, one.id))

    async def audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""
        await self._writable()
        self._note(entry)

    async def audit_entries(self, environment_id: str, after: int = 0, limit: int = 500) -> list[AuditEntry]:
        """Return an environment's entries with `seq` greater than `after`, in order."""
        return [one for one in self._audit[after:] if one.environment_id == environment_id][:limit]

    async def unsealed_audit(self, environment_id: str, limit: int = 500) -> list[AuditEntry]:
        """Return the entries after the one sealed last, in order."""
        last = await self.last_seal(environment_id)
        return await self.audit_entries(environment_id, last.seq if last is not None else 0, limit)

    async def seal_audit(self, seals: Sequence[AuditSeal]) -> None:
        """Add seals, all or none. Raises `ConflictError` when one of their numbers or entries is sealed already."""
        await self._writable()
        for name in ("number", "seq"):
            sealed = [(one.environment_id, getattr(one, name)) for one in (*self._seals, *seals)]
            if len(set(sealed)) < len(sealed):
                raise ConflictError(f"sealed already: {name}")
        self._seals += seals

    async def audit_seals(self, environment_id: str, after: int = 0, limit: int = 500) -> list[AuditSeal]:
        """Return an environment's seals with `number` greater than `after`, in order."""
        mine = [one for one in self._seals if one.environment_id == environment_id and one.number > after]
        return sorted(mine, key=lambda one: one.number)[:limit]

    async def last_seal(self, environment_id: str) -> AuditSeal | None:
        """Return an environment's newest seal."""
        mine = (one for one in self._seals if one.environment_id == environment_id)
        return max(mine, key=lambda one: one.number, default=None)

    def _blocking(self, call: Call) -> DialBlock | None:
        """Return the block that keeps a call's INVITE from leaving."""
        blocks = [one for one in self._of(DialBlock) if one.environment_id == call.environment_id]
        return control_rules.blocking(sorted(blocks, key=lambda one: (-one.created_at, one.id)), call)

    def _due_timers(self, now: int, limit: int) -> tuple[DueTimer, ...]:
        due = [(call_id, timer) for call_id, timer in self._by_moment() if timer.at <= now]
        return tuple(DueTimer(self._calls[call_id].call, timer) for call_id, timer in due[:limit])

    def _by_moment(self) -> list[tuple[str, CallTimer]]:
        """Return all timers with the ids of their calls, the earliest first."""
        owned = [(call_id, timer) for (call_id, _), timer in self._timers.items()]
        return sorted(owned, key=lambda one: (one[1].at, one[0], one[1].kind))

    def _live(self) -> list[Call]:
        return [call for call in self._all() if call.state in LIVE]

    def _held(self, call_id: str, environment_id: str | None) -> Held | None:
        held = self._calls.get(call_id)
        return held if held is not None and rules.visible(held.call, environment_id) else None

    def _entered(self, change: Change, timer: CallTimer) -> TimerSet:
        """Keep a timer, in place of the one of its kind, and tell of it."""
        call = self._tell(change)
        self._timers[call.id, timer.kind] = timer
        return TimerSet(call, timer, set=True)

    def _tell(self, change: Change) -> Call:
        """Log what happened to a timer, for the call's followers and for the auditors."""
        if change.event is not None:
            self._note(control_rules.audit_of_timer(change.held.call, change.event))
        return self._save(change)
