"""What speaks on a call leaves nothing behind."""

import asyncio

import pytest

from onhook.voice.line_agents import LineAgents
from onhook.calls.call import Dialect
from onhook.store.store import Agent
from tests.unit.control_bench import Bench

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("kind", ["echo", "greeting"])
async def test_a_call_that_ends_while_its_agent_is_looked_up_is_not_spoken_on(kind: str) -> None:
    bench = await Bench().open()
    now = bench.clock.now_ms()
    await bench.store.put(Agent("agent1", "a", Dialect.NATIVE, "Ann", "Ann", now, now, published=True, kind=kind))
    agents = LineAgents(bench.store, bench.live, b"hello", bench.engine)
    call = await bench.place()
    agents.on_answered(call.id)
    agents.on_ended(call.id)
    for _ in range(5):
        await asyncio.sleep(0)
    agents.on_audio(call.id, b"echo?")
    assert call.id in bench.live, "its end is not written yet"
    assert bench.engine.legs[call.id].played == b""
