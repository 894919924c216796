"""The courier: takes what is due from the outbox and delivers it, at least once.

It is woken by the commits of its own process that add deliveries, and looks by itself at the earliest due moment
and every `POLL_S`. A receiver that is slow or dead holds its own few slots, never those of others: each endpoint has
a cap, and a breaker that leaves it alone for a while.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from onhook.calls.call import Call, Dialect, Event
from onhook.clock import Clock
from onhook.store.logs import log_of
from onhook.store.outbox import Claim, Delivery, DeliveryState, Finished, WebhookEndpoint
from onhook.store.secrets import SecretError
from onhook.store.store import Agent, Store, StoreError
from onhook.webhooks import retries
from onhook.webhooks.as_of import call_as_of
from onhook.webhooks.breaker import Breakers
from onhook.webhooks.requests import RequestMaker
from onhook.webhooks.retries import Tried
from onhook.webhooks.transport import NoAnswerError, Transport

logger = logging.getLogger(__name__)

POLL_S = 0.25
STORE_RETRY_S = 1.0
PURGE_S = 3600.0
PURGE_BATCH = 1000
KEEP_MS = 30 * 24 * 3600 * 1000
"""How long attempts and deliveries that are through are kept."""

Render = Callable[[Delivery, Call, Event, Agent | None, WebhookEndpoint, Sequence[Event]], bytes | None]
"""Returns a delivery's body, for the call as it was at the event; None when it does not apply to this call."""


class Renderer(NamedTuple):
    """What makes the bodies of a dialect. For the events named in `with_log` it is given the log up to the event."""

    render: Render
    with_log: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Limits:
    """How many deliveries are under way at once, in all and to one endpoint; `grace_s` is for those at the close."""

    total: int = 32
    per_endpoint: int = 8
    grace_s: float = 2.0


