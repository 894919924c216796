"""Call control with the door open: what the tests of calls that far ends make are written on."""

import asyncio

import msgspec

from onhook.calls.call import Call, Dialect
from onhook.control.dial import trunk_of
from onhook.control.inbound import Inbound
from onhook.control.peers import Peers
from onhook.control.register import Registrar
from onhook.control.routing import Router
from onhook.lines.engine import LegEvent
from onhook.store.queries import CallFilter, Page
from onhook.store.store import Agent, Number, TrunkRecord
from onhook.testing.store import MemoryStore
from tests.unit.control_bench import Bench

OURS = "+12025550100"
CALLER = "+12025550177"


class InboundBench(Bench):
    """A bench whose number takes calls. The far end of the fake engine, 192.0.2.9, is at trunk `t1` of tenant `a`."""

    def __init__(self, store: MemoryStore | None = None, default_region: str | None = None, max_calls: int = 0) -> None:
        super().__init__(store, max_calls)
        self.peers = Peers(self.store, self.clock, _decrypt, self._resolve)
        self.hosts: dict[str, list[str]] = {}
        """What the names of the world's hosts stand for."""
        self.router = Router(
            self.store, self.peers, lambda record: trunk_of(record, _decrypt), self.check_agent, default_region
        )
        self.inbound = Inbound(self.store, self.engine, self.live, self.capacity, self.recorder, self.router)
        self.registrar = Registrar(self.store, self.clock, self.check_agent)

    async def open(self) -> "InboundBench":
        await super().open()
        now = self.clock.now_ms()
        await self.store.put(TrunkRecord("t1", "a", "trunk", "sip:192.0.2.9:5060;transport=udp", now))
        await self.store.put(Number("n1", "a", OURS, "t1", now, None, "agent1"))
        await self.peers.refresh()
        return self

    def on_event(self, event: LegEvent) -> None:
        self.inbound.on_event(event)
        super().on_event(event)

    async def agent(self, **changes: object) -> None:
        """Change the agent."""
        agent = await self.store.get(Agent, "agent1", "a")
        assert agent is not None
        await self.store.put(msgspec.structs.replace(agent, **changes))

    async def call_in(self, to: str = OURS, caller: str = CALLER, **headers: str) -> Call:
        """Have a far end call; return the one call that there is then."""
        self.engine.call_in(caller, to, **headers)
        return await self.only_call()

    async def only_call(self) -> Call:
        await self.inbound.decided()
        (call,) = await self.calls()
        return call

    async def begun(self) -> None:
        """Let other tasks run until a call is about to be recorded, for a bounded number of turns."""
        for _ in range(1000):
            if len(self.live):
                return
            await asyncio.sleep(0)
        raise AssertionError("no call began")

    async def calls(self) -> list[Call]:
        return await self.store.list_calls(CallFilter(), Page(limit=1000))

    async def refused(self, to: str = OURS, caller: str = CALLER, **headers: str) -> int:
        """Have a far end call that is refused; return the status."""
        self.engine.call_in(caller, to, **headers)
        await self.inbound.decided()
        (_, status) = self.engine.refusals[-1]
        return status

    async def _resolve(self, host: str) -> list[str]:
        if host in self.hosts or not host[:1].isdigit():
            found = self.hosts.get(host)
            if found is None:
                raise OSError(f"{host} is not known")
            return found
        return [host]


async def talkover_agent(bench: InboundBench) -> None:
    """Make the agent one of TalkOver's."""
    await bench.agent(dialect=Dialect.TALKOVER)


def _decrypt(secret: str) -> str:
    return secret
