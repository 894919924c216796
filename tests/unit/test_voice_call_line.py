"""What a conversation may do to its leg, within bounds."""

import logging

import pytest

from onhook.agents.messages import PressKeys
from onhook.lines.media.playout import Playout
from onhook.voice.call_line import MAX_QUEUED_MS
from tests.unit.voice_bench import VoiceBench

pytestmark = pytest.mark.unit


@pytest.fixture
def playout(monkeypatch: pytest.MonkeyPatch) -> Playout:
    """The real queue in the place of the fake engine's."""
    queue = Playout()
    monkeypatch.setattr("onhook.testing.engine.FakeEngine.send_dtmf", lambda _self, _call_id, keys: queue.press(keys))
    monkeypatch.setattr("onhook.testing.engine.FakeEngine.queued_ms", lambda _self, _call_id: queue.queued_ms)
    return queue


async def test_an_agent_that_presses_keys_without_end_fills_five_minutes_and_no_more(
    playout: Playout, caplog: pytest.LogCaptureFixture
) -> None:
    bench = VoiceBench()
    await bench.open()
    call = await bench.talk()
    with caplog.at_level(logging.WARNING):
        bench.agent.say(PressKeys("1" * 1_000))
        assert not caplog.records
        bench.agent.say(PressKeys("2" * 300), PressKeys("3" * 9_000))

    assert playout.queued_ms == MAX_QUEUED_MS
    assert caplog.messages == [
        f"call {call.id}: too much is to be played, {count} keys are dropped" for count in (50, 9_000)
    ]


async def test_keys_are_pressed_again_once_there_is_room(playout: Playout) -> None:
    bench = VoiceBench()
    await bench.open()
    await bench.talk()
    bench.agent.say(PressKeys("1" * 1_250), PressKeys("2"))
    playout.next()
    bench.agent.say(PressKeys("34"))
    assert [playout.next() for _ in range(1_250)] == ["1"] * 1_249 + ["3"]
