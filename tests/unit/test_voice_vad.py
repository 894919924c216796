"""The vendored model, what it takes for speech, and that nobody pays for it who does not listen."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest

from onhook.voice.silero import MOST_BEHIND, MOST_TOGETHER, SileroModel
from onhook.voice.vad import WINDOW_MS, VadModel, Window, load_vad
from tests import speech

pytestmark = pytest.mark.unit


class BrokenSession:
    """What runs the model, and cannot."""

    def run(self, *_what: object) -> None:
        raise RuntimeError("the session is broken")


@pytest.fixture(scope="module")
def model() -> VadModel:
    return load_vad(lambda _judge: None)


def windows_of(model: VadModel, mulaw: bytes) -> list[Window]:
    windows: list[Window | None] = []
    stream = model.stream(windows.append)
    for frame in speech.frames(mulaw):
        stream.hear(frame)
        model.judge()
    return judged(windows)


def judged(windows: list[Window | None]) -> list[Window]:
    """Return the windows, of which none was lost."""
    assert None not in windows
    return [window for window in windows if window is not None]


def same(windows: list[Window], others: list[Window]) -> bool:
    """Say whether they are the same but for the rounding of another order of sums."""
    return np.allclose(windows, others, atol=1e-4)


def share_of_speech(windows: list[Window]) -> float:
    return sum(window.probability >= 0.5 for window in windows) / len(windows)


def test_the_model_is_the_one_whose_checksum_is_kept_with_it() -> None:
    folder = files("onhook") / "data" / "silero"
    checksum, name = (folder / "SHA256SUMS").read_text().split()
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum


def test_the_model_is_licensed_as_ours_is() -> None:
    assert "MIT License" in (files("onhook") / "data" / "silero" / "LICENSE").read_text()


def test_the_ear_is_imported_without_numpy_and_onnxruntime() -> None:
    code = "import sys, onhook.voice.ear; print(sorted({'numpy', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_a_window_comes_each_32_ms_however_the_audio_is_cut(model: VadModel) -> None:
    mulaw = speech.noise(1000)
    in_frames = windows_of(model, mulaw)
    assert len(in_frames) == 1000 // WINDOW_MS
    at_once: list[Window | None] = []
    model.stream(at_once.append).hear(mulaw)
    for _ in in_frames:
        model.judge()
    assert same(judged(at_once), in_frames)


def test_streams_of_one_model_do_not_hear_each_other(model: VadModel) -> None:
    sounds = [speech.noise(1000), speech.music(1000), speech.ringback(1)[:8000], *[speech.noise(1000, -30)] * 40]
    found: list[list[Window | None]] = [[] for _ in sounds]
    streams = [model.stream(windows.append) for windows in found]
    for frames in zip(*map(speech.frames, sounds), strict=True):
        for stream, frame in zip(streams, frames, strict=True):
            stream.hear(frame)
        model.judge()
        model.judge()
    assert all(same(judged(windows), windows_of(model, sound)) for windows, sound in zip(found, sounds, strict=True))


def test_what_comes_at_the_same_time_is_judged_together_and_soon() -> None:
    asked: list[Callable[[], None]] = []
    model = load_vad(asked.append)
    windows: list[Window | None] = []
    streams = [model.stream(windows.append) for _ in range(MOST_TOGETHER + 1)]
    for stream in streams:
        stream.hear(speech.quiet(WINDOW_MS))
    assert len(asked) == 1
    assert windows == []
    asked.pop()()
    assert len(windows) == MOST_TOGETHER
    asked.pop()()
    assert len(windows) == MOST_TOGETHER + 1
    assert asked == []


def test_a_call_that_is_far_behind_is_not_left_there() -> None:
    asked: list[Callable[[], None]] = []
    model = load_vad(asked.append)
    windows: list[Window | None] = []
    stream = model.stream(windows.append)
    stream.hear(speech.quiet(WINDOW_MS * 3 * MOST_BEHIND))
    asked.pop()()
    assert len(windows) == 2 * MOST_BEHIND + 1
    for _ in range(MOST_BEHIND - 1):
        (judge,) = asked
        asked.clear()
        judge()
    assert len(windows) == 3 * MOST_BEHIND
    assert asked == []


def test_a_call_that_cannot_take_its_window_costs_no_other_call_its_own(
    model: VadModel, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(window: Window | None) -> None:
        raise ValueError(window)

    windows: list[Window | None] = []
    for stream in (model.stream(broken), model.stream(windows.append)):
        stream.hear(speech.quiet(WINDOW_MS))
    model.judge()
    assert len(windows) == 1
    assert "ValueError" in caplog.text


def test_a_run_of_the_model_that_fails_costs_its_own_windows_only_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Callable[[], None]] = []
    model = load_vad(asked.append)
    assert isinstance(model, SileroModel)
    windows: list[Window | None] = []
    stream = model.stream(windows.append)
    with monkeypatch.context() as patch:
        patch.setattr(model, "_session", BrokenSession())
        stream.hear(speech.quiet(WINDOW_MS * 3))
        while asked:
            asked.pop()()
    stream.hear(speech.quiet(WINDOW_MS))
    asked.pop()()
    assert windows[:3] == [None] * 3
    assert len(judged(windows[3:])) == 1
    (logged,) = caplog.records
    assert "the session is broken" in caplog.text
    assert logged.levelname == "ERROR"


def test_levels_are_those_of_the_sound(model: VadModel) -> None:
    assert windows_of(model, speech.tone(320, 1000, level_db=-20))[5].level == pytest.approx(-20, abs=0.2)
    assert windows_of(model, speech.quiet(320))[5].level == pytest.approx(-100, abs=0.1)


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(speech.ringback(1), id="ringback"),
        pytest.param(speech.busy(), id="busy"),
        pytest.param(speech.beep(2000), id="beep"),
        pytest.param(speech.dtmf("0123456789*#"), id="keys"),
        pytest.param(speech.noise(3000, -30), id="noise"),
        pytest.param(speech.music(4000), id="music"),
        pytest.param(speech.quiet(3000), id="silence"),
    ],
)
def test_sounds_of_the_line_are_not_speech(model: VadModel, sound: bytes) -> None:
    assert share_of_speech(windows_of(model, sound)) == 0.0


@speech.needs_espeak
@pytest.mark.parametrize("voice", ["en-us", "en-us+f3", "en-gb+m4", "es", "pt-br"])
@pytest.mark.parametrize("snr_db", [None, 20, 12])
def test_speech_is_speech(model: VadModel, voice: str, snr_db: float | None) -> None:
    clean = speech.speak("Good morning, I would like to know when you are open.", voice)
    heard = clean if snr_db is None else speech.with_noise(clean, snr_db)
    assert share_of_speech(windows_of(model, heard)) >= 0.8


@speech.needs_espeak
def test_speech_is_noticed_as_quickly_after_a_minute_of_digital_silence(model: VadModel) -> None:
    hello = speech.speak("Hello there.")
    delays = []
    for quiet_ms in (1024, 60_000 // WINDOW_MS * WINDOW_MS):
        windows = windows_of(model, speech.quiet(quiet_ms) + hello)[quiet_ms // WINDOW_MS :]
        delays.append(next(index for index, window in enumerate(windows) if window.probability >= 0.5))
    assert delays[1] <= delays[0] + 1 <= 5
