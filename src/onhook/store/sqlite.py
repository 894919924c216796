"""The store of the embedded server: one SQLite file, durable to the last acknowledged write.

All writes go through one thread (`sqlite_writer`), which commits what waits together, stops first. Reads of
one row run right in the event loop, on a connection of their own, because they take less time than a change
of threads. Longer ones run in two reader threads: one for what clients ask for, however long it takes, and one
for what the server itself must know in time. The write-ahead log lets all of them work at once, and every read sees
every write that was acknowledged before it.
"""

from collections.abc import Sequence

from onhook.calls.call import Call, Event
from onhook.calls.proof import Proof
from onhook.calls.states import State
from onhook.calls.timer import CallTimer
from onhook.store import rules, sqlite_calls, sqlite_once, sqlite_queries, sqlite_records, sqlite_timers
from onhook.store.audit import Act
from onhook.store.figures import Standing
from onhook.store.idempotency import Begun, OnceRequest
from onhook.store.queries import CallFilter, Page
from onhook.store.sqlite_control import SqliteControl
from onhook.store.sqlite_deliveries import SqliteDeliveries
from onhook.store.store import (
    ApiKey,
    Arrival,
    DetailsChange,
    Due,
    Number,
    Progress,
    R,
    Record,
    Settlement,
    StopOrder,
    Stopped,
)