class Courier:
    """Delivers from `start` to `close`."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        requests: RequestMaker,
        renderers: Mapping[Dialect, Renderer],
        clock: Clock,
        limits: Limits = Limits(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._transport = transport
        self._requests = requests
        self._renderers = renderers
        self._clock = clock
        self._limits = limits
        self._chance = chance
        self._breakers = Breakers()
        self._under_way: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: list[Finished] = []
        self.results: Counter[DeliveryState] = Counter()
        """How often a delivery came to a state, for metrics; `DUE` is one that is tried again."""
        self._wake = asyncio.Event()
        self._purge_at = clock.monotonic()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take over what an earlier life left under way, then deliver. Raises `StoreError`."""
        left = await self._store.put_back(self._clock.now_ms())
        if left:
            logger.warning("%d deliveries of an earlier life are made again", left)
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(_stopped)

    @property
    def running(self) -> bool:
        """True from `start` to `close`, unless a bug has ended the loop."""
        return self._running is not None and not self._running.done()

    async def close(self) -> None:
        """Take nothing new, give what is under way `grace_s` seconds, and put the rest back."""
        if self._running is None:
            return
        self._running.cancel()
        await asyncio.wait({self._running})
        self._running = None
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self._limits.grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        now, finished = self._clock.now_ms(), tuple(self._finished)
        self._finished.clear()
        try:
            await self._store.claim(now, 0, 0, {}, finished)
            await self._store.put_back(now)
        except StoreError:
            logger.exception("deliveries under way are put back at the next start")

    async def try_once(self, endpoint: WebhookEndpoint, delivery_id: str, body: bytes) -> Tried:
        """Send one body to an endpoint, signed, and return what came of it. Nothing is recorded."""
        at, began = self._clock.now_ms(), self._clock.monotonic()
        try:
            request = await self._requests.make(endpoint, delivery_id, body)
            answer = await self._transport.send(request)
        except (NoAnswerError, SecretError) as error:
            return Tried(body, at, self._since(began), error=str(error))
        return Tried(body, at, self._since(began), answer.status, answer.headers, answer.text)

    # the loop

    async def _run(self) -> None:
        unfollow = self._store.follow_deliveries(self._wake.set)
        try:
            while True:
                self._wake.clear()
                await self._pause(await self._round())
        finally:
            unfollow()

    async def _round(self) -> float:
        """Start what can be started; return how long to sleep at most (seconds)."""
        try:
            await self._purge()
            return await self._exchange()
        except StoreError:
            logger.exception("the outbox is out of reach; trying again")
            return STORE_RETRY_S

    async def _pause(self, longest_s: float) -> None:
        timer = self._clock.call_later(longest_s, self._wake.set)
        await self._wake.wait()
        timer.cancel()

    async def _exchange(self) -> float:
        """Hand in what is finished, start what is due; return how long there is nothing to do (seconds)."""
        first, now = await self._store.next_delivery_at(), self._clock.now_ms()
        room, finished = self._limits.total - len(self._tasks), tuple(self._finished)
        if finished or (room > 0 and first is not None and first <= now):
            claims = await self._store.claim(now, room, self._limits.per_endpoint, self._free(), finished)
            del self._finished[: len(finished)]
            for claim in claims:
                self._start(claim)
        if first is None or first <= now:
            return POLL_S
        return min(POLL_S, (first - now) / 1000)

    def _free(self) -> dict[str, int]:
        """Return the room of each endpoint that has less than all of it."""
        now, cap = self._clock.monotonic(), self._limits.per_endpoint
        known = {*self._under_way, *self._breakers.known()}
        return {one: max(0, self._breakers.room(one, cap, now) - self._under_way[one]) for one in known}

    def _start(self, claim: Claim) -> None:
        self._under_way[claim.endpoint.id] += 1
        task = asyncio.create_task(self._deliver(claim), name=f"delivery {claim.delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(claim, done))

    def _ended(self, claim: Claim, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._under_way[claim.endpoint.id] -= 1
        if not self._under_way[claim.endpoint.id]:
            del self._under_way[claim.endpoint.id]
        if not task.cancelled() and task.exception() is not None:
            logger.error("delivery %s failed on our side", claim.delivery.id, exc_info=task.exception())
            now = self._clock.now_ms()
            tried = Tried(b"", now, 0, error="internal error")
            self._finish(retries.finished(claim, tried, now, self._chance))
        self._wake.set()

    def _finish(self, finished: Finished) -> None:
        self._finished.append(finished)
        self.results[finished.state] += 1

    # one delivery

    async def _deliver(self, claim: Claim) -> None:
        try:
            finished = await self._attempt(claim)
        except StoreError as error:
            logger.exception("delivery %s is put off", claim.delivery.id)
            soon = self._clock.now_ms() + round(STORE_RETRY_S * 1000)
            finished = Finished(claim.delivery.id, DeliveryState.DUE, soon, error=str(error))
        self._finish(finished)

    async def _attempt(self, claim: Claim) -> Finished:
        body = await self._body(claim)
        if body is None:
            error = "does not apply to this call"
            return Finished(claim.delivery.id, DeliveryState.SKIPPED, self._clock.now_ms(), error=error)
        tried = await self.try_once(claim.endpoint, claim.delivery.id, body)
        if tried.succeeded:
            self._breakers.succeeded(claim.endpoint.id)
        else:
            self._breakers.failed(claim.endpoint.id, self._clock.monotonic())
        return retries.finished(claim, tried, self._clock.now_ms(), self._chance)

    async def _body(self, claim: Claim) -> bytes | None:
        call, event = claim.call, claim.event
        if call is None or event is None:
            return None
        renderer = self._renderers[claim.endpoint.dialect]
        told = claim.delivery.event in renderer.with_log
        log = await log_of(self._store, call.id, last=event.seq) if told else ()
        return renderer.render(claim.delivery, call_as_of(call, event), event, claim.agent, claim.endpoint, log)

    async def _purge(self) -> None:
        """Delete what is too old, a batch at a time, once an hour."""
        if self._clock.monotonic() >= self._purge_at:
            purged = await self._store.purge_deliveries(self._clock.now_ms() - KEEP_MS)
            self._purge_at = self._clock.monotonic() + (PURGE_S if purged < PURGE_BATCH else POLL_S)

    def _since(self, began: float) -> int:
        return round((self._clock.monotonic() - began) * 1000)


def _stopped(loop: asyncio.Task[None]) -> None:
    if not loop.cancelled():
        logger.critical("no webhook is delivered any more, until the server is restarted", exc_info=loop.exception())
