"""A whole node in the test's own event loop: SQLite, the SIP engine, call control, the HTTP application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from onhook.agents.definition import AgentKind
from onhook.api.app import create_app
from onhook.lines.engine import Answered, Dialed, LegEnded, LegEvent, Provisional
from onhook.lines.sandbox.carrier import SandboxCarrier
from onhook.provision import SandboxFile, ensure_sandbox
from onhook.server import Node, sip_settings
from onhook.settings import Settings
from onhook.store.secrets import SecretBox, load_or_create_key


class Watcher:
    """Stands between the line and call control, and lets tests wait for what the line says."""

    def __init__(self, node: Node) -> None:
        self._recorder = node.recorder
        self._moments: dict[tuple[str, str], asyncio.Event] = {}

    def on_event(self, event: LegEvent) -> None:
        self._recorder.on_event(event)
        match event:
            case Dialed(call_id):
                self._moment(call_id, "dialing").set()
            case Provisional(call_id, ringing=True):
                self._moment(call_id, "ringing").set()
            case Answered(call_id):
                self._moment(call_id, "answered").set()
            case LegEnded(call_id):
                self._moment(call_id, "ended").set()

    async def reached(self, call_id: str, moment: str) -> None:
        """Wait until the wire, and then the row, of a call is `dialing`, `ringing`, `answered` or `ended`."""
        await self._moment(call_id, moment).wait()
        await self._recorder.drained()

    def _moment(self, call_id: str, moment: str) -> asyncio.Event:
        return self._moments.setdefault((call_id, moment), asyncio.Event())


class NodeUnderTest:
    """A running node with the sandbox carrier as its only far end, and a client of its HTTP API."""

    def __init__(self, node: Node, carrier: SandboxCarrier, client: httpx.AsyncClient, sandbox: SandboxFile) -> None:
        self.node = node
        self.carrier = carrier
        self.client = client
        self.sandbox = sandbox
        self.watcher = Watcher(node)

    async def get(self, path: str) -> dict[str, Any]:
        response = await self.client.get(path)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def all_ended(self) -> None:
        """Wait until no leg is left and all is written."""
        await self.node.live.wait_until_empty()
        await self.node.recorder.drained()


@contextlib.asynccontextmanager
async def running_node(
    directory: Path,
    *,
    t1: float = 0.5,
    own_trunks: bool = False,
    bots: tuple[str, ...] = (),
    collector: str | None = None,
) -> AsyncIterator[NodeUnderTest]:
    """Run a node on free ports, with SIP's timer T1 (seconds) as given; the late-answer watch takes 5 s.

    All calls go to the sandbox carrier, but with `own_trunks` to the trunks of their numbers. `bots` are allowed,
    `collector` gets traces.
    """
    settings = Settings(
        data_dir=directory,
        http_bind="127.0.0.1:0",
        sip_bind="127.0.0.1:0",
        stop_wait_ms=0,
        agent_url_allow=bots,
        otel_endpoint=collector,
    )
    carrier = SandboxCarrier()
    await carrier.start()
    host, port = carrier.address
    uri = f"sip:{host}:{port};transport=udp"
    secrets = SecretBox(load_or_create_key(directory / "secret.key"))
    sip = msgspec.structs.replace(sip_settings(settings), t1=t1, watch=5.0)
    node = Node(settings, secrets, None if own_trunks else uri, sip)
    try:
        async with node.running():
            sandbox = await ensure_sandbox(
                node.store, secrets, node.clock, directory, "http://test", uri, AgentKind.GREETING
            )
            transport = httpx.ASGITransport(create_app(node.services()))
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
                under_test = NodeUnderTest(node, carrier, client, sandbox)
                node.relay.recorder = under_test.watcher
                yield under_test
    finally:
        await carrier.close()
