"""`GET /metrics` of a whole node: what Prometheus reads, who may read it, and what is not in it."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from tests.wire.node import NodeUnderTest, running_node

from onhook.api.app import create_app
from onhook.api.services import Services
from onhook.metrics.catalog import CATALOG
from onhook.settings import is_loopback

pytestmark = pytest.mark.dialect

TOKEN = "metrics-0123456789"
TO = "+12025550100"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    async with running_node(tmp_path) as running:
        yield running


async def ask(services: Services, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://onhook.test") as client:
        return await client.get("/metrics", headers=[(name.encode(), text.encode()) for name, text in headers.items()])


async def families(services: Services) -> dict[str, Family]:
    answer = await ask(services)
    assert answer.status_code == 200, answer.text
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(found: dict[str, Family], sample: str, **labels: str) -> float:
    return next(
        one.value for family in found.values() for one in family.samples if (one.name, one.labels) == (sample, labels)
    )


async def stopped_call(node: NodeUnderTest) -> str:
    body = {"to_number": TO, "from_number": node.sandbox.from_number}
    call_id: str = (await node.client.post("/v1/calls", json=body)).json()["call_id"]
    await node.watcher.reached(call_id, "answered")
    stop = await node.client.post(f"/v1/calls/{call_id}/stop", json={"wait_ms": 5000})
    assert stop.json()["stop"]["result"] == "confirmed"
    await node.all_ended()
    return call_id


async def test_a_node_tells_every_metric_of_the_catalogue(node: NodeUnderTest) -> None:
    await stopped_call(node)
    await node.node.open_agents()
    found = await families(node.node.services())
    for name, metric in CATALOG.items():
        family = found[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning), name
        assert family.samples, f"{name} has no value"
    assert value(found, "onhook_agent_processes", state="ready") <= node.node.settings.agent_processes
    assert value(found, "process_open_fds") > 0


async def test_the_latency_of_a_stop_is_that_of_the_calls_timeline(node: NodeUnderTest) -> None:
    call_id = await stopped_call(node)
    spans = (await node.get(f"/v1/calls/{call_id}/timeline"))["spans_ms"]
    found = await families(node.node.services())
    assert value(found, "onhook_stop_wire_seconds_count", method="bye") == 1
    assert value(found, "onhook_stop_wire_seconds_sum", method="bye") == spans["stop_to_wire"] / 1000
    assert value(found, "onhook_stop_proof_seconds_sum", method="bye") == spans["stop_to_confirmed"] / 1000
    assert value(found, "onhook_stops_total", reason="api_stop") == 1
    assert value(found, "onhook_stops_unconfirmed_total") == 0


async def test_packets_of_calls_that_are_over_stay_counted(node: NodeUnderTest) -> None:
    call_id = await stopped_call(node)
    events = (await node.get(f"/v1/calls/{call_id}/timeline"))["events"]
    (audio,) = [event["data"] for event in events if event["type"] == "call.audio"]
    found = await families(node.node.services())
    assert value(found, "onhook_rtp_packets_total", direction="sent") == audio["packets_sent"] > 0
    assert value(found, "onhook_rtp_packets_total", direction="received") == audio["packets_received"]
    assert value(found, "onhook_media_tick_lateness_seconds_count") > 0


async def test_no_number_and_no_id_is_in_the_metrics(node: NodeUnderTest) -> None:
    call_id = await stopped_call(node)
    call = await node.get(f"/v1/calls/{call_id}")
    text = (await ask(node.node.services())).text
    secrets = ("call_id", "sip_call_id", "agent_id", "trunk_id", "from_number", "to_number")
    for secret in [call[name] for name in secrets]:
        assert secret.removeprefix("+") not in text


async def test_metrics_are_open_on_loopback_in_prometheus_own_format(node: NodeUnderTest) -> None:
    answer = await ask(node.node.services())
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")


async def test_with_a_token_only_who_knows_it_reads_the_metrics(node: NodeUnderTest) -> None:
    services = dataclasses.replace(node.node.services(), metrics_token=TOKEN)
    assert (await ask(services, Authorization=f"Bearer {TOKEN}")).status_code == 200
    for wrong in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é", f"Bearer {node.sandbox.token}"):
        answer = await ask(services, Authorization=wrong)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), wrong
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in answer.text


async def test_beyond_loopback_metrics_need_a_token(node: NodeUnderTest) -> None:
    beyond = {"http_bind": "0.0.0.0:8080"}
    node.node.settings = node.node.settings.model_copy(update=beyond)
    answer = await ask(node.node.services())
    assert (answer.status_code, answer.json()["code"]) == (403, "metrics_closed")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
