"""The cloud kinds on calls of a whole node: a caller who says yes, providers on loopback, a stop, a farewell."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.providers.cloud import Cloud
from tests.providers.kinds import CHAIN, CHAIN_OPENAI, KINDS, REALTIME, Kind
from tests.wire.node import NodeUnderTest, running_node

from onhook.calls.call import EventType

pytestmark = pytest.mark.wire

SAYS_YES = "+12025550122"
LIMIT_S = 30.0
CLOSE_LIMIT_S = 0.6


@pytest.fixture
async def node(cloud: Cloud, tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    """A node whose agent processes find the cloud."""
    async with running_node(tmp_path) as under_test:
        agents = await under_test.node.open_agents()
        await _until(lambda: agents.components().get("agent_processes") == "ok")
        yield under_test


async def _until(condition: Callable[[], bool]) -> None:
    """Look every 10 ms whether something in another process has happened, for a bounded time."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 (what happens in another process sets no event here)
            await asyncio.sleep(0.01)


async def _call(node: NodeUnderTest, kind: Kind, **settings: Any) -> str:
    definition = kind.definition
    settings = {"prompt": definition.prompt, "options": definition.options, **settings}
    body = {"name": kind.name, "kind": definition.kind, "settings": settings, "published": True}
    made = await node.client.post("/v1/agents", json=body)
    assert made.status_code == 201, made.text
    (number,) = (await node.get("/v1/numbers"))["items"]
    order = {"to_number": SAYS_YES, "agent_id": made.json()["id"], "from_number": number["number"]}
    placed = await node.client.post("/v1/calls", json=order)
    assert placed.status_code == 201, placed.text
    call_id: str = placed.json()["call_id"]
    return call_id


async def test_an_agent_without_its_key_is_not_dialled(node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(AssertionError, match=r"agent_invalid.*OPENAI_API_KEY is not set"):
        await _call(node, CHAIN)
    assert (await node.get("/v1/calls"))["items"] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_stop_does_not_wait_for_providers_and_they_see_their_connections_close(
    kind: Kind, node: NodeUnderTest, cloud: Cloud
) -> None:
    cloud.holds.clear()  # the greeting hangs in its middle
    call_id = await _call(node, kind)
    await _until(lambda: node.node.engine.queued_ms(call_id) > 0)
    began = asyncio.get_running_loop().time()

    assert (await node.client.post(f"/v1/calls/{call_id}/stop", json={})).status_code == 200
    await node.all_ended()

    call = await node.node.store.get_call(call_id, None)
    assert call is not None
    assert call.ended_at is not None
    assert call.proof is not None
    assert call.proof.bye_sent_at is not None
    assert call.proof.bye_sent_at - call.ended_at < 100
    for watched in cloud.watch.all:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await watched.closed.wait()
        assert watched.closed_at - began < CLOSE_LIMIT_S, watched.path
    pool = node.node.pool
    assert pool is not None
    await _until(lambda: node.node.conversations.live == 0 and not any(one.calls for one in pool._processes()))
    assert (pool.counters.leaks, pool.counters.killed) == (0, 0)


@pytest.mark.parametrize("kind", [CHAIN, CHAIN_OPENAI], ids=lambda kind: kind.name)
async def test_the_caller_is_heard_and_answered_until_the_model_ends_the_call(
    kind: Kind, node: NodeUnderTest, cloud: Cloud
) -> None:
    cloud.caller_says = "Yes."
    cloud.answers = [("", [("end_call", {"farewell": "Thank you and goodbye.", "reason": "done"})])]

    call_id = await _call(node, kind, initial_message="Is this a good time?")
    await node.watcher.reached(call_id, "ended")

    call = await node.node.store.get_call(call_id, None)
    assert call is not None
    assert call.cause is not None
    assert (call.cause.reason, call.cause.text) == ("agent_hangup", "done")
    events = await node.node.store.events(call_id)
    turns = [(one.data["role"], one.data["text"]) for one in events if one.type is EventType.TURN]
    assert turns == [("agent", "Is this a good time?"), ("user", "Yes."), ("agent", "Thank you and goodbye.")]


async def test_a_realtime_agent_speaks_and_its_words_are_in_the_transcript(node: NodeUnderTest, cloud: Cloud) -> None:
    cloud.answers = [("Good morning. I was asked to call.", [("end_call", {})])]

    call_id = await _call(node, REALTIME)
    await node.watcher.reached(call_id, "ended")

    events = await node.node.store.events(call_id)
    turns = [(one.data["role"], one.data["text"]) for one in events if one.type is EventType.TURN]
    assert turns == [("agent", "Good morning."), ("agent", "I was asked to call.")]
    assert EventType.ACTION in [one.type for one in events]
