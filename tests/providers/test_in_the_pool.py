"""The cloud kinds where they live: in an agent process, behind the pool. Its books show that nothing stays behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.providers.cloud import Cloud, Temper
from tests.providers.kinds import FRAME, KINDS, Kind

from onhook.agents.messages import FromAgent, Gone, Play, Speech, Started
from onhook.agents.pool import AgentPool

pytestmark = pytest.mark.contract

LIMIT_S = 20.0
"""A process takes a second or two to start on a busy machine."""


class Listener:
    """The line's side."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[FromAgent] = asyncio.Queue()

    def on_agent(self, message: FromAgent) -> None:
        self._messages.put_nowait(message)

    async def next(self, kind: type[FromAgent]) -> FromAgent:
        async with asyncio.timeout(LIMIT_S):
            while not isinstance(message := await self._messages.get(), kind):
                pass
        return message


@pytest.fixture
async def pool(cloud: Cloud) -> AsyncIterator[AgentPool]:
    """One agent process, with the environment that leads to the cloud."""
    pool = AgentPool(1)
    await pool.open()
    yield pool
    await pool.close()


async def test_a_call_in_any_temper_leaves_nothing_in_its_process(pool: AgentPool, cloud: Cloud) -> None:
    for kind in KINDS:
        for temper in (Temper.HEALTHY, Temper.HALF_DEAD, Temper.NEVER_CLOSING):
            gone = await _one_call(pool, cloud, kind, temper)
            assert (gone.clean, gone.left) == (True, 0), (kind.name, temper)
    assert pool.counters.leaks == pool.counters.killed == 0


async def _one_call(pool: AgentPool, cloud: Cloud, kind: Kind, temper: Temper) -> Gone:
    """Have a call's agent speak, change the provider's temper, stop the agent."""
    cloud.become(Temper.HEALTHY)
    cloud.holds.set()
    listener = Listener()
    session = pool.start(kind.call(agent_speaks_first=True), listener)
    await listener.next(Started)
    session.send(Speech(started=True, at_ms=1_000))
    session.audio(FRAME)
    session.send(Speech(started=False, at_ms=1_500, duration_ms=500))
    await listener.next(Play)

    cloud.become(temper)
    session.stop("the call is over")
    gone = await listener.next(Gone)

    assert isinstance(gone, Gone)
    return gone
