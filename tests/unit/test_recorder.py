"""Recordings: what is in the file, when it is readable, and what becomes of one that the disk does not take."""

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from onhook.lines.engine import Tick
from onhook.lines.media.g711 import linear_to_mulaw, mulaw_to_linear
from onhook.lines.media.recorder import MAX_PENDING_TICKS, Recorder, Recording

pytestmark = pytest.mark.unit


class Losses:
    """Notes why a recording was lost."""

    def __init__(self) -> None:
        self.errors: list[OSError] = []
        self.came = asyncio.Event()

    def __call__(self, error: OSError) -> None:
        self.errors.append(error)
        self.came.set()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    opened = Recorder()
    yield opened
    await opened.close()


def never(error: OSError) -> None:
    raise AssertionError(error)


def tick(number: int) -> Tick:
    return Tick(bytes([number % 256]) * 160, bytes([(number * 7) % 256]) * 160, arrived=True)


def read(path: Path) -> tuple[bytes, bytes]:
    """Return both channels as 16-bit samples; fail for another form."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    return samples[:, 0].astype(np.int16).tobytes(), samples[:, 1].astype(np.int16).tobytes()


async def test_what_is_heard_is_left_and_what_is_said_is_right(recorder: Recorder, tmp_path: Path) -> None:
    recording = recorder.start(tmp_path / "a" / "b" / "call.wav", never)
    ticks = [tick(number) for number in range(300)]
    for one in ticks:
        recording.write(one)
    assert recording.close() == 6000
    await recording.saved()
    heard, said = read(recording.path)
    assert heard == mulaw_to_linear(b"".join(one.heard for one in ticks))
    assert said == mulaw_to_linear(b"".join(one.sent for one in ticks))
    assert recording.path.stat().st_mode & 0o777 == 0o600, "a call is nobody else's to hear"


async def test_nothing_is_added_to_a_recording_that_is_closed(recorder: Recorder, tmp_path: Path) -> None:
    recording = recorder.start(tmp_path / "call.wav", never)
    recording.write(tick(1))
    assert recording.close() == 20
    recording.write(tick(2))
    assert recording.close() == 20
    await recording.saved()
    assert len(read(recording.path)[0]) == 320


async def test_a_call_without_a_sound_is_an_empty_file_that_can_be_read(recorder: Recorder, tmp_path: Path) -> None:
    recording = recorder.start(tmp_path / "call.wav", never)
    assert recording.close() == 0
    await recording.saved()
    assert read(recording.path) == (b"", b"")


async def test_many_recordings_are_written_by_one_thread_each_in_its_file(recorder: Recorder, tmp_path: Path) -> None:
    recordings = [recorder.start(tmp_path / f"{number}.wav", never) for number in range(20)]
    for number, recording in enumerate(recordings):
        for _ in range(number):
            recording.write(tick(number))
    lengths = [recording.close() for recording in recordings]
    for recording in recordings:
        await recording.saved()
    assert lengths == [number * 20 for number in range(20)]
    for number, recording in enumerate(recordings):
        assert read(recording.path)[0] == mulaw_to_linear(bytes([number]) * 160 * number)


async def test_a_discarded_recording_leaves_no_file_before_and_after_its_close(
    recorder: Recorder, tmp_path: Path
) -> None:
    early, late = recorder.start(tmp_path / "1.wav", never), recorder.start(tmp_path / "2.wav", never)
    for recording in (early, late):
        recording.write(tick(1))
    late.close()
    await late.saved()
    assert late.path.exists()
    early.discard()
    late.discard()
    await early.saved()
    await recorder.close()
    assert not early.path.exists()
    assert not late.path.exists()


async def test_closing_the_recorder_ends_and_saves_all(tmp_path: Path) -> None:
    recorder = Recorder()
    recording = recorder.start(tmp_path / "call.wav", never)
    recording.write(tick(3))
    await recorder.close()
    assert read(recording.path)[0] == mulaw_to_linear(b"\x03" * 160)


KILLED = """
import asyncio, sys
from pathlib import Path
from onhook.lines.engine import Tick
from onhook.lines.media.recorder import Recorder

async def main() -> None:
    recorder = Recorder()
    recording = recorder.start(Path(sys.argv[1]), print)
    for number in range(100_000):
        recording.write(Tick(bytes([number % 256]) * 160, bytes([number % 7]) * 160, arrived=True))
        if number % 500 == 499:
            print("500", flush=True)
            await asyncio.sleep(0.25)

asyncio.run(main())
"""


def test_the_recording_of_a_killed_process_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            for _ in range(7):
                assert child.stdout.readline() == b"500\n"
        finally:
            child.send_signal(signal.SIGKILL)
    heard, said = read(path)
    ticks = len(heard) // 320
    assert ticks >= 500, "what was said before the last second is there"
    assert heard == mulaw_to_linear(b"".join(bytes([number % 256]) * 160 for number in range(ticks)))
    assert said == mulaw_to_linear(b"".join(bytes([number % 7]) * 160 for number in range(ticks)))


async def until_lost(recording: Recording, losses: Losses) -> None:
    async with asyncio.timeout(5):
        recording.write(tick(0))
        await losses.came.wait()
        await recording.saved()


async def test_a_directory_that_cannot_be_made_ends_the_recording(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    losses = Losses()
    recording = recorder.start(tmp_path / "file" / "call.wav", losses)
    await until_lost(recording, losses)
    recording.write(tick(1))
    assert recording.close() == 0
    assert [type(error) for error in losses.errors] == [FileExistsError]


async def test_a_file_that_was_deleted_ends_the_recording_and_it_says_so(tmp_path: Path) -> None:
    losses = Losses()
    recording = Recording(tmp_path / "call.wav", losses, lambda _recording: None)
    recording.write(tick(0))
    assert not recording.save()
    recording.path.unlink()
    assert recording.save()
    await until_lost(recording, losses)
    assert [type(error) for error in losses.errors] == [FileNotFoundError]


async def test_a_full_disk_ends_the_recording_and_what_was_saved_stays(recorder: Recorder, tmp_path: Path) -> None:
    losses = Losses()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        recording = recorder.start(tmp_path / "call.wav", losses)
        for number in range(100):
            recording.write(tick(number))
        await until_lost(recording, losses)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert [error.errno for error in losses.errors] == [errno.EFBIG]
    assert recording.close() == len(read(recording.path)[0]) // 16


async def test_a_disk_that_takes_nothing_ends_the_recording_before_it_fills_the_memory(
    recorder: Recorder, tmp_path: Path
) -> None:
    fifo, losses = tmp_path / "call.wav", Losses()
    os.mkfifo(fifo)
    recording = recorder.start(fifo, losses)  # Opening a FIFO that nobody reads hangs, as a dead disk does.
    for number in range(MAX_PENDING_TICKS + 10):
        recording.write(tick(number))
    assert [error.errno for error in losses.errors] == [errno.ETIMEDOUT]
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    async with asyncio.timeout(5):
        await recording.saved()
    os.close(reader)
    assert recording.close() == 0


def test_the_table_of_samples_is_that_of_g711() -> None:
    assert linear_to_mulaw(mulaw_to_linear(bytes(range(256)))) == bytes(range(127)) + b"\xff" + bytes(range(128, 256))
