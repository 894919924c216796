"""A `Store` in dictionaries: as fast as a test wants, with every rule of the real ones."""

from collections.abc import Callable, Sequence

from onhook.calls.call import Call, Event
from onhook.calls.proof import Proof, Result
from onhook.calls.states import LIVE, State
from onhook.calls.timer import CallTimer
from onhook.store import audit_rules, control_rules, rules
from onhook.store.audit import Act
from onhook.store.figures import Standing
from onhook.store.idempotency import Begun, OnceRequest
from onhook.store.queries import MAX_PAGE, CallFilter, Page
from onhook.store.rules import Change, Held
from onhook.store.store import (
    ApiKey,
    Arrival,
    ConflictError,
    DetailsChange,
    DialBlockedError,
    Due,
    Environment,
    Number,
    Progress,
    R,
    Record,
    Settlement,
    StopOrder,
    Stopped,
)
from onhook.testing import queries
from onhook.testing.control import MemoryControl
from onhook.testing.deliveries import MemoryDeliveries
from onhook.testing.once import MemoryOnce


class MemoryStore(MemoryDeliveries, MemoryControl):
    """A `Store` that forgets everything with the process.

    Set `fail_writes` to make every write raise `StoreError`, as a full disk does; set `write_delay` (seconds)
    to make every write wait first, as a slow disk does. Reads are never disturbed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._once = MemoryOnce()

    async def open(self) -> None:
        """Do nothing: a dictionary is open."""

    async def close(self) -> None:
        """Do nothing: what was stored stays for a second `open`."""

    async def check(self) -> None:
        """Raise `StoreError` when writes are set to fail."""
        await self._writable()

    async def put(self, record: Record, by: Act | None = None) -> None:
        """Insert or replace by id. Raises `ConflictError` for a taken number (per environment)."""
        await self._writable()
        if isinstance(record, Number):
            taken = await self.number_by_value(record.environment_id, record.number)
            if taken is not None and taken.id != record.id:
                raise ConflictError(f"the number {record.number} is taken")
        if by is not None:
            self._note(audit_rules.of_put(record, by, is_new=(type(record), record.id) not in self._records))
        self._set(record)

    async def get(self, kind: type[R], record_id: str, environment_id: str | None) -> R | None:
        """Return one record; another environment's is None. `environment_id` None reaches all."""
        record = self._records.get((kind, record_id))
        return record if isinstance(record, kind) and _belongs(record, environment_id) else None

    async def find(self, kind: type[R], environment_id: str | None) -> list[R]:
        """Return all records of a kind, newest first, ties by id."""
        found = [record for record in self._of(kind) if _belongs(record, environment_id)]
        return sorted(found, key=lambda record: (-record.created_at, record.id))

    async def delete(self, kind: type[R], record_id: str, environment_id: str | None, by: Act | None = None) -> bool:
        """Delete one record; False when it is not there."""
        await self._writable()
        record = await self.get(kind, record_id, environment_id)
        if record is None:
            return False
        if by is not None:
            self._note(audit_rules.of_deletion(record, by))
        del self._records[kind, record_id]
        return True

    async def key_by_hash(self, token_sha256: str) -> ApiKey | None:
        """Return the key that is not revoked, or None."""
        keys = (key for key in self._of(ApiKey) if key.token_sha256 == token_sha256 and key.revoked_at is None)
        return next(keys, None)

    async def number_by_value(self, environment_id: str, number: str) -> Number | None:
        """Return the number record of an E.164 number."""
        numbers = (one for one in self._of(Number) if one.number == number and one.environment_id == environment_id)
        return next(numbers, None)

    async def create_call(self, call: Call, timer: CallTimer | None = None, by: Act | None = None) -> None:
        """Insert a call with its `call.created` event. Raises `ConflictError` for a taken id, `DialBlockedError`."""
        await self._writable()
        change = rules.created(call, by)
        if call.id in self._calls:
            raise ConflictError(f"the call {call.id} exists already")
        block = self._blocking(call) if call.state is State.DIALING else None
        if block is not None:
            raise DialBlockedError(block.id)
        if by is not None:
            self._note(audit_rules.of_call(call, "create", by))
        self._save(change)
        if timer is not None:
            self._entered(control_rules.timer_set(self._calls[call.id], timer), timer)

    async def get_call(self, call_id: str, environment_id: str | None) -> Call | None:
        """Return one call; another environment's, or a deleted one, is None."""
        return self._call(call_id, environment_id)

    async def list_calls(self, where: CallFilter, page: Page) -> list[Call]:
        """Return one page of calls. Raises ValueError for a limit outside 0 to 1000."""
        if not 0 <= page.limit <= MAX_PAGE:
            raise ValueError(f"a page holds at most {MAX_PAGE} calls")
        place = queries.start if page.by_start else queries.place
        calls = sorted(self._matching(where), key=place, reverse=not page.ascending)
        if page.after is not None:
            after = page.after
            calls = [call for call in calls if (place(call) > after if page.ascending else place(call) < after)]
        return calls[page.offset : page.offset + page.limit]

    async def count_calls(self, where: CallFilter) -> int:
        """Count calls."""
        return len(self._matching(where))

    async def live_call_counts(self) -> dict[State, int]:
        """Count the calls that are not `ended`; every such state has an entry."""
        counts: dict[State, int] = {state: 0 for state in State if state is not State.ENDED}
        for call in self._all():
            if call.state is not State.ENDED:
                counts[call.state] += 1
        return counts

    async def standings(self) -> list[Standing]:
        """Return every call that may have something on the wire, in no order."""
        there = [call for call in self._all() if call.state not in (State.SCHEDULED, State.ENDED)]
        return [
            Standing(call.id, call.state, call.updated_at if call.stop is None else call.stop.requested_at)
            for call in there
        ]

    async def dial(self, call_id: str, at: int, deadline_at: int) -> bool:
        """Move `scheduled` to `dialing` and set the deadline; False when the state, or a dial block, forbids it."""
        await self._writable()
        held = self._calls.get(call_id)
        change = rules.dialed(held, at, deadline_at) if held is not None else None
        if change is None or self._blocking(change.held.call) is not None:
            return False
        self._save(change)
        return True

    async def arrive(self, arrival: Arrival) -> Call | None:
        """Move a registered call to `ringing`; None when there is no such call, or it waits for nobody."""
        await self._writable()
        held = self._calls.get(arrival.call_id)
        change = rules.arrived(held, arrival) if held is not None else None
        return None if change is None else self._save(change)

    async def save_snapshot(self, call_id: str, snapshot: bytes, *, before_invite: bool) -> bool:
        """Store the engine's snapshot. With `before_invite`, only while an INVITE may leave; False otherwise."""
        await self._writable()
        held = self._calls.get(call_id)
        if held is None or (before_invite and not self._may_be_invited(held.call)):
            return False
        if held.call.state is State.ENDED and call_id not in self._snapshots:
            return False
        self._snapshots[call_id] = snapshot
        return True

    async def snapshots(self) -> dict[str, bytes]:
        """Return every snapshot that is not forgotten, by call id."""
        return dict(self._snapshots)

    async def record_progress(self, progress: Progress) -> Call | None:
        """Apply a wire fact (see `Progress`); return the call as it stands, None when unknown."""
        return await self._apply(progress.call_id, lambda held: rules.progressed(held, progress))

    async def request_stop(self, order: StopOrder) -> Stopped | None:
        """Move a live call to `ending` for `order.cause`; the only writer of `ending`."""
        await self._writable()
        return self._stop(order)

    async def request_stops(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        """Do the same for many, in one transaction, results in order."""
        await self._writable()
        return [self._stop(order) for order in orders]

    async def settle(self, settlement: Settlement) -> Call | None:
        """Move a call to `ended` with its proof; the only writer of `ended`."""
        call = await self._apply(settlement.call_id, lambda held: rules.settled(held, settlement))
        if settlement.proof.result is Result.CONFIRMED:
            self._snapshots.pop(settlement.call_id, None)
        if call is not None and call.is_over:
            self._forget_timers(call.id)
        return call

    async def append_proof(self, call_id: str, at: int, proof: Proof) -> Call | None:
        """Log `proof.updated` with evidence that came after the end."""
        return await self._apply(call_id, lambda held: rules.proven(held, at, proof))

    async def update_details(self, change: DetailsChange) -> Call | None:
        """Change what the maker of a call wants back; return the call, None when the environment has none."""
        if self._call(change.call_id, change.environment_id) is None:
            return None
        return await self._apply(change.call_id, lambda held: rules.described(held, change))

    async def delete_call(self, call_id: str, environment_id: str, at: int, by: Act | None = None) -> bool:
        """Hide a call that is over from its environment; False when there is none, or it is live."""
        await self._writable()
        call = self._call(call_id, environment_id)
        change = rules.deleted(self._calls[call_id], at) if call is not None else None
        if change is None:
            return False
        if by is not None:
            self._note(audit_rules.of_call(self._calls[call_id].call, "delete", by))
        self._save(change)
        return True

    async def erase_deleted_calls(self) -> int:
        """Erase some deleted calls that nothing needs any more."""
        await self._writable()
        busy = self._snapshots.keys() | self._outbox.waiting()
        gone = [
            call.id for call in self._all() if call.deleted_at and call.state is State.ENDED and call.id not in busy
        ]
        for call_id in gone:
            del self._calls[call_id], self._events[call_id]
        return len(gone)

    async def forget_snapshot(self, call_id: str) -> None:
        """Delete the snapshot of a call: the engine will need it no more."""
        await self._writable()
        self._snapshots.pop(call_id, None)

    async def events(self, call_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return a call's events with `seq` greater than `after`, in order."""
        return [event for event in self._events.get(call_id, []) if event.seq > after][:limit]

    async def due(self, now: int, limit: int = 500) -> Due:
        """Return what waits for a clock at `now`, the longest waiting first."""
        scheduled = (call for call in self._all() if call.state is State.SCHEDULED and self._blocking(call) is None)
        live = (call for call in self._all() if call.state in LIVE)
        ending = (call for call in self._all() if call.state is State.ENDING)
        return Due(
            to_dial=queries.oldest(((call.dial_at, call) for call in scheduled), now, limit),
            overdue=queries.oldest(((call.deadline_at, call) for call in live), now, limit),
            ending=queries.oldest(((call.ended_at, call) for call in ending), None, limit),
            timers=self._due_timers(now, limit),
        )

    async def begin_once(self, request: OnceRequest, *, stale_before: int, afresh: bool = False) -> Begun:
        """Enter a request, unless one stands under its scope and key."""
        await self._writable()
        return self._once.begin(request, stale_before, afresh=afresh)

    async def finish_once(self, scope: str, key: str, status: int, answer: str) -> None:
        """Enter the answer of a request."""
        await self._writable()
        self._once.finish(scope, key, status, answer)

    async def forget_once(self, scope: str, key: str) -> None:
        """Free a key whose request did nothing."""
        await self._writable()
        self._once.forget(scope, key)

    async def _apply(self, call_id: str, rule: Callable[[Held], Change | None]) -> Call | None:
        await self._writable()
        held = self._calls.get(call_id)
        if held is None:
            return None
        change = rule(held)
        return held.call if change is None else self._save(change)

    def _stop(self, order: StopOrder) -> Stopped | None:
        held = self._target(order)
        if held is None:
            return None
        order = control_rules.with_farewell(order, self._forget_timers(held.call.id))  # Only live calls have any.
        change = rules.stopped(held, order)
        if change is None:
            return Stopped(held.call, first=False)
        self._note(control_rules.audit_of_stop(held.call, order))
        return Stopped(self._save(change), first=True)

    def _may_be_invited(self, call: Call) -> bool:
        return rules.may_be_invited(call.state) and self._blocking(call) is None

    def _target(self, order: StopOrder) -> Held | None:
        candidates = [self._calls[order.call_id]] if order.call_id in self._calls else []
        if order.or_sip_call_id:
            named = [held for held in self._calls.values() if held.call.sip_call_id == order.call_id]
            candidates += sorted(named, key=lambda held: queries.place(held.call), reverse=True)
        return next((held for held in candidates if rules.within_reach(held.call, order)), None)

    def _matching(self, where: CallFilter) -> list[Call]:
        return [call for call in self._all() if queries.matches(call, where)]


def _belongs(record: Record, environment_id: str | None) -> bool:
    owner = record.id if isinstance(record, Environment) else record.environment_id
    return environment_id in (None, owner)
