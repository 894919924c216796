"""Traces of a whole node: each call that ends comes to the collector once, at the latest when the server stops."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.otlp_collector import Collector
from tests.wire.node import running_node

from onhook.tracing.spans import trace_id

pytestmark = pytest.mark.dialect


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.stop()


async def test_a_node_sends_a_trace_of_each_call_that_ended(collector: Collector, tmp_path: Path) -> None:
    calls: list[str] = []
    async with running_node(tmp_path, collector=collector.url) as node:
        for _ in range(2):
            body = {"to_number": "+12025550100", "from_number": node.sandbox.from_number}
            calls.append((await node.client.post("/v1/calls", json=body)).json()["call_id"])
        for call_id, moment in zip(calls, ("answered", "dialing"), strict=True):
            await node.watcher.reached(call_id, moment)
        stop = await node.client.post(f"/v1/calls/{calls[0]}/stop", json={"wait_ms": 5000})
        assert stop.json()["stop"]["result"] == "confirmed"
    # The second call was ended by the end of the node.
    assert collector.trace_ids() == {f"{trace_id(call_id):032x}" for call_id in calls}
    spans = [span for scope in collector.scopes("/v1/traces") for span in scope.spans]
    assert sorted(span.name for span in spans if not span.parent_span_id) == ["call", "call"]
    assert sorted(span.name for span in spans if span.name in ("stop", "wire")) == ["stop", "stop", "wire", "wire"]
