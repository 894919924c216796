"""The port to the outbox: what is to be delivered, what was tried, and the event log as one feed.

A delivery is written in the same transaction as the event that it tells of, so an event that is durable is
on its way. Who delivers claims what is due, tries, and finishes with the attempt's record. What was claimed
when the process died is put back at the next start: every delivery is made at least once.

The first attempts of one endpoint and one call are made in the order of the call's events, each when the one
before is finished, whatever came of it. A retry waits for nobody and holds nobody back, except that an
endpoint with `hold_s` has later events of a call wait that long for an earlier one to be through.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

from onhook.calls.call import Call, Dialect, Event, EventType

if TYPE_CHECKING:
    from onhook.store.store import Agent

EndpointStatus = Literal["active", "disabled", "error"]
"""`disabled` goes with `enabled=False`; `error` means that the last delivery was given up."""


class WebhookEndpoint(msgspec.Struct, frozen=True):
    """Where the events of an environment's calls are sent.

    `agent_id` narrows it to one agent's calls. `events` are the names as subscribed; `wants` has, for each event
    of our log, the names to send for it, in order. Secrets are encrypted; the previous one signs too until
    `previous_secret_until` (ms). `payload_templates` replace the body of the events they name. `hold_s` is how
    long later events of a call wait for an earlier one.
    """

    id: str
    environment_id: str
    dialect: Dialect
    name: str
    url: str
    created_at: int
    updated_at: int
    agent_id: str | None = None
    events: tuple[str, ...] = ()
    wants: dict[EventType, tuple[str, ...]] = msgspec.field(default_factory=dict)
    secret: str | None = None
    previous_secret: str | None = None
    previous_secret_until: int | None = None
    timeout_s: float = 30.0
    max_retries: int = 3
    enabled: bool = True
    status: EndpointStatus = "active"
    http_method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    payload_templates: dict[str, Any] = msgspec.field(default_factory=dict)
    hold_s: int = 0


class DeliveryState(StrEnum):
    """Where a delivery is."""

    DUE = "due"
    """Waits for `next_at` and for its turn."""
    INFLIGHT = "inflight"
    """Claimed: an attempt is being made."""
    DONE = "done"
    """The receiver answered 2xx."""
    DEAD = "dead"
    """Given up after the last retry; can be replayed."""
    SKIPPED = "skipped"
    """Not applicable to its call, or its endpoint is gone or disabled."""


class Delivery(msgspec.Struct, frozen=True):
    """One event on its way to one endpoint under one name.

    `id` is the `webhook-id`, the same for every attempt. `number` grows in the order of the log. `attempt` counts
    the attempts made. `error` is what the last one met.
    """

    id: str
    endpoint_id: str
    environment_id: str
    call_id: str
    seq: int
    type: EventType
    event: str
    event_at: int
    created_at: int
    next_at: int
    state: DeliveryState = DeliveryState.DUE
    attempt: int = 0
    error: str | None = None
    number: int = 0


class Claim(NamedTuple):
    """A delivery to make now, where to, and what it tells of; a call or agent that is gone meanwhile is None."""

    delivery: Delivery
    endpoint: WebhookEndpoint
    call: Call | None = None
    event: Event | None = None
    agent: "Agent | None" = None


class Attempt(msgspec.Struct, frozen=True):
    """The record of one attempt, kept 30 days. `attempt` counts from 1; `created_at` is when it began (ms).

    `retrying` is a failure that will be tried again. Without an answer `http_status` is None and `error` says why.
    """

    id: str
    delivery_id: str
    endpoint_id: str
    environment_id: str
    call_id: str
    event: str
    attempt: int
    status: Literal["success", "failed", "retrying"]
    request_payload: str
    duration_ms: int
    created_at: int
    http_status: int | None = None
    response_body: str | None = None
    response_headers: dict[str, str] = msgspec.field(default_factory=dict)
    error: str | None = None


class Finished(msgspec.Struct, frozen=True):
    """What became of a claimed delivery: its new state, and the attempt if one was made.

    `endpoint_status` is a new status for the endpoint; `disabled` switches it off.
    """

    delivery_id: str
    state: DeliveryState
    next_at: int
    attempt: Attempt | None = None
    error: str | None = None
    endpoint_status: EndpointStatus | None = None


class Replay(msgspec.Struct, frozen=True):
    """Which events of the log to deliver again to one endpoint, as it is now.

    `since` is inclusive, `until` exclusive (ms, the events' own times). `call_id` narrows to one call, `events`
    to some of the names that the endpoint wants. `at` is now.
    """

    endpoint_id: str
    environment_id: str
    at: int
    since: int = 0
    until: int | None = None
    call_id: str | None = None
    events: tuple[str, ...] = ()


class Backlog(msgspec.Struct, frozen=True):
    """How much waits. `oldest_at` is when the oldest delivery that is not through was queued (ms)."""

    due: int = 0
    inflight: int = 0
    oldest_at: int | None = None


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event with its place in the log of all calls; `id` grows in commit order."""

    id: int
    event: Event


class Feed(msgspec.Struct, frozen=True):
    """A stretch of the log: the events wanted, and the place up to which the log was read."""

    events: tuple[LoggedEvent, ...]
    position: int


class Outbox(Protocol):
    """Deliveries, attempts, and the feed. Errors are `StoreError`, as for every store."""

    def follow(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called in the event loop after commits that added events or deliveries.

        Returns a function that ends it. It is a hint, which may be lost: whoever follows also looks by himself.
        """
        ...

    def follow_deliveries(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Do the same after commits that added deliveries, and no others."""
        ...

    async def next_delivery_at(self) -> int | None:
        """Return the earliest `next_at` of what is due (ms, may be past), None when nothing is. Fast."""
        ...

    async def claim(
        self, now: int, limit: int, cap: int, free: Mapping[str, int], finished: Sequence[Finished] = ()
    ) -> list[Claim]:
        """Take at most `limit` deliveries that are due, oldest endpoint first; nobody else gets them.

        An endpoint gives at most `cap`, or what `free` says for it. Deliveries to an endpoint that is gone or
        disabled become `skipped`. Before all that, and in the same transaction, records what became of the
        deliveries in `finished`: their attempts and their endpoints' status.
        """
        ...

    async def put_back(self, now: int) -> int:
        """Make every claimed delivery due again, at once; return how many. For the start and the end of a life."""
        ...

    async def redeliver(self, attempt_id: str, environment_id: str, now: int) -> Delivery | None:
        """Queue a new delivery of what an attempt was about; None when it, or its endpoint, is not there or off."""
        ...

    async def replay(self, replay: Replay) -> int:
        """Queue new deliveries for events of the log; return how many. 0 for an endpoint that is not there or off."""
        ...

    async def attempts(self, endpoint_id: str, environment_id: str, limit: int, offset: int = 0) -> list[Attempt]:
        """Return an endpoint's attempts, newest first."""
        ...

    async def count_attempts(self, endpoint_id: str, environment_id: str) -> int:
        """Count an endpoint's attempts."""
        ...

    async def get_attempt(self, attempt_id: str, environment_id: str) -> Attempt | None:
        """Return one attempt; another environment's is None."""
        ...

    async def record_attempt(self, attempt: Attempt) -> None:
        """Record an attempt that no delivery of the outbox was made for: the test of an endpoint."""
        ...

    async def purge_deliveries(self, before: int) -> int:
        """Delete some attempts, and deliveries that are through, from before a time (ms); return how many."""
        ...

    async def backlog(self) -> Backlog:
        """Return how much waits."""
        ...

    async def end_of_log(self) -> int:
        """Return the place of the newest event in the log of all calls, 0 when there is none."""
        ...

    async def events_after(self, environment_id: str, after: int, call_id: str | None = None, limit: int = 500) -> Feed:
        """Return events of an environment, or of one call in it, that come after a place in the log, in order.

        Reads a bounded stretch: go on from the `position` returned until it no longer moves.
        """
        ...


def attempt_id(delivery_id: str, attempt: int) -> str:
    """Return the id of a delivery's attempt (counted from 1), which is known before the attempt is made."""
    return f"{delivery_id}-{attempt}"