class SqliteStore(SqliteDeliveries, SqliteControl):
    """A `Store` in the SQLite database at `path`, which is made when it is not there."""

    async def check(self) -> None:
        """Make one tiny durable write. Raises `StoreError` when that is not possible."""
        await self._write(sqlite_records.beat)

    # configuration objects

    async def put(self, record: Record, by: Act | None = None) -> None:
        """Insert or replace by id. Raises `ConflictError` for a taken number (per environment)."""
        await self._write(lambda db: sqlite_records.put(db, record, by))

    async def get(self, kind: type[R], record_id: str, environment_id: str | None) -> R | None:
        """Return one record; another environment's is None. `environment_id` None reaches all."""
        return self._read(lambda db: sqlite_records.get(db, kind, record_id, environment_id))

    async def find(self, kind: type[R], environment_id: str | None) -> list[R]:
        """Return all records of a kind, newest first, ties by id."""
        return await self._look(lambda db: sqlite_records.find(db, kind, environment_id))

    async def delete(self, kind: type[R], record_id: str, environment_id: str | None, by: Act | None = None) -> bool:
        """Delete one record; False when it is not there."""
        return await self._write(lambda db: sqlite_records.delete(db, kind, record_id, environment_id, by))

    async def key_by_hash(self, token_sha256: str) -> ApiKey | None:
        """Return the key that is not revoked, or None."""
        return self._read(lambda db: sqlite_records.key_by_hash(db, token_sha256))

    async def number_by_value(self, environment_id: str, number: str) -> Number | None:
        """Return the number record of an E.164 number."""
        return self._read(lambda db: sqlite_records.number_by_value(db, environment_id, number))

    # calls

    async def create_call(self, call: Call, timer: CallTimer | None = None, by: Act | None = None) -> None:
        """Insert a call with its `call.created` event. Raises `ConflictError` for a taken id, `DialBlockedError`."""
        await self._write(lambda db: sqlite_timers.create_call(db, call, timer, by))

    async def get_call(self, call_id: str, environment_id: str | None) -> Call | None:
        """Return one call; another environment's, or a deleted one, is None."""
        return self._read(lambda db: sqlite_calls.get(db, call_id, environment_id))

    async def list_calls(self, where: CallFilter, page: Page) -> list[Call]:
        """Return one page of calls. Raises ValueError for a limit outside 0 to 1000."""
        return await self._scan(lambda db: sqlite_queries.list_calls(db, where, page))

    async def count_calls(self, where: CallFilter) -> int:
        """Count calls."""
        return await self._scan(lambda db: sqlite_queries.count_calls(db, where))

    async def live_call_counts(self) -> dict[State, int]:
        """Count the calls that are not `ended`; every such state has an entry."""
        return await self._look(sqlite_queries.live_call_counts)

    async def standings(self) -> list[Standing]:
        """Return every call that may have something on the wire, in no order."""
        return await self._look(sqlite_queries.standings)

    async def dial(self, call_id: str, at: int, deadline_at: int) -> bool:
        """Move `scheduled` to `dialing` and set the deadline; False when the state, or a dial block, forbids it."""
        return await self._write(lambda db: sqlite_calls.dial(db, call_id, at, deadline_at))

    async def arrive(self, arrival: Arrival) -> Call | None:
        """Move a registered call to `ringing`; None when there is no such call, or it waits for nobody."""
        return await self._write(lambda db: sqlite_calls.arrive(db, arrival))

    async def save_snapshot(self, call_id: str, snapshot: bytes, *, before_invite: bool) -> bool:
        """Store the engine's snapshot. With `before_invite`, only while an INVITE may leave; False otherwise."""
        return await self._write(
            lambda db: sqlite_calls.save_snapshot(db, call_id, snapshot, before_invite=before_invite)
        )

    async def snapshots(self) -> dict[str, bytes]:
        """Return every snapshot that is not forgotten, by call id."""
        return await self._look(sqlite_calls.snapshots)

    async def record_progress(self, progress: Progress) -> Call | None:
        """Apply a wire fact (see `Progress`); return the call as it stands, None when unknown."""
        return await self._write(
            lambda db: sqlite_calls.apply(db, progress.call_id, lambda held: rules.progressed(held, progress))
        )

    async def request_stop(self, order: StopOrder) -> Stopped | None:
        """Move a live call to `ending` for `order.cause`; the only writer of `ending`."""
        return await self._write(lambda db: sqlite_calls.stop(db, order), urgent=True)

    async def request_stops(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        """Do the same for many, in one transaction, results in order."""
        return await self._write(lambda db: [sqlite_calls.stop(db, order) for order in orders], urgent=True)

    async def settle(self, settlement: Settlement) -> Call | None:
        """Move a call to `ended` with its proof; the only writer of `ended`."""
        return await self._write(lambda db: sqlite_calls.settle(db, settlement), urgent=True)

    async def append_proof(self, call_id: str, at: int, proof: Proof) -> Call | None:
        """Log `proof.updated` with evidence that came after the end."""
        return await self._write(lambda db: sqlite_calls.apply(db, call_id, lambda held: rules.proven(held, at, proof)))

    async def update_details(self, change: DetailsChange) -> Call | None:
        """Change what the maker of a call wants back; return the call, None when the environment has none."""
        return await self._write(lambda db: sqlite_calls.update_details(db, change))

    async def delete_call(self, call_id: str, environment_id: str, at: int, by: Act | None = None) -> bool:
        """Hide a call that is over from its environment; False when there is none, or it is live."""
        return await self._write(lambda db: sqlite_calls.delete(db, call_id, environment_id, at, by))

    async def erase_deleted_calls(self) -> int:
        """Erase some deleted calls that nothing needs any more."""
        found = await self._look(sqlite_calls.erasable)
        return await self._write(lambda db: sqlite_calls.erase(db, found)) if found else 0

    async def forget_snapshot(self, call_id: str) -> None:
        """Delete the snapshot of a call: the engine will need it no more."""
        await self._write(lambda db: sqlite_calls.forget_snapshot(db, call_id))

    async def events(self, call_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return a call's events with `seq` greater than `after`, in order."""
        return self._read(lambda db: sqlite_calls.events(db, call_id, after, limit))

    async def due(self, now: int, limit: int = 500) -> Due:
        """Return what waits for a clock at `now`, the longest waiting first."""
        return await self._look(lambda db: sqlite_queries.due(db, now, limit))

    # requests under a key

    async def begin_once(self, request: OnceRequest, *, stale_before: int, afresh: bool = False) -> Begun:
        """Enter a request, unless one stands under its scope and key."""
        return await self._write(lambda db: sqlite_once.begin(db, request, stale_before=stale_before, afresh=afresh))

    async def finish_once(self, scope: str, key: str, status: int, answer: str) -> None:
        """Enter the answer of a request."""
        await self._write(lambda db: sqlite_once.finish(db, scope, key, status, answer))

    async def forget_once(self, scope: str, key: str) -> None:
        """Free a key whose request did nothing."""
        await self._write(lambda db: sqlite_once.forget(db, scope, key))
