"""The outbox and the feed of a `MemoryStore`."""

from collections.abc import Callable, Mapping, Sequence

from onhook.store.outbox import Attempt, Backlog, Claim, Delivery, Feed, Finished, Replay
from onhook.testing.base import MemoryBase


class MemoryDeliveries(MemoryBase):
    """Deliveries, attempts, and the log of all calls."""

    def follow(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after writes that added events or deliveries; returns what ends it."""
        self._outbox.followers.append(wake)
        return lambda: self._outbox.followers.remove(wake)

    def follow_deliveries(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after writes that added deliveries; returns what ends it."""
        self._outbox.couriers.append(wake)
        return lambda: self._outbox.couriers.remove(wake)

    async def next_delivery_at(self) -> int | None:
        """Return the earliest `next_at` of what is due, None when nothing is."""
        return self._outbox.next_at()

    async def claim(
        self, now: int, limit: int, cap: int, free: Mapping[str, int], finished: Sequence[Finished] = ()
    ) -> list[Claim]:
        """Record what is finished, then take what is due, at most `cap` or what `free` says for each endpoint."""
        await self._writable()
        for one in finished:
            self._outbox.finish(one)
        return self._outbox.claim(now, limit, cap, free)

    async def put_back(self, now: int) -> int:
        """Make every claimed delivery due again, at once; return how many."""
        await self._writable()
        return self._outbox.put_back(now)

    async def redeliver(self, attempt_id: str, environment_id: str, now: int) -> Delivery | None:
        """Queue a new delivery of what an attempt was about."""
        await self._writable()
        return self._outbox.redeliver(attempt_id, environment_id, now)

    async def replay(self, replay: Replay) -> int:
        """Queue new deliveries for events of the log; return how many."""
        await self._writable()
        return self._outbox.replay(replay)

    async def attempts(self, endpoint_id: str, environment_id: str, limit: int, offset: int = 0) -> list[Attempt]:
        """Return an endpoint's attempts, newest first."""
        return self._outbox.attempts(endpoint_id, environment_id)[offset : offset + limit]

    async def count_attempts(self, endpoint_id: str, environment_id: str) -> int:
        """Count an endpoint's attempts."""
        return len(self._outbox.attempts(endpoint_id, environment_id))

    async def get_attempt(self, attempt_id: str, environment_id: str) -> Attempt | None:
        """Return one attempt; another environment's is None."""
        return self._outbox.get_attempt(attempt_id, environment_id)

    async def record_attempt(self, attempt: Attempt) -> None:
        """Record an attempt that no delivery of the outbox was made for."""
        await self._writable()
        self._outbox.record(attempt)

    async def purge_deliveries(self, before: int) -> int:
        """Delete attempts, and deliveries that are through, from before a time; return how many."""
        await self._writable()
        return self._outbox.purge(before)

    async def backlog(self) -> Backlog:
        """Return how much waits."""
        return self._outbox.backlog()

    async def end_of_log(self) -> int:
        """Return the place of the newest event in the log of all calls, 0 when there is none."""
        return self._outbox.end_of_log()

    async def events_after(self, environment_id: str, after: int, call_id: str | None = None, limit: int = 500) -> Feed:
        """Return events of an environment, or of one call in it, that come after a place in the log, in order."""
        return self._outbox.events_after(environment_id, after, call_id, limit)
