"""Where recordings are kept, for how long, and how they become Opus."""

import asyncio
import contextlib
import os
import stat
import time
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from onhook.voice import recordings
from onhook.voice.opus import publish
from onhook.voice.recordings import DAY_MS, Recordings

pytestmark = pytest.mark.unit

NOW = 1_800_000_000_000


def write_wav(path: Path, seconds: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x10\x00\x20\x00" * 8000 * seconds)


def written(path: Path, at_ms: int) -> Path:
    path.write_bytes(b"x")
    os.utime(path, (at_ms / 1000, at_ms / 1000))
    return path


def wavs_in(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*.wav")}


@contextlib.asynccontextmanager
async def running(kept: Recordings) -> AsyncIterator[None]:
    task = asyncio.create_task(kept.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(happened: Callable[[], bool]) -> None:
    """Wait for another thread or process."""
    for _ in range(1500):
        if happened():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen")


def test_the_directory_is_made_when_it_is_needed_and_only_we_can_read_it(tmp_path: Path) -> None:
    kept = Recordings(tmp_path / "a" / "b")
    assert kept.find("call_1") is None
    assert kept.expire(NOW) == 0
    path = kept.path_for("call_1")
    assert path == tmp_path / "a" / "b" / "call_1.wav"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.wav", "x" * 65, "a\n"])
def test_an_id_that_could_lead_elsewhere_names_no_file(tmp_path: Path, name: str) -> None:
    kept = Recordings(tmp_path)
    for use in (kept.path_for, kept.find, kept.delete):
        with pytest.raises(ValueError, match="cannot name a file"):
            use(name)


def test_an_ogg_is_found_before_the_wav_it_was_made_of(tmp_path: Path) -> None:
    kept = Recordings(tmp_path)
    wav = written(kept.path_for("call_1"), NOW)
    assert kept.find("call_1") == wav
    ogg = written(tmp_path / "call_1.ogg", NOW)
    assert kept.find("call_1") == ogg


def test_deleting_takes_all_of_a_call_and_nothing_else(tmp_path: Path) -> None:
    kept = Recordings(tmp_path)
    for name in ("call_1.wav", "call_1.ogg", "call_10.wav"):
        written(tmp_path / name, NOW)
    assert kept.delete("call_1")
    assert not kept.delete("call_1")
    assert [path.name for path in tmp_path.iterdir()] == ["call_10.wav"]


def test_only_what_is_too_old_expires(tmp_path: Path) -> None:
    for name, at in (("old.wav", NOW - 2), ("old.ogg", NOW - 1), ("new.wav", NOW), ("notes.txt", 0)):
        written(tmp_path / name, at)
    assert Recordings(tmp_path).expire(NOW) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"new.wav", "notes.txt"}


def test_a_recording_that_vanishes_while_others_expire_does_not_keep_them(tmp_path: Path) -> None:
    (tmp_path / "between.wav").symlink_to("nowhere")  # listed, and not there when it is looked at
    for name in ("a.wav", "z.wav"):
        written(tmp_path / name, NOW - 1)
    assert Recordings(tmp_path).expire(NOW) == 2
    assert not list(tmp_path.glob("[az].wav"))


async def test_the_sweep_keeps_as_many_days_as_it_is_told(tmp_path: Path) -> None:
    old = written(tmp_path / "old.wav", NOW - 3 * DAY_MS)
    young = written(tmp_path / "young.wav", NOW - DAY_MS)
    async with running(Recordings(tmp_path, keep_days=2, now_ms=lambda: NOW)):
        await until(lambda: not old.exists())
    assert young.exists()


async def test_without_a_limit_nothing_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = written(tmp_path / "old.wav", 0)
    swept: list[int] = []
    monkeypatch.setattr(Recordings, "expire", lambda _, before_ms: swept.append(before_ms))
    async with running(Recordings(tmp_path, keep_days=0)):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert old.exists()
    assert swept == []


async def test_a_finished_recording_becomes_opus_and_lasts_as_long(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    kept = Recordings(tmp_path, to_ogg=True)
    wav = kept.path_for("call_1")
    write_wav(wav, seconds=3)
    size = wav.stat().st_size
    async with running(kept):
        kept.finished("call_1")
        await until((tmp_path / "call_1.ogg").exists)
    ogg = kept.find("call_1")
    assert ogg is not None
    with av.open(str(ogg)) as file:
        stream = file.streams.audio[0]
        samples = sum(frame.samples for frame in file.decode(stream))
        assert (stream.codec_context.name, stream.layout.name) == ("opus", "stereo")
        assert samples / stream.rate == pytest.approx(3, abs=0.05)
    assert ogg.stat().st_size < size / 5


async def test_what_an_earlier_life_left_as_wav_becomes_opus(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name in ("call_1", "call_2"):
        write_wav(tmp_path / f"{name}.wav")
        os.utime(tmp_path / f"{name}.wav", (0, 0))
    (tmp_path / "no call.wav").write_bytes(b"somebody else's")
    kept = Recordings(tmp_path, to_ogg=True)
    speaking = kept.path_for("call_3")
    write_wav(speaking)
    os.utime(speaking, (time.time() + 1, time.time() + 1))
    async with running(kept):
        await until(lambda: all((tmp_path / f"{name}.ogg").exists() for name in ("call_1", "call_2")))
        await until(lambda: not (tmp_path / "call_2.wav").exists())
    assert wavs_in(tmp_path) == {"call_3.wav", "no call.wav"}


async def test_a_recording_that_is_deleted_before_its_turn_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("av")
    kept = Recordings(tmp_path, to_ogg=True)
    write_wav(kept.path_for("call_2"))
    async with running(kept):
        for call_id in ("call_1", "call_2"):
            kept.finished(call_id)
        await until((tmp_path / "call_2.ogg").exists)
    assert not caplog.records


def test_nothing_is_left_of_a_recording_that_is_deleted_while_it_is_encoded(tmp_path: Path) -> None:
    kept = Recordings(tmp_path)
    wav, part, ogg = kept.path_for("call_1"), tmp_path / "call_1.part", tmp_path / "call_1.ogg"
    write_wav(wav)
    part.write_bytes(b"half of it")
    assert kept.delete("call_1")
    assert list(tmp_path.iterdir()) == []
    publish(part, ogg, wav)
    assert list(tmp_path.iterdir()) == []


def test_an_encoded_recording_that_is_deleted_before_its_wav_has_gone_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Recordings(tmp_path)
    wav, part, ogg = kept.path_for("call_1"), tmp_path / "call_1.part", tmp_path / "call_1.ogg"
    write_wav(wav)
    part.write_bytes(b"encoded")
    replace = Path.replace

    def replace_late(path: Path, target: Path) -> Path:
        wav.unlink()  # whoever deletes has taken all that he saw: no OGG is there yet
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_late)
    publish(part, ogg, wav)
    assert list(tmp_path.iterdir()) == []


async def test_a_recording_that_cannot_be_encoded_stays_a_wav_and_the_next_one_is_encoded(tmp_path: Path) -> None:
    pytest.importorskip("av")
    kept = Recordings(tmp_path, to_ogg=True)
    broken = kept.path_for("call_1")
    broken.write_bytes(b"no wav")
    write_wav(kept.path_for("call_2"))
    async with running(kept):
        for call_id in ("call_0", "call_1", "call_2"):
            kept.finished(call_id)
        await until((tmp_path / "call_2.ogg").exists)
    assert kept.find("call_1") == broken
    assert not (tmp_path / "call_0.ogg").exists()


async def test_an_encoder_that_hangs_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recordings, "ENCODE_LIMIT_S", 0.5)
    kept = Recordings(tmp_path, to_ogg=True)
    os.mkfifo(kept.path_for("call_1"))  # nobody writes: who opens it waits
    async with running(kept):
        kept.finished("call_1")
        await until(lambda: "the recording of call call_1 stays a WAV" in caplog.text)
    assert "timed out after 0.5 seconds" in caplog.text
    assert not (tmp_path / "call_1.ogg").exists()
