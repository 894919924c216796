"""A graceful stop with a real agent process on a real call: what is said is heard, and time is kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.wire.node import NodeUnderTest, running_node

pytestmark = pytest.mark.wire

SILENT_FAR_END = "+12025550127"
LIMIT_S = 30.0
LATE_MS = 150
"""How much later than its deadline a call may end on a busy machine; a sweep alone could be 500 ms late."""
LONG = "I have so much to tell you that nobody is going to hear the end of it. " * 5


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    async with running_node(tmp_path) as under_test:
        agents = await under_test.node.open_agents()
        await until(lambda: agents.components().get("agent_processes") == "ok")
        yield under_test


async def until(condition: Callable[[], object]) -> None:
    """Look every 10 ms whether something in another process has happened, for a bounded time."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 (what happens in another process sets no event here)
            await asyncio.sleep(0.01)


async def greeted(node: NodeUnderTest, **more: object) -> str:
    """Return a call whose agent has said its greeting, and listens."""
    settings = {"initial_message": "Hello."}
    body = {"name": "Ann", "kind": "scripted", "settings": settings, "published": True}
    agent = (await node.client.post("/v1/agents", json=body)).json()
    (number,) = (await node.get("/v1/numbers"))["items"]
    order = {"to_number": SILENT_FAR_END, "agent_id": agent["id"], "from_number": number["number"]} | more
    response = await node.client.post("/v1/calls", json=order)
    assert response.status_code == 201, response.text
    call_id: str = response.json()["call_id"]
    await node.watcher.reached(call_id, "answered")
    engine = node.node.engine
    await until(lambda: engine.queued_ms(call_id) > 0)
    await until(lambda: engine.queued_ms(call_id) == 0)
    return call_id


async def stop(node: NodeUnderTest, call_id: str, **body: object) -> dict[str, Any]:
    response = await node.client.post(f"/v1/calls/{call_id}/stop", json=body)
    assert response.status_code == 200, response.text
    stopped: dict[str, Any] = response.json()
    return stopped


async def ended(node: NodeUnderTest, call_id: str) -> dict[str, Any]:
    await node.watcher.reached(call_id, "ended")
    call = await node.get(f"/v1/calls/{call_id}")
    assert (call["state"], call["stop"]["result"]) == ("ended", "confirmed")
    return call


async def some_is_heard(node: NodeUnderTest, call_id: str) -> None:
    """Wait until half a second of what is queued has left."""
    most = 0

    def half_a_second_less() -> bool:
        nonlocal most
        queued = node.node.engine.queued_ms(call_id)
        most = max(most, queued)
        return queued < most - 500

    await until(half_a_second_less)


def ms_between(earlier: str, later: str) -> int:
    return round((datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() * 1000)


async def said_to_its_end(node: NodeUnderTest, call_id: str) -> None:
    winding = await stop(node, call_id, mode="graceful", farewell="Good-bye then.", deadline_ms=15_000, wait_ms=0)
    assert (winding["state"], winding["stop"]["result"]) == ("answered", "winding_down")
    call = await ended(node, call_id)
    assert (call["stop"]["farewell"], call["cause"]["reason"]) == ("played", "api_stop")
    turns = (await node.get(f"/v1/calls/{call_id}/transcript"))["turns"]
    assert turns[-1]["text"] == "Good-bye then."
    assert call["ended_at"] < winding["stop"]["deadline_at"]


async def cut_off_at_its_deadline(node: NodeUnderTest, call_id: str) -> None:
    winding = await stop(node, call_id, mode="graceful", farewell=LONG, deadline_ms=4_000, wait_ms=0)
    call = await ended(node, call_id)
    assert call["stop"]["farewell"] == "truncated"
    assert 0 <= ms_between(winding["stop"]["deadline_at"], call["ended_at"]) < LATE_MS


async def cut_off_by_a_hard_stop(node: NodeUnderTest, call_id: str) -> None:
    await stop(node, call_id, mode="graceful", farewell=LONG, deadline_ms=20_000, wait_ms=0)
    await some_is_heard(node, call_id)
    stopped = await stop(node, call_id, reason="enough", wait_ms=5_000)
    assert (stopped["state"], stopped["stop"]["farewell"], stopped["cause"]["text"]) == ("ended", "truncated", "enough")
    assert ms_between(stopped["ended_at"], stopped["stop"]["bye_sent_at"]) < LATE_MS


async def ended_by_a_scheduled_stop(node: NodeUnderTest, call_id: str) -> None:
    response = await node.client.put(f"/v1/calls/{call_id}/stop-at", json={"after_ms": 700})
    call = await ended(node, call_id)
    assert (call["cause"]["initiator"], call["cause"]["reason"]) == ("timer", "scheduled_stop")
    assert 0 <= ms_between(response.json()["stop_at"], call["ended_at"]) < LATE_MS


async def test_farewells_are_heard_or_cut_off_as_told_and_every_deadline_is_met(node: NodeUnderTest) -> None:
    ways = (said_to_its_end, cut_off_at_its_deadline, cut_off_by_a_hard_stop, ended_by_a_scheduled_stop)
    calls = await asyncio.gather(*(greeted(node) for _ in ways))
    await asyncio.gather(*(way(node, call_id) for way, call_id in zip(ways, calls, strict=True)))
    assert node.node.conversations.live == 0
