"""The store of the embedded server: one SQLite file, durable to the last acknowledged write.

All writes go through one thread (`sqlite_writer`), which commits what waits together, stops first. Reads of
one row run right in the event loop, on a connection of their own, because they take less time than a change
of threads. Longer ones run in two reader threads: one for what clients ask for, however long it takes, and one
for what the server itself must know in time. The write-ahead log lets all of them work at once, and every read sees
every write that was acknowledged before it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from onhook.calls.call import Call, Event
from onhook.calls.proof import Proof
from onhook.calls.states import State
from onhook.store import rules, sqlite_calls, sqlite_feed, sqlite_once, sqlite_outbox, sqlite_queries, sqlite_records
from onhook.store.idempotency import Begun, OnceRequest
from onhook.store.outbox import Attempt, Backlog, Claim, Delivery, Feed, Finished, Replay, WebhookEndpoint
from onhook.store.sqlite_migrate import connect, connect_reader
from onhook.store.sqlite_writer import Writer
from onhook.store.store import (
    ApiKey,
    CallFilter,
    DetailsChange,
    Due,
    Number,
    Page,
    Progress,
    R,
    Record,
    Settlement,
    StopOrder,
    Stopped,
    StoreError,
)

T = TypeVar("T")


class _Reader:
    """A thread with a connection of its own."""

    def __init__(self, path: Path, name: str) -> None:
        self._db = connect_reader(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"onhook-store-{name}")

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run work in the thread, after all that was given to it before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _reading, work, self._db)

    async def close(self) -> None:
        """Finish what was accepted, then close the connection."""
        await asyncio.to_thread(self._thread.shutdown)
        self._db.close()


class _Open:
    """What an open store holds."""

    def __init__(self, path: Path, db: apsw.Connection, on_added: Callable[[set[str]], None]) -> None:
        self.near = connect_reader(path)
        """For the event loop's thread."""
        self.lists = _Reader(path, "lists")
        """For what clients ask for: their history may be long."""
        self.sweeps = _Reader(path, "sweeps")
        """For what calls wait for: deadlines and configuration. No client's list is in front of it."""
        self.writer = Writer(db, on_added)

    async def close(self) -> None:
        """Finish what was accepted; the writer's connection is the last to close and tidies up the files."""
        await self.lists.close()
        await self.sweeps.close()
        self.near.close()
        await self.writer.close()


