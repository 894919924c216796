"""Leaving: a node that goes away takes its calls along, whatever its store says."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.wire.node import NodeUnderTest, running_node

from onhook.store.store import StopOrder, Stopped, StoreError

pytestmark = pytest.mark.wire


async def talk(under_test: NodeUnderTest) -> str:
    """Place a call and wait for its answer; return its id."""
    sandbox = under_test.sandbox
    order = {"to_number": "+12025550100", "agent_id": sandbox.agent_id}
    placed = await under_test.client.post("/v1/calls", json=order)
    call_id: str = placed.json()["call_id"]
    await under_test.watcher.reached(call_id, "answered")
    return call_id


async def test_every_call_is_hung_up_and_written_before_the_node_is_gone(tmp_path: Path) -> None:
    async with running_node(tmp_path) as under_test:
        calls = [await talk(under_test) for _ in range(3)]
    assert under_test.carrier.live_dialogs() == 0
    assert len(calls) == len(under_test.carrier.calls)


async def test_calls_are_hung_up_although_the_store_refuses_to_write_and_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_orders: Sequence[StopOrder]) -> list[Stopped | None]:
        raise StoreError("the disk is full")

    async def unreadable(*_anything: object) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr("onhook.server.SHUTDOWN_PROOF_S", 0.5)
    async with running_node(tmp_path) as under_test:
        await talk(under_test)
        monkeypatch.setattr(under_test.node.store, "request_stops", refuse)
        monkeypatch.setattr(under_test.node.store, "list_calls", unreadable)
    assert under_test.carrier.live_dialogs() == 0
