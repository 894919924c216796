"""A webhook receiver for the demo: checks the signature of each delivery, as every receiver should."""

import asyncio
import hmac
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
from aiohttp import web

from onhook.webhooks.signatures import body_signature, retell_signature

TALKOVER_HEADER = "X-TalkOver-Signature"
RETELL_HEADER = "x-retell-signature"
TOLERANCE_MS = 300_000
"""How old a signature with a time may be: an older one may be a recorded delivery sent again."""

EVENT_WIDTH = 26

Check = Callable[[Mapping[str, str], bytes], bool]
"""Says whether headers and body are signed by who knows the secret."""


class Delivered(NamedTuple):
    """One delivery: its event, its call, whether its signature was good, and the status it was answered with."""

    event: str
    call_id: str
    signed: bool
    status: int

    def __str__(self) -> str:
        """Return one line for people, in the columns of a call's timeline."""
        signature = "ok" if self.signed else "WRONG"
        return f"   webhook  {self.event:{EVENT_WIDTH}}  signature {signature}  {self.status}"


class _Body(msgspec.Struct):
    """What both dialects' bodies say of their event: TalkOver's has the call's id at the top, Retell's inside."""

    event: str
    call_id: str = ""
    call: dict[str, object] = {}


class Receiver:
    """Takes deliveries at the URLs that `expect` returns."""

    def __init__(self) -> None:
        self.url = ""
        self._checks: dict[str, Check] = {}
        self._arrived: asyncio.Queue[Delivered] = asyncio.Queue()

    def expect(self, name: str, check: Check) -> str:
        """Return a URL for a sender whose signatures `check` knows."""
        self._checks[name] = check
        return f"{self.url}/{name}"

    async def next(self) -> Delivered:
        """Return the next delivery, in the order of arrival."""
        return await self._arrived.get()

    async def until(self, call_id: str, event: str) -> list[Delivered]:
        """Return what arrives up to an event of a call."""
        arrived = [await self.next()]
        while (arrived[-1].call_id, arrived[-1].event) != (call_id, event):
            arrived.append(await self.next())
        return arrived

    async def take(self, request: web.Request) -> web.Response:
        """Answer one delivery: 200 if it is signed, else 401."""
        check, body = self._checks.get(request.match_info["name"]), await request.read()
        if check is None:
            return web.Response(status=404)
        signed = check(request.headers, body)
        status = 200 if signed else 401
        try:
            told = msgspec.json.decode(body, type=_Body)
        except msgspec.DecodeError:
            return web.Response(status=400)
        call_id = told.call_id or str(told.call.get("call_id", ""))
        self._arrived.put_nowait(Delivered(told.event, call_id, signed, status))
        return web.Response(status=status)


def talkover_check(secret: str) -> Check:
    """Return the check of TalkOver's deliveries: the HMAC-SHA256 of the body, in hexadecimal."""
    return lambda headers, body: _same(headers.get(TALKOVER_HEADER, ""), body_signature(secret, body))


def retell_check(api_key: str) -> Check:
    """Return the check of Retell's deliveries: `v=<ms>,d=<hex>`, not older than five minutes."""

    def check(headers: Mapping[str, str], body: bytes) -> bool:
        given = headers.get(RETELL_HEADER, "")
        found = re.match(r"v=([0-9]{1,15}),", given)
        if found is None:
            return False
        at = int(found[1])
        return abs(time.time() * 1000 - at) <= TOLERANCE_MS and _same(given, retell_signature(api_key, at, body))

    return check


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """Run a receiver on a free port of loopback until the block is left."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/{name}", receiver.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{port}"
        yield receiver
    finally:
        await runner.cleanup()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