class SqliteStore:
    """A `Store` in the SQLite database at `path`, which is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: _Open | None = None
        self._followers: list[tuple[frozenset[str], Callable[[], None]]] = []

    async def open(self) -> None:
        """Open and migrate. Raises `StoreError`."""
        if self._parts is None:
            db = await asyncio.to_thread(connect, self._path)
            self._parts = _Open(self._path, db, self._wake)

    async def close(self) -> None:
        """Finish what was accepted, then close."""
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.close()

    async def check(self) -> None:
        """Make one tiny durable write. Raises `StoreError` when that is not possible."""
        await self._write(sqlite_records.beat)

    # configuration objects

    async def put(self, record: Record) -> None:
        """Insert or replace by id. Raises `ConflictError` for a taken number (per environment)."""
        await self._write(lambda db: sqlite_records.put(db, record))

    async def get(self, kind: type[R], record_id: str, environment_id: str | None) -> R | None:
        """Return one record; another environment's is None. `environment_id` None reaches all."""
        return self._read(lambda db: sqlite_records.get(db, kind, record_id, environment_id))

    async def find(self, kind: type[R], environment_id: str | None) -> list[R]:
        """Return all records of a kind, newest first, ties by id."""
        return await self._look(lambda db: sqlite_records.find(db, kind, environment_id))

    async def delete(self, kind: type[R], record_id: str, environment_id: str | None) -> bool:
        """Delete one record; False when it is not there."""
        return await self._write(lambda db: sqlite_records.delete(db, kind, record_id, environment_id))

    async def key_by_hash(self, token_sha256: str) -> ApiKey | None:
        """Return the key that is not revoked, or None."""
        return self._read(lambda db: sqlite_records.key_by_hash(db, token_sha256))

    async def number_by_value(self, environment_id: str, number: str) -> Number | None:
        """Return the number record of an E.164 number."""
        return self._read(lambda db: sqlite_records.number_by_value(db, environment_id, number))

    # calls

    async def create_call(self, call: Call) -> None:
        """Insert a call with its `call.created` event. Raises `ConflictError` for a taken id."""
        await self._write(lambda db: sqlite_calls.create(db, call))

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

    async def dial(self, call_id: str, at: int, deadline_at: int) -> bool:
        """Move `scheduled` to `dialing` and set the deadline; False when the state no longer allows it."""
        return await self._write(lambda db: sqlite_calls.dial(db, call_id, at, deadline_at))

    async def save_snapshot(self, call_id: str, snapshot: bytes, *, before_invite: bool) -> bool:
        """Store the engine's snapshot. With `before_invite`, only before an answer or a stop; False otherwise."""
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

    async def delete_call(self, call_id: str, environment_id: str, at: int) -> bool:
        """Hide a call that is over from its environment; False when there is none, or it is live."""
        return await self._write(lambda db: sqlite_calls.delete(db, call_id, environment_id, at))

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

    # deliveries and the feed

    def follow(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after commits that added events or deliveries; returns what ends it."""
        return self._follow({"call_events", "deliveries"}, wake)

    def follow_deliveries(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after commits that added deliveries; returns what ends it."""
        return self._follow({"deliveries"}, wake)

    async def next_delivery_at(self) -> int | None:
        """Return the earliest `next_at` of what is due, None when nothing is."""
        return self._read(sqlite_outbox.next_at)

    async def claim(
        self, now: int, limit: int, cap: int, free: Mapping[str, int], finished: Sequence[Finished] = ()
    ) -> list[Claim]:
        """Record what is finished, then take what is due, at most `cap` or what `free` says for each endpoint."""
        return await self._write(
            lambda db: sqlite_calls.told(db, sqlite_outbox.claim(db, now, limit, cap, free, finished))
        )

    async def put_back(self, now: int) -> int:
        """Make every claimed delivery due again, at once; return how many."""
        return await self._write(lambda db: sqlite_outbox.put_back(db, now))

    async def redeliver(self, attempt_id: str, environment_id: str, now: int) -> Delivery | None:
        """Queue a new delivery of what an attempt was about."""
        return await self._write(lambda db: sqlite_outbox.redeliver(db, attempt_id, environment_id, now))

    async def replay(self, replay: Replay) -> int:
        """Queue new deliveries for events of the log, a stretch at a time; return how many."""
        endpoint = await self.get(WebhookEndpoint, replay.endpoint_id, replay.environment_id)
        if endpoint is None or not endpoint.enabled:
            return 0
        count = 0
        first, last = await self._scan(lambda db: sqlite_feed.span(db, replay))
        while first <= last:
            found, first = await self._scan(
                partial(sqlite_feed.replayed, replay=replay, endpoint=endpoint, first=first, last=last)
            )
            for some in range(0, len(found), sqlite_outbox.SWEEP):
                await self._write(partial(sqlite_outbox.add, deliveries=found[some : some + sqlite_outbox.SWEEP]))
            count += len(found)
        return count

    async def attempts(self, endpoint_id: str, environment_id: str, limit: int, offset: int = 0) -> list[Attempt]:
        """Return an endpoint's attempts, newest first."""
        return await self._scan(lambda db: sqlite_outbox.attempts(db, endpoint_id, environment_id, limit, offset))

    async def count_attempts(self, endpoint_id: str, environment_id: str) -> int:
        """Count an endpoint's attempts."""
        return await self._scan(lambda db: sqlite_outbox.count_attempts(db, endpoint_id, environment_id))

    async def get_attempt(self, attempt_id: str, environment_id: str) -> Attempt | None:
        """Return one attempt; another environment's is None."""
        return self._read(lambda db: sqlite_outbox.get_attempt(db, attempt_id, environment_id))

    async def record_attempt(self, attempt: Attempt) -> None:
        """Record an attempt that no delivery of the outbox was made for."""
        await self._write(lambda db: sqlite_outbox.record(db, attempt))

    async def purge_deliveries(self, before: int) -> int:
        """Delete some attempts, and deliveries that are through, from before a time; return how many."""
        return await self._write(lambda db: sqlite_outbox.purge(db, before))

    async def backlog(self) -> Backlog:
        """Return how much waits."""
        return await self._look(sqlite_outbox.backlog)

    async def end_of_log(self) -> int:
        """Return the place of the newest event in the log of all calls, 0 when there is none."""
        return self._read(sqlite_feed.end)

    async def events_after(self, environment_id: str, after: int, call_id: str | None = None, limit: int = 500) -> Feed:
        """Return events of an environment, or of one call in it, that come after a place in the log, in order."""
        return await self._scan(lambda db: sqlite_feed.after(db, environment_id, after, call_id, limit))

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

    # where work runs

    async def _write(self, work: Callable[[apsw.Connection], T], *, urgent: bool = False) -> T:
        """Run work in the writer thread; it is on disk when this returns."""
        return await self._opened().writer.submit(work, urgent=urgent)

    def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run the reading of one thing right here."""
        return _reading(work, self._opened().near)

    async def _scan(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run a longer read for a client."""
        return await self._opened().lists.read(work)

    async def _look(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run a longer read for the server itself."""
        return await self._opened().sweeps.read(work)

    def _follow(self, tables: set[str], wake: Callable[[], None]) -> Callable[[], None]:
        follower = (frozenset(tables), wake)
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    def _wake(self, added_to: set[str]) -> None:
        """Wake those who follow one of the tables that a commit added rows to."""
        for tables, wake in tuple(self._followers):
            if not tables.isdisjoint(added_to):
                wake()

    def _opened(self) -> _Open:
        if self._parts is None:
            raise StoreError("the store is not open")
        return self._parts


def _reading(work: Callable[[apsw.Connection], T], db: apsw.Connection) -> T:
    try:
        return work(db)
    except apsw.Error as error:
        raise StoreError(f"cannot read: {error}") from error
