"""The outbox and the feed of a SQLite store."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from onhook.store import sqlite_calls, sqlite_feed, sqlite_outbox, sqlite_records
from onhook.store.outbox import Attempt, Backlog, Claim, Delivery, Feed, Finished, Replay, WebhookEndpoint
from onhook.store.sqlite_base import SqliteBase


class SqliteDeliveries(SqliteBase):
    """Deliveries, attempts, and the log of all calls."""

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
        where = WebhookEndpoint, replay.endpoint_id, replay.environment_id
        endpoint = self._read(lambda db: sqlite_records.get(db, *where))
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
