"""Every way in which a call ends, in the webhooks of two dialects: one end each, the cause's own words, in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from retell import Retell
from tests.wire.node import NodeUnderTest, running_node
from tests.wire.test_table_of_ends import End, rows

from onhook.api.anunzi import payloads as anunzi
from onhook.api.talkover import payloads as talkover
from onhook.calls.call import CallDetails, Dialect
from onhook.control.place import PlaceOrder
from onhook.provision import DEFAULT_ENVIRONMENT
from onhook.store.outbox import WebhookEndpoint
from onhook.store.store import ApiKey

pytestmark = pytest.mark.wire

T1 = 0.1
SIGNING_TOKEN = "key_that_signs"
CONTEXT, METADATA = {"order": 7}, {"crm": "x"}
ARRIVED_WITHIN_S = 20
POLL_S = 0.05
SLOW = {"no_response", "ring_timeout"}
"""Ends that take many seconds; the table of ends waits for them."""


class Receiver:
    """Takes `{"event", ...}` bodies and keeps them by call."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: dict[str, list[dict[str, Any]]] = {"talkover": [], "anunzi": []}
        self.unsigned = 0

    async def take(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        text = (await request.read()).decode()
        if name == "anunzi":
            verify: Any = Retell(api_key=SIGNING_TOKEN).verify
            self.unsigned += not verify(text, SIGNING_TOKEN, request.headers["x-retell-signature"])
        self.bodies[name].append(await request.json())
        return web.Response()

    def told(self, name: str, call_id: str) -> list[dict[str, Any]]:
        return [one for one in self.bodies[name] if call_id in (one.get("call_id"), one.get("call", {}).get("call_id"))]


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/{name}", receiver.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield receiver
    finally:
        await runner.cleanup()


def one_row_for_each_way() -> list[End]:
    """Return the first row of each reason, moment of the stop, and side of the answer."""
    ways = {(row.reason, row.moment, row.outcome == "completed"): row for row in reversed(rows())}
    return [row for row in ways.values() if row.reason not in SLOW]


async def test_every_end_is_told_once_in_both_dialects(tmp_path: Path) -> None:
    async with receiving() as receiver, running_node(tmp_path, t1=T1) as under_test, asyncio.timeout(60):
        await subscribe(under_test, receiver)
        table = one_row_for_each_way()
        calls = [await _ended(under_test, row) for row in table]
        await under_test.all_ended()
        await all_delivered(under_test)
    assert receiver.unsigned == 0
    assert len(table) > 8
    for row, call_id in zip(table, calls, strict=True):
        _assert_told_in_talkovers_words(receiver.told("talkover", call_id), row)
        _assert_told_in_retells_words(receiver.told("anunzi", call_id), row)


async def all_delivered(under_test: NodeUnderTest) -> None:
    """Wait until no delivery is left. Raises `TimeoutError`."""
    for _ in range(round(ARRIVED_WITHIN_S / POLL_S)):
        if (await under_test.node.store.backlog()).oldest_at is None:
            return
        await asyncio.sleep(POLL_S)
    raise TimeoutError


async def subscribe(under_test: NodeUnderTest, receiver: Receiver) -> None:
    """Have both dialects' webhooks sent to a receiver."""
    node = under_test.node
    wants = {"talkover": talkover.wants(tuple(talkover.EVENTS)), "anunzi": anunzi.wants()}
    for name, wanted in wants.items():
        hook = WebhookEndpoint(
            name, DEFAULT_ENVIRONMENT, Dialect(name), name, f"{receiver.url}/{name}", 0, 0, wants=wanted
        )
        await node.store.put(hook)
    secret = node.secrets.encrypt(SIGNING_TOKEN)
    await node.store.put(ApiKey("key_signs", DEFAULT_ENVIRONMENT, "signs", "ab" * 32, "igns", 0, secret=secret))


async def _ended(under_test: NodeUnderTest, row: End) -> str:
    order = PlaceOrder(
        environment_id=DEFAULT_ENVIRONMENT,
        dialect=Dialect.NATIVE,
        to_number=f"+1202555{row.number.replace('..', '01')}",
        agent_id=under_test.sandbox.agent_id,
        max_duration_ms=2500 if row.reason == "max_duration" else 60_000,
        details=CallDetails(context=CONTEXT, metadata=METADATA),
    )
    call = await under_test.node.placer.place(order)
    if row.moment != "-":
        await under_test.watcher.reached(call.id, row.moment)
        stop = await under_test.client.post(f"/v1/calls/{call.id}/stop", json={"wait_ms": 0})
        assert stop.status_code == 200, stop.text
    await under_test.watcher.reached(call.id, "ended")
    return call.id


def _assert_told_in_talkovers_words(bodies: list[dict[str, Any]], row: End) -> None:
    names, end = [body["event"] for body in bodies], bodies[-1]
    answered = "event_phone_call_connected" in names
    assert names[0] == "event_phone_call_started"
    assert names.count("event_phone_call_ended") == 1
    assert end["event"] == "event_phone_call_ended"
    assert end["status"] == row.talkover
    assert (end["ended_reason"] == "ended_by_api") is (row.reason == "api_stop")
    assert ("event_phone_call_did_not_connect" in names) is not answered
    assert all(body["context"] == CONTEXT for body in bodies)
    assert [body["seq"] for body in bodies] == sorted(body["seq"] for body in bodies)


def _assert_told_in_retells_words(bodies: list[dict[str, Any]], row: End) -> None:
    names, end = [body["event"] for body in bodies], bodies[-1]["call"]
    started = ["call_started"] if row.outcome == "completed" else []
    assert names == [*started, "call_ended", "call_analyzed"]
    assert (end["call_status"], end["disconnection_reason"]) == (row.retell, row.retell_reason)
    assert (end["disconnection_reason"] == "manual_stopped") is (row.reason == "api_stop")
    assert all(body["call"]["metadata"] == METADATA for body in bodies)
    assert ("call_analysis" in bodies[-2]["call"], "call_analysis" in end) == (False, True)
