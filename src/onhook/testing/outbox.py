"""The outbox of the `MemoryStore`: every rule of the real ones, on a list."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from onhook.calls.call import Call, Event
from onhook.store import rules
from onhook.store.outbox import (
    Attempt,
    Backlog,
    Claim,
    Delivery,
    DeliveryState,
    Feed,
    Finished,
    LoggedEvent,
    Replay,
    WebhookEndpoint,
)
from onhook.store.store import Agent

UNFINISHED = (DeliveryState.DUE, DeliveryState.INFLIGHT)


class MemoryOutbox:
    """Deliveries, attempts and the log of all calls; `endpoints` and `calls` look up what the store holds."""

    def __init__(
        self,
        endpoints: Callable[[], dict[str, WebhookEndpoint]],
        call: Callable[[str], Call | None],
        put: Callable[[WebhookEndpoint], None],
        agent: Callable[[str], Agent | None],
    ) -> None:
        self._endpoints = endpoints
        self._call = call
        self._put = put
        self._agent = agent
        self._deliveries: dict[int, Delivery] = {}
        self._attempts: list[Attempt] = []
        self._log: list[LoggedEvent] = []
        self._count = 0
        self.followers: list[Callable[[], None]] = []
        """Woken by events and deliveries."""
        self.couriers: list[Callable[[], None]] = []
        """Woken by deliveries."""

    def log(self, call: Call, event: Event) -> None:
        """Add an event with its deliveries, and wake those who follow."""
        self._log.append(LoggedEvent(len(self._log) + 1, event))
        endpoints = self._endpoints().values()
        theirs = [one for one in endpoints if one.environment_id == call.environment_id]
        self.add(rules.queued(call.agent_id, event, sorted(theirs, key=lambda one: (-one.created_at, one.id))))

    def add(self, deliveries: list[Delivery]) -> None:
        """Queue deliveries, in order, and wake those who follow."""
        for delivery in deliveries:
            self._count += 1
            self._deliveries[self._count] = msgspec.structs.replace(delivery, number=self._count)
        for wake in (*self.followers, *(self.couriers if deliveries else ())):
            wake()

    def next_at(self) -> int | None:
        """Return the earliest `next_at` of what is due."""
        return min((one.next_at for one in self._in(DeliveryState.DUE)), default=None)

    def claim(self, now: int, limit: int, cap: int, free: Mapping[str, int]) -> list[Claim]:
        """Take what is due; see the port."""
        firsts: dict[str, int] = {}
        for one in self._in(DeliveryState.DUE):
            if one.next_at <= now:
                firsts[one.endpoint_id] = min(one.next_at, firsts.get(one.endpoint_id, one.next_at))
        claims: list[Claim] = []
        for endpoint_id in sorted(firsts, key=lambda each: firsts[each]):
            endpoint = self._endpoints().get(endpoint_id)
            if endpoint is None or not endpoint.enabled:
                self._skip(endpoint_id)
                continue
            room = min(limit - len(claims), free.get(endpoint_id, cap))
            claims += [self._take(one, endpoint) for one in self._ready(endpoint, now)[: max(0, room)]]
        return claims

    def finish(self, finished: Finished) -> None:
        """Record what became of a claimed delivery."""
        claimed = [one for one in self._in(DeliveryState.INFLIGHT) if one.id == finished.delivery_id]
        for delivery in claimed:
            self._deliveries[delivery.number] = rules.attempted(delivery, finished)
            if finished.attempt is not None:
                self.record(finished.attempt)
            endpoint = self._endpoints().get(delivery.endpoint_id)
            changed = rules.restated(endpoint, finished) if endpoint is not None else None
            if changed is not None:
                self._put(changed)

    def record(self, attempt: Attempt) -> None:
        """Keep an attempt."""
        self._attempts.append(attempt)

    def put_back(self, now: int) -> int:
        """Make every claimed delivery due again."""
        claimed = list(self._in(DeliveryState.INFLIGHT))
        for one in claimed:
            self._deliveries[one.number] = msgspec.structs.replace(one, state=DeliveryState.DUE, next_at=now)
        return len(claimed)

    def redeliver(self, attempt_id: str, environment_id: str, now: int) -> Delivery | None:
        """Queue a new delivery of what an attempt was about."""
        attempt = self.get_attempt(attempt_id, environment_id)
        if attempt is None:
            return None
        endpoint = self._endpoints().get(attempt.endpoint_id)
        of = next((one for one in self._deliveries.values() if one.id == attempt.delivery_id), None)
        if of is None or endpoint is None or endpoint.environment_id != environment_id or not endpoint.enabled:
            return None
        delivery = rules.redelivered(of, now)
        self.add([delivery])
        return delivery

    def replay(self, replay: Replay) -> int:
        """Queue new deliveries for events of the log."""
        endpoint = self._endpoints().get(replay.endpoint_id)
        if endpoint is None or endpoint.environment_id != replay.environment_id:
            return 0
        until = replay.at + 1 if replay.until is None else replay.until
        found = [
            delivery
            for event in (logged.event for logged in self._log)
            if replay.since <= event.at < until
            and replay.call_id in (None, event.call_id)
            and self._seen(event, replay.environment_id, endpoint.agent_id)
            for delivery in rules.wanted(endpoint, event, replay.at, replay.events)
        ]
        self.add(found)
        return len(found)

    def attempts(self, endpoint_id: str, environment_id: str) -> list[Attempt]:
        """Return an endpoint's attempts, newest first."""
        mine = [one for one in self._attempts if (one.endpoint_id, one.environment_id) == (endpoint_id, environment_id)]
        return mine[::-1]

    def get_attempt(self, attempt_id: str, environment_id: str) -> Attempt | None:
        """Return one attempt of an environment."""
        found = (one for one in self._attempts if (one.id, one.environment_id) == (attempt_id, environment_id))
        return next(found, None)

    def purge(self, before: int) -> int:
        """Delete what is old and through."""
        size = len(self._attempts) + len(self._deliveries)
        self._attempts = [one for one in self._attempts if one.created_at >= before]
        kept = {n: one for n, one in self._deliveries.items() if one.created_at >= before or one.state in UNFINISHED}
        self._deliveries = kept
        return size - len(self._attempts) - len(self._deliveries)

    def backlog(self) -> Backlog:
        """Return how much waits."""
        waiting = list(self._in(*UNFINISHED))
        inflight = sum(one.state is DeliveryState.INFLIGHT for one in waiting)
        oldest = min((one.created_at for one in waiting), default=None)
        return Backlog(len(waiting) - inflight, inflight, oldest)

    def end_of_log(self) -> int:
        """Return the place of the newest event."""
        return len(self._log)

    def events_after(self, environment_id: str, after: int, call_id: str | None, limit: int) -> Feed:
        """Return a stretch of the log."""
        wanted = [
            logged
            for logged in self._log[after:]
            if self._seen(logged.event, environment_id, None) and call_id in (None, logged.event.call_id)
        ][:limit]
        whole = call_id is None and len(wanted) < limit
        position = len(self._log) if whole else (wanted[-1].id if wanted else after)
        return Feed(tuple(wanted), max(after, position))

    def waiting(self) -> set[str]:
        """Return the ids of the calls that something is still to be delivered of."""
        return {one.call_id for one in self._in(*UNFINISHED)}

    def _seen(self, event: Event, environment_id: str, agent_id: str | None) -> bool:
        """Say whether an event is of an environment's, and an agent's, call that is not deleted."""
        call = self._call(event.call_id)
        return call is not None and rules.visible(call, environment_id) and agent_id in (None, call.agent_id)

    def _in(self, *states: DeliveryState) -> Iterator[Delivery]:
        return (one for one in tuple(self._deliveries.values()) if one.state in states)

    def _ready(self, endpoint: WebhookEndpoint, now: int) -> list[Delivery]:
        unfinished = [one for one in self._in(*UNFINISHED) if one.endpoint_id == endpoint.id]
        ready = []
        for mine in unfinished:
            before = [one for one in unfinished if one.call_id == mine.call_id and one.number < mine.number]
            held = bool(before) and mine.created_at + endpoint.hold_s * 1000 > now
            waits = mine.attempt == 0 and (held or any(one.attempt == 0 for one in before))
            if mine.state is DeliveryState.DUE and mine.next_at <= now and not waits:
                ready.append(mine)
        return sorted(ready, key=lambda one: (one.next_at, one.number))

    def _take(self, delivery: Delivery, endpoint: WebhookEndpoint) -> Claim:
        taken = msgspec.structs.replace(delivery, state=DeliveryState.INFLIGHT)
        self._deliveries[delivery.number] = taken
        call = self._call(taken.call_id)
        events = (one.event for one in self._log if (one.event.call_id, one.event.seq) == (taken.call_id, taken.seq))
        event = next(events, None)
        if call is None or event is None:
            return Claim(taken, endpoint)
        return Claim(taken, endpoint, call, event, self._agent(call.agent_id))

    def _skip(self, endpoint_id: str) -> None:
        for one in self._in(DeliveryState.DUE):
            if one.endpoint_id == endpoint_id:
                error = "the endpoint is disabled or deleted"
                self._deliveries[one.number] = msgspec.structs.replace(one, state=DeliveryState.SKIPPED, error=error)
