"""A courier on a clock that stands still, with a transport that answers as told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from onhook.calls.call import Call, Dialect, Event, EventType
from onhook.calls.states import State
from onhook.store.outbox import Attempt, Delivery, WebhookEndpoint
from onhook.store.store import Agent, Progress
from onhook.testing.calls import sample_call
from onhook.testing.clock import ManualClock
from onhook.testing.store import MemoryStore
from onhook.webhooks.courier import Courier, Limits, Renderer
from onhook.webhooks.requests import RequestMaker
from onhook.webhooks.transport import Answer, NoAnswerError, Request

Script = Callable[[Request], Answer | None]
"""What a receiver answers; None for no answer at all."""

AT_ONCE = Limits(grace_s=0)

TURNS = 30
"""How often the event loop runs until all that can happen at this moment has."""


def ok(_: Request) -> Answer:
    return Answer(200, {}, "")


def status(code: int, **headers: str) -> Script:
    return lambda _: Answer(code, {name.replace("_", "-"): value for name, value in headers.items()}, "")


class ScriptedTransport:
    """Records what is sent. Requests to a URL in `hanging` wait for `release`."""

    def __init__(self) -> None:
        self.script: Script = ok
        self.sent: list[Request] = []
        self.hanging: set[str] = set()
        self.release = asyncio.Event()

    async def send(self, request: Request) -> Answer:
        self.sent.append(request)
        if request.url in self.hanging:
            await self.release.wait()
        answer = self.script(request)
        if answer is None:
            raise NoAnswerError("Connection timeout")
        return answer

    def bodies(self, url: str | None = None) -> list[str]:
        return [request.body.decode() for request in self.sent if url in (None, request.url)]


def tell(
    delivery: Delivery,
    call: Call,
    event: Event,
    agent: Agent | None,
    endpoint: WebhookEndpoint,
    log: Sequence[Event],
) -> bytes | None:
    """Render a delivery as its name and seq; `ringing` does not apply."""
    del call, event, agent, endpoint, log
    return None if delivery.event == "ringing" else f"{delivery.event} {delivery.seq}".encode()


class Bench:
    """A courier and all that it works with."""

    def __init__(self, limits: Limits, chance: float) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.transport = ScriptedTransport()
        requests = RequestMaker(self.store, lambda text: text, self.clock, "X-TalkOver-Signature")
        renderers = dict.fromkeys(Dialect, Renderer(tell))
        self.courier = Courier(
            self.store, self.transport, requests, renderers, self.clock, limits, chance=lambda: chance
        )

    async def endpoint(self, **changes: Any) -> WebhookEndpoint:
        wants: dict[EventType, tuple[str, ...]] = {kind: (kind.value.removeprefix("call."),) for kind in EventType}
        endpoint = WebhookEndpoint(
            id="hook_1",
            environment_id="env_1",
            dialect=Dialect.NATIVE,
            name="hook",
            url=f"https://{changes.get('id', 'hook_1')}.example",
            created_at=0,
            updated_at=0,
            wants=wants,
            max_retries=7,
        )
        endpoint = msgspec.structs.replace(endpoint, **changes)
        await self.store.put(endpoint)
        return endpoint

    async def current(self, endpoint_id: str = "hook_1") -> WebhookEndpoint:
        endpoint = await self.store.get(WebhookEndpoint, endpoint_id, None)
        assert endpoint is not None
        return endpoint

    async def call(self, **changes: Any) -> Call:
        call = sample_call(created_at=self.clock.now_ms(), **changes)
        await self.store.create_call(call)
        await self.settle()
        return call

    async def answer(self, call: Call) -> None:
        at = self.clock.now_ms()
        answered = EventType.ANSWERED
        await self.store.record_progress(Progress(call.id, at, answered, to=State.ANSWERED, fields={"answered_at": at}))
        await self.settle()

    async def attempts(self, endpoint_id: str = "hook_1") -> list[Attempt]:
        return (await self.store.attempts(endpoint_id, "env_1", 1000))[::-1]

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()


@asynccontextmanager
async def running_courier(limits: Limits = AT_ONCE, chance: float = 0.5) -> AsyncIterator[Bench]:
    bench = Bench(limits, chance)
    await bench.courier.start()
    try:
        yield bench
    finally:
        await bench.courier.close()
