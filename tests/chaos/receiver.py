"""Three webhook receivers in one: one is well, one fails every tenth attempt, one never answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from onhook.webhooks.signatures import new_webhook_secret

HEALTHY, FLAKY, HANGING = "healthy", "flaky", "hanging"
FAILS_EVERY = 10


class Received(msgspec.Struct, frozen=True):
    """What a body says of its event."""

    call_id: str
    seq: int
    type: str


class Receiver:
    """Remembers what arrived, in order, and which events it answered with 200."""

    def __init__(self) -> None:
        self.url = ""
        self.secret = new_webhook_secret()
        self.arrived: dict[str, list[Received]] = {HEALTHY: [], FLAKY: [], HANGING: []}
        self.accepted: dict[str, Counter[tuple[str, int]]] = {HEALTHY: Counter(), FLAKY: Counter()}
        self._refused: set[str] = set()
        self._closing = asyncio.Event()

    def firsts(self, name: str) -> dict[str, list[int]]:
        """Return the seqs of each call in the order in which each came for the first time."""
        order: dict[str, list[int]] = {}
        for one in self.arrived[name]:
            seqs = order.setdefault(one.call_id, [])
            if one.seq not in seqs:
                seqs.append(one.seq)
        return order

    async def take(self, request: web.Request) -> web.Response:
        """Answer one attempt."""
        name, body, delivery = request.match_info["name"], await request.read(), request.headers["webhook-id"]
        Webhook(self.secret).verify(body, dict(request.headers))
        told = msgspec.json.decode(body, type=Received)
        self.arrived[name].append(told)
        if name == HANGING:
            await self._closing.wait()
        if name == FLAKY and len(self.arrived[name]) % FAILS_EVERY == 0 and delivery not in self._refused:
            self._refused.add(delivery)
            return web.Response(status=500)
        self.accepted[name][told.call_id, told.seq] += 1
        return web.Response()

    def close(self) -> None:
        """Let go of what hangs."""
        self._closing.set()


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """Run a receiver at `url`/NAME until the block is left."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/{name}", receiver.take)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}"
    try:
        yield receiver
    finally:
        receiver.close()
        await runner.cleanup()
