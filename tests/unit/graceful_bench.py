"""Graceful stops over the fakes: what their tests are written on."""

import asyncio
from typing import Any

import msgspec
import pytest

from onhook.agents.messages import HangUp, Play, Say
from onhook.calls.call import Call
from onhook.calls.causes import Cause, Reason
from onhook.calls.states import State
from onhook.control.graceful import GracefulOrder
from onhook.store.store import Store
from tests.unit.voice_bench import VoiceBench

POLITE = Cause("api_key:k9", Reason.API_STOP, q850=16, text="closing time")
BYE = b"\x21\xa1" * 80
"""20 ms of the farewell."""


async def talking(store: Store | None = None, **changes: Any) -> tuple[VoiceBench, Call]:
    bench = VoiceBench(store=store, **changes)
    await bench.open()
    return bench, await bench.talk()


def polite(bench: VoiceBench, call: Call, deadline_ms: int = 3_000, **changes: Any) -> GracefulOrder:
    order = GracefulOrder(call.id, "a", POLITE, bench.clock.now_ms(), deadline_ms, "So long.", "req_1")
    return msgspec.structs.replace(order, **changes)


async def asked(bench: VoiceBench, call: Call, deadline_ms: int = 3_000, **changes: Any) -> Call:
    found = await bench.graceful.request(polite(bench, call, deadline_ms, **changes))
    assert found is not None
    return found


def says_goodbye(bench: VoiceBench, ms: int, *, hangs_up: bool = True) -> None:
    bench.agent.say(Say("So long."), Play(BYE * (ms // 20)), *([HangUp("", drain=True)] if hangs_up else []))


async def ended(bench: VoiceBench, call: Call) -> Call:
    await bench.settled()
    found = await bench.written(call.id)
    assert found.state is State.ENDED
    assert (await bench.event_types(call.id)).count("call.ended") == 1
    assert await bench.store.timers(call.id) == []
    return found


async def told(bench: VoiceBench) -> None:
    """Let other tasks run until the agent was told something, for a bounded number of turns."""
    for _ in range(1_000):
        if bench.agent.sent:
            return
        await asyncio.sleep(0.001)
    pytest.fail("the agent was never told anything")


def farewell_of(call: Call) -> str | None:
    assert call.stop is not None
    return call.stop.farewell
