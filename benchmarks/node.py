"""A node in this process, its calls at a far end in another: for what is measured from inside."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from benchmarks.far_end import Ports
from onhook.agents.definition import AgentKind
from onhook.calls.call import Dialect
from onhook.control.place import PlaceOrder
from onhook.lines.engine import Answered, LegEnded, LegEvent
from onhook.process import spare_what_stays
from onhook.provision import DEFAULT_ENVIRONMENT, SandboxFile, ensure_sandbox
from onhook.server import Node
from onhook.settings import Settings
from onhook.store.secrets import SecretBox, load_or_create_key
from onhook.store.store import Agent

PLACED_PER_S = 150
SET_UP_LIMIT_S = 60.0


class BenchNode:
    """A running node; it notes which legs are answered and how they ended."""

    def __init__(self, node: Node, sandbox: SandboxFile) -> None:
        self.node = node
        self.ended: dict[str, LegEnded] = {}
        self._sandbox = sandbox
        self._answered = 0
        self._changed = asyncio.Event()
        self._recorder = node.recorder
        node.relay.recorder = self

    def on_event(self, event: LegEvent) -> None:
        """Note an event on its way to call control."""
        self._recorder.on_event(event)
        match event:
            case Answered():
                self._answered += 1
            case LegEnded(call_id):
                self.ended[call_id] = event
        self._changed.set()

    async def place(self, count: int) -> list[str]:
        """Place calls, and return their ids once all are answered and written. Raises `TimeoutError`."""
        expected = self._answered + count
        order = PlaceOrder(DEFAULT_ENVIRONMENT, Dialect.NATIVE, "+12025550100", self._sandbox.agent_id)
        ids: list[str] = []
        async with asyncio.timeout(SET_UP_LIMIT_S):
            for _ in range(count):
                ids.append((await self.node.placer.place(order)).id)
                await asyncio.sleep(1 / PLACED_PER_S)
            while self._answered < expected:
                self._changed.clear()
                await self._changed.wait()
            await self.node.recorder.drained()
        return ids

    async def all_ended(self, count: int, seconds: float) -> None:
        """Wait until so many legs have ended, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.ended) < count:
                    self._changed.clear()
                    await self._changed.wait()


@contextlib.asynccontextmanager
async def running_node(directory: Path, ports: Ports) -> AsyncIterator[BenchNode]:
    """Run a node whose calls all go to the far end; its agent is silent, audio flows all the same."""
    settings = Settings(data_dir=directory, http_bind="127.0.0.1:0", sip_bind="127.0.0.1:0", stop_wait_ms=0)
    secrets = SecretBox(load_or_create_key(directory / "secret.key"))
    uri = f"sip:127.0.0.1:{ports.sip};transport=udp"
    node = Node(settings, secrets, uri)
    async with node.running():
        sandbox = await ensure_sandbox(
            node.store, secrets, node.clock, directory, "http://bench", uri, AgentKind.GREETING
        )
        agent = await node.store.get(Agent, sandbox.agent_id, DEFAULT_ENVIRONMENT)
        assert agent is not None
        await node.store.put(msgspec.structs.replace(agent, kind="silence", settings={}))
        spare_what_stays()
        yield BenchNode(node, sandbox)
