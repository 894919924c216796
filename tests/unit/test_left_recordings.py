"""The recordings of calls that a crash has cut short: the next life logs them, once, before the calls' ends."""

import asyncio
import wave
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from onhook.calls.call import Call, EventType
from onhook.calls.proof import Method
from onhook.recording_desk import LeftRecordings
from onhook.store.store import Progress
from onhook.voice.recordings import Recordings
from tests.unit.control_bench import Bench

pytestmark = pytest.mark.unit


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = await Bench().open()
    left = LeftRecordings(Recordings(tmp_path), bench.store, bench.clock)
    bench.reconciler.on_left, bench.ending.log_left = left.measure, left.log
    yield bench


def record(directory: Path, call: Call, ms: int) -> None:
    with wave.open(str(directory / f"{call.id}.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x10\x00\x20\x00" * 8 * ms)


async def left_call(bench: Bench, snapshot: bytes = b"leg") -> Call:
    """Leave a call that was answered, as a crash does."""
    call = await bench.place()
    bench.engine.answer(call.id)
    await bench.store.save_snapshot(call.id, snapshot, before_invite=False)
    await bench.recorder.drained()
    bench.live.remove(call.id)
    bench.engine.legs.clear()
    return call


async def recordings_of(bench: Bench, call: Call) -> list[dict[str, object]]:
    return [event.data for event in await bench.store.events(call.id) if event.type is EventType.RECORDING]


async def test_the_next_life_logs_the_recording_before_the_end(bench: Bench, tmp_path: Path) -> None:
    call = await left_call(bench)
    record(tmp_path, call, 1500)
    await bench.reconciler.settle_earlier_life()
    await bench.written(call.id)
    assert (await bench.event_types(call.id))[-2:] == ["call.recording", "call.ended"]
    assert await recordings_of(bench, call) == [{"duration_ms": 1500, "channels": 2, "format": "wav"}]


async def test_a_recording_that_is_encoded_before_the_end_comes_is_logged(bench: Bench, tmp_path: Path) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # one thing after the other
    call = await left_call(bench)
    record(tmp_path, call, 1500)
    bench.engine.settles = False
    await bench.reconciler.settle_earlier_life()
    await asyncio.to_thread((tmp_path / f"{call.id}.wav").unlink)
    bench.engine.settle(call.id)
    await bench.written(call.id)
    assert (await bench.event_types(call.id)).count("call.recording") == 1


async def test_a_recording_that_an_earlier_life_has_logged_is_not_logged_again(bench: Bench, tmp_path: Path) -> None:
    call = await left_call(bench)
    record(tmp_path, call, 1500)
    await bench.store.record_progress(Progress(call.id, 1, EventType.RECORDING, data={"duration_ms": 1480}))
    await bench.reconciler.settle_earlier_life()
    await bench.written(call.id)
    assert await recordings_of(bench, call) == [{"duration_ms": 1480}]


@pytest.mark.parametrize("ms", [None, 0])
async def test_a_call_of_which_nothing_was_kept_has_no_recording(bench: Bench, tmp_path: Path, ms: int | None) -> None:
    call = await left_call(bench)
    if ms is not None:
        record(tmp_path, call, ms)
    await bench.reconciler.settle_earlier_life()
    ended = await bench.written(call.id)
    assert ended.is_over
    assert await recordings_of(bench, call) == []


async def test_a_file_that_the_crash_has_left_empty_keeps_no_call_from_its_end(bench: Bench, tmp_path: Path) -> None:
    call = await left_call(bench)
    (tmp_path / f"{call.id}.wav").touch()
    await bench.reconciler.settle_earlier_life()
    assert (await bench.written(call.id)).is_over
    assert await recordings_of(bench, call) == []


async def test_a_call_that_nobody_can_end_any_more_has_its_recording_logged_too(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resume(*_: object) -> None:
        raise ValueError("unreadable")

    call = await left_call(bench)
    record(tmp_path, call, 1500)
    monkeypatch.setattr(bench.engine, "resume", resume)
    await bench.reconciler.settle_earlier_life()
    ended = await bench.written(call.id)
    assert ended.proof is not None
    assert ended.proof.method is Method.NONE
    assert (await bench.event_types(call.id))[-2:] == ["call.recording", "call.ended"]
