"""A stop while a real agent process is on the call: the BYE does not wait for it, and nothing of it stays."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.wire.node import NodeUnderTest, running_node

from onhook.calls.call import EventType

pytestmark = pytest.mark.wire

SILENT_FAR_END = "+12025550127"
LIMIT_S = 30.0


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    async with running_node(tmp_path) as under_test:
        agents = await under_test.node.open_agents()
        await until(lambda: agents.components().get("agent_processes") == "ok")
        yield under_test


async def until(condition: Any) -> None:
    """Look every 10 ms whether something in another process has happened, for a bounded time."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 (what happens in another process sets no event here)
            await asyncio.sleep(0.01)


async def call_by_a_scripted_agent(node: NodeUnderTest) -> str:
    settings = {"initial_message": "This is a long greeting, which nobody is going to hear to its end. " * 3}
    body = {"name": "Ann", "kind": "scripted", "settings": settings, "published": True}
    agent = (await node.client.post("/v1/agents", json=body)).json()
    (number,) = (await node.get("/v1/numbers"))["items"]
    order = {"to_number": SILENT_FAR_END, "agent_id": agent["id"], "from_number": number["number"]}
    response = await node.client.post("/v1/calls", json=order)
    assert response.status_code == 201, response.text
    call_id: str = response.json()["call_id"]
    await node.watcher.reached(call_id, "answered")
    return call_id


async def events(node: NodeUnderTest, call_id: str) -> list[EventType]:
    await node.node.recorder.drained()
    return [event.type for event in await node.node.store.events(call_id)]


async def stopped(node: NodeUnderTest, call_id: str) -> int:
    """Stop a call; return how long after the stop its BYE left, in ms."""
    assert (await node.client.post(f"/v1/calls/{call_id}/stop", json={})).status_code == 200
    await node.all_ended()
    call = await node.node.store.get_call(call_id, None)
    assert call is not None
    assert call.proof is not None
    assert call.ended_at is not None
    assert call.proof.bye_sent_at is not None
    return call.proof.bye_sent_at - call.ended_at


async def test_a_stop_does_not_wait_for_the_agent_and_leaves_nothing_of_it(node: NodeUnderTest) -> None:
    tasks = len(asyncio.all_tasks())
    starting = await call_by_a_scripted_agent(node)
    assert await stopped(node, starting) < 100

    speaking = await call_by_a_scripted_agent(node)
    engine = node.node.engine
    await until(lambda: engine.queued_ms(speaking) > 0)
    for _ in range(500):  # An agent may speak before it says that it has started.
        if EventType.AGENT_STARTED in await events(node, speaking):
            break
        await asyncio.sleep(0.02)
    assert await stopped(node, speaking) < 100

    assert (await events(node, speaking))[-3:] == [
        EventType.CONVERSATION_ENDED,
        EventType.AUDIO,
        EventType.ENDED,
    ]
    assert EventType.AGENT_STARTED in await events(node, speaking)
    pool = node.node.pool
    assert pool is not None
    await until(lambda: not any(process.calls for process in pool._processes()))
    assert (pool.counters.leaks, pool.counters.killed, node.node.conversations.live) == (0, 0, 0)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
