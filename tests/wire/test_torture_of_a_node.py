"""Races harvested from public bugs of call servers, on a whole node: T12 to T15.

T16, the farewell that is talked over, never echoed, cut or the last thing to happen, is in
`tests/chaos/agents/test_end_in_any_agent_state.py`; T17, the storm of stops, in `tests/chaos/test_storms.py`.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from tests.wire.node import NodeUnderTest, running_node
from tests.wire.peers.raw_uas import OK, RawUas
from tests.wire.test_table_of_stops import Speakers

from onhook.api.native.payloads import wants
from onhook.calls.call import Dialect, EventType
from onhook.calls.states import State
from onhook.provision import DEFAULT_ENVIRONMENT
from onhook.store.outbox import WebhookEndpoint
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Number, TrunkRecord

pytestmark = pytest.mark.wire

ANSWERS, RINGS, BUSY, SLOW, CROSSES = (f"+120255501{digits}" for digits in ("00", "01", "02", "07", "08"))
LIMIT_S = 20.0


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    async with running_node(tmp_path, t1=0.1) as under_test:
        yield under_test


async def call(node: NodeUnderTest, to: str, **more: object) -> str:
    order = {"to_number": to, "agent_id": node.sandbox.agent_id} | more
    placed = await node.client.post("/v1/calls", json=order)
    assert placed.status_code == 201, placed.text
    call_id: str = placed.json()["call_id"]
    return call_id


@pytest.mark.parametrize("to", [RINGS, SLOW, CROSSES])
@pytest.mark.parametrize("api", ["native", "talkover", "retell"])
async def test_t12_a_stop_right_after_the_create_is_taken_and_ends_the_call(
    node: NodeUnderTest, api: str, to: str
) -> None:
    call_id = await call(node, to)
    match api:
        case "native":
            answer = await node.client.post(f"/v1/calls/{call_id}/stop", json={})
        case "talkover":
            path = f"/api/v1/agents/{node.sandbox.agent_id}/end-call"
            answer = await node.client.post(path, json={"call_sid": call_id})
        case _:
            answer = await node.client.post(f"/v2/stop-call/{call_id}")
    assert answer.status_code == (204 if api == "retell" else 200), answer.text
    await node.all_ended()
    ended = await node.get(f"/v1/calls/{call_id}")
    assert (ended["state"], ended["outcome"], ended["proof_result"]) == ("ended", "canceled", "confirmed")
    assert node.carrier.live_dialogs() == 0
    assert [fault for one in node.carrier.calls for fault in one.faults] == []


async def test_t13_a_far_end_whose_audio_stays_away_and_who_never_hangs_up_is_let_go(tmp_path: Path) -> None:
    async with running_node(tmp_path, own_trunks=True) as node, asyncio.timeout(LIMIT_S):
        node.node.agents = Speakers()
        with contextlib.closing(RawUas({"BYE": [OK]})) as far:
            uri, number = f"sip:127.0.0.1:{far.port};transport=udp", "+12025560001"
            await node.node.store.put(TrunkRecord("trunk", DEFAULT_ENVIRONMENT, "trunk", uri, 0))
            await node.node.store.put(Number("number", DEFAULT_ENVIRONMENT, number, "trunk", 0))
            settings = {"media_timeout_ms": 1000, "initial_message": "Hello."}
            body = {"name": "Ann", "kind": "scripted", "settings": settings, "published": True}
            agent = (await node.client.post("/v1/agents", json=body)).json()
            call_id = await call(node, "+12025550123", agent_id=agent["id"], from_number=number)
            await node.watcher.reached(call_id, "ended")
            over = await node.get(f"/v1/calls/{call_id}")
            assert (over["outcome"], over["cause"]["reason"]) == ("completed", "no_inbound_audio")
            assert over["proof_result"] == "confirmed"
            assert len(far.log.requests("BYE")) == 1


async def test_t14_nothing_is_told_of_a_call_before_it_can_be_asked_for(node: NodeUnderTest) -> None:
    asked: list[tuple[str, int]] = []
    all_told = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        told: dict[str, Any] = await request.json()
        answer = await node.client.get(f"/v1/calls/{told['call_id']}")
        asked.append((told["type"], answer.status_code))
        if Counter(kind for kind, _ in asked)[EventType.ENDED] == 5:
            all_told.set()
        return web.Response()

    async with receiver(take) as url:
        hook = WebhookEndpoint("hook", DEFAULT_ENVIRONMENT, Dialect.NATIVE, "hook", url, 0, 0, wants=wants())
        await node.node.store.put(hook)
        await asyncio.gather(*(call(node, BUSY) for _ in range(5)))
        async with asyncio.timeout(LIMIT_S):
            await all_told.wait()
    assert {status for _, status in asked} == {200}
    assert Counter(kind for kind, _ in asked)[EventType.CREATED] == 5


async def test_t15_a_node_that_leaves_dials_nothing_more_ends_what_lives_and_writes_that_last(tmp_path: Path) -> None:
    async with running_node(tmp_path, t1=0.1) as node:
        ids = [await call(node, to) for to in (ANSWERS, RINGS, SLOW)]
        later = await call(node, ANSWERS, delay_seconds=1)
        await node.watcher.reached(ids[0], "answered")
        await node.watcher.reached(ids[1], "ringing")
        await node.watcher.reached(ids[2], "dialing")
    assert node.carrier.live_dialogs() == 0
    assert len(node.carrier.calls) == len(ids)
    store = SqliteStore(tmp_path / "onhook.db")
    await store.open()
    try:
        for call_id in ids:
            last = (await store.events(call_id))[-1]
            assert last.type is EventType.ENDED
            written = await store.get_call(call_id, None)
            assert written is not None
            assert written.cause is not None
            assert (written.state, written.cause.reason) == (State.ENDED, "shutdown")
        waiting = await store.get_call(later, None)
        assert waiting is not None
        assert waiting.state is State.SCHEDULED
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def receiver(take: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Run a receiver of webhooks; yield its address."""
    application = web.Application()
    application.router.add_post("/", take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}/".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()
