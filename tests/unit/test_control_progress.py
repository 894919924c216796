"""What a conversation notes stands in the log where it happened."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from onhook.calls.call import EventType
from onhook.control import progress
from tests.unit.control_bench import Bench

pytestmark = pytest.mark.unit


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    yield await Bench().open()


async def test_notes_stand_in_the_order_of_the_line(bench: Bench) -> None:
    call = await bench.place()
    bench.engine.ring(call.id)
    bench.engine.answer(call.id)
    bench.recorder.note(call.id, EventType.AGENT_STARTED, {"kind": "scripted", "start_ms": 12})
    bench.engine.press(call.id, "5")
    bench.recorder.note(call.id, EventType.TURN, {"role": "agent", "text": "Hello"})
    bench.engine.hang_up_far_end(call.id)
    await bench.recorder.drained()

    assert (await bench.event_types(call.id))[-5:] == [
        "call.answered",
        "call.agent_started",
        "call.dtmf",
        "call.turn",
        "call.ended",
    ]


async def test_a_note_waits_for_a_store_that_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "RETRY_S", 0.001)
    call = await bench.place()
    bench.store.fail_writes = True
    bench.recorder.note(call.id, EventType.TURN, {"text": "Hello"})
    for _ in range(3):
        await asyncio.sleep(0)
    assert "call.turn" not in await bench.event_types(call.id)

    bench.store.fail_writes = False
    await bench.recorder.drained()
    last = (await bench.store.events(call.id))[-1]
    assert (last.type, last.data) == (EventType.TURN, {"text": "Hello"})
