"""What speaks on a call without an agent process leaves nothing behind."""

import asyncio
from typing import Any

import pytest

from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.calls.call import EventType
from onhook.calls.causes import Reason
from onhook.store.store import Agent
from tests.unit.voice_bench import GREETING, VOICE, VoiceBench

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("kind", "played"),
    [(AgentKind.GREETING, GREETING), (AgentKind.ECHO, GREETING + b"echo?"), (AgentKind.SILENCE, b"")],
)
async def test_each_kind_speaks_as_it_says_and_needs_no_process(kind: AgentKind, played: bytes) -> None:
    bench = VoiceBench(AgentDefinition(kind))
    await bench.open()
    call = await bench.talk()
    bench.relay.on_audio(call.id, b"echo?")

    assert bench.engine.legs[call.id].played == played
    assert not bench.engine.legs[call.id].listening
    assert (bench.conversations.live, bench.warmed, bench.agents.sessions) == (0, 0, [])


@pytest.mark.parametrize("kind", [AgentKind.ECHO, AgentKind.GREETING])
async def test_a_call_that_ends_while_its_agent_is_looked_up_is_not_spoken_on(
    kind: AgentKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = VoiceBench(AgentDefinition(kind))
    await bench.open()
    found = asyncio.Event()
    bench.engine.settles = False
    with monkeypatch.context() as slow:
        read = bench.store.get

        async def reading(*wanted: Any) -> Any:
            if wanted[0] is Agent and bench.engine.legs:
                await found.wait()
            return await read(*wanted)

        slow.setattr(bench.store, "get", reading)
        call = await bench.place()
        bench.engine.answer(call.id)
        await bench.ending.request_stop(bench.stop_order(call.id))
        found.set()
        await bench.settled()
    bench.relay.on_audio(call.id, b"echo?")
    assert bench.engine.legs[call.id].played == b""

    bench.engine.settle(call.id)
    await bench.settled()
    assert not bench.conversations._calls
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_echo_stops_with_the_call() -> None:
    bench = VoiceBench(AgentDefinition(AgentKind.ECHO))
    await bench.open()
    call = await bench.talk()
    bench.engine.hang_up_far_end(call.id)
    bench.relay.on_audio(call.id, b"echo?")
    assert not bench.conversations._line_agents._echoing


async def test_a_call_without_an_agent_process_is_recorded_when_its_agent_says_so() -> None:
    bench = VoiceBench(AgentDefinition(AgentKind.ECHO), record=True)
    await bench.open()
    call = await bench.talk()
    bench.pass_time(call, 1000, VOICE)
    bench.engine.hang_up_far_end(call.id)

    assert [tick.heard for tick in bench.files[0].ticks] == [VOICE] * 50
    (recording,) = await bench.noted(call, EventType.RECORDING)
    assert recording == {"duration_ms": 1000, "channels": 2, "format": "wav", "consent": "none"}


async def test_a_call_whose_agent_cannot_be_put_on_it_is_not_left_silent() -> None:
    bench = VoiceBench()
    await bench.open()
    bench.fault = "url: there is no bot"
    call = await bench.talk()
    cause = await bench.ended_for(call)
    assert (cause.initiator, cause.reason, cause.text) == ("system", Reason.AGENT_LOST, "url: there is no bot")
