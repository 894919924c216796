"""What the scripted agent speaks with: espeak-ng, prompts that ship with us, tones."""

import asyncio
import math
import threading
from array import array
from pathlib import Path

import numpy as np
import pytest

from onhook.agents.scripted import speech as speech_module
from onhook.agents.scripted.prompts import PROMPTS, stored_names, stored_prompt
from onhook.agents.scripted.resample import resample
from onhook.agents.scripted.speech import MISSING, Prompt, Synthesiser, choose_voice, tones
from onhook.lines.media.g711 import mulaw_to_linear
from tests.speech import espeak_program

pytestmark = pytest.mark.unit

VOICES = frozenset({"en-us", "en-gb", "es", "pt-br", "pt", "fr"})


def level(mulaw: bytes) -> float:
    """Return the root mean square, full scale is 32768."""
    samples = array("h", mulaw_to_linear(mulaw))
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))


def program(directory: Path, body: str) -> str:
    """Make a program; return its path."""
    path = directory / "espeak"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


# --- sample rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hertz", "gain"), [(300, 1.0), (1000, 1.0), (3000, 1.0), (4400, 0.0), (7000, 0.0)])
def test_a_tone_below_half_the_rate_passes_and_one_above_it_does_not(hertz: int, gain: float) -> None:
    wave = np.sin(2 * np.pi * hertz * np.arange(22_050) / 22_050)
    out = resample(wave, 22_050, 8000)
    assert len(out) == 8000
    assert np.sqrt(np.mean(out[400:-400] ** 2) * 2) == pytest.approx(gain, abs=0.02)


def test_a_tone_keeps_its_place_in_time() -> None:
    times = np.arange(4000) / 8000
    out = resample(np.sin(2 * np.pi * 500 * times), 8000, 16_000)
    expected = np.sin(2 * np.pi * 500 * np.arange(8000) / 16_000)
    assert np.max(np.abs(out - expected)[400:-400]) < 0.02


# --- prompts that ship --------------------------------------------------------------------------------


def test_the_shipped_prompts_are_those_of_the_texts() -> None:
    files = {str(path.relative_to(PROMPTS)) for path in PROMPTS.glob("*/*.ulaw")}
    assert files == set(stored_names().values()), "run `python -m onhook.agents.scripted.prompts`"


def test_each_shipped_prompt_is_speech_as_long_as_its_text() -> None:
    for language, text in stored_names():
        audio = stored_prompt(language, text)
        assert audio is not None
        assert 25 < len(audio) / 8 / len(text) < 150, text
        assert level(audio) > 500, text


def silent_end_ms(mulaw: bytes) -> float:
    """Return how long the digital silence at the end is."""
    return (len(mulaw) - len(mulaw.rstrip(b"\xff\x7f"))) / 8


def test_a_shipped_prompt_ends_where_its_last_word_does() -> None:
    for language, text in stored_names():
        audio = stored_prompt(language, text)
        assert audio is not None
        assert 50 <= silent_end_ms(audio) <= 70, text


async def test_a_shipped_prompt_needs_no_program() -> None:
    synthesiser = Synthesiser(stored_prompt, "no-such-program")
    assert await synthesiser.speak(Prompt("Goodbye.", "en-US", "a voice of some cloud")) == stored_prompt(
        "en", "Goodbye."
    )


@pytest.mark.parametrize("prompt", [Prompt("Goodbye.", "en-US", "en-us+f3"), Prompt("Goodbye.", "en-US", None, 1.3)])
async def test_a_shipped_prompt_is_not_for_another_voice_or_speed(prompt: Prompt) -> None:
    synthesiser = Synthesiser(stored_prompt, espeak_program())
    assert await synthesiser.speak(prompt) not in (stored_prompt("en", "Goodbye."), tones())


# --- espeak-ng ----------------------------------------------------------------------------------------


async def test_a_text_is_spoken_in_its_language_voice_and_speed() -> None:
    synthesiser = Synthesiser(None, espeak_program())
    text = "One hundred and twenty."
    usual = await synthesiser.speak(Prompt(text, "en-US"))
    spoken = [
        usual,
        await synthesiser.speak(Prompt(text, "es")),
        await synthesiser.speak(Prompt(text, "en-US", "en-us+f3")),
        await synthesiser.speak(Prompt(text, "en-US", None, 1.5)),
    ]
    assert len(set(spoken)) == 4
    assert all(level(audio) > 500 for audio in spoken)
    assert len(spoken[3]) < 0.8 * len(usual)


@pytest.mark.parametrize("text", ["Hello.", "Please hold the line; we are looking for somebody.", "Yes?"])
async def test_a_text_that_is_spoken_ends_where_its_last_word_does(text: str) -> None:
    audio = await Synthesiser(None, espeak_program()).speak(Prompt(text, "en-US"))
    assert 50 <= silent_end_ms(audio) <= 70
    assert level(audio[-1600:]) > 100


async def test_a_text_without_a_sound_is_spoken_as_a_moment_of_silence() -> None:
    audio = await Synthesiser(None, espeak_program()).speak(Prompt(" \n ", "en-US"))
    assert silent_end_ms(audio) == len(audio) / 8 <= 70


async def test_a_text_is_no_option_and_no_file() -> None:
    synthesiser = Synthesiser(None, espeak_program())
    assert await synthesiser.speak(Prompt("--version -f /etc/passwd", "en")) != tones()


@pytest.mark.parametrize(
    ("prompt", "voice"),
    [
        (Prompt("", "en-US"), "en-us"),
        (Prompt("", "en-GB"), "en-gb"),
        (Prompt("", "en-AU"), "en-us"),
        (Prompt("", "pt"), "pt"),
        (Prompt("", "pt-AO"), "pt-br"),
        (Prompt("", "fr-CA"), "fr"),
        (Prompt("", "xx"), "en-us"),
        (Prompt("", "es", "EN-GB"), "en-gb"),
        (Prompt("", "es", "en-gb+f3"), "en-gb+f3"),
        (Prompt("", "es", "en-gb+../x"), "es"),
        (Prompt("", "es", "../../etc/passwd"), "es"),
        (Prompt("", "es", "11labs-Adrian"), "es"),
    ],
)
def test_a_voice_is_chosen_from_those_that_there_are(prompt: Prompt, voice: str) -> None:
    assert choose_voice(prompt, VOICES) == voice


async def test_a_prompt_that_many_calls_want_is_spoken_once(tmp_path: Path) -> None:
    counted = program(tmp_path, f'echo run >> {tmp_path}/runs; exec {espeak_program()} "$@"')
    synthesiser = Synthesiser(None, counted)
    prompt = Prompt("Hello there.", "en")
    spoken = await asyncio.gather(*(synthesiser.speak(prompt) for _ in range(20)))
    assert len(set(spoken)) == 1
    assert (tmp_path / "runs").read_text().splitlines() == ["run"] * 2, "one for the voices, one for the text"
    assert sum(thread.name.startswith("espeak") for thread in threading.enumerate()) <= 2
    synthesiser.close()


async def test_a_call_that_ends_while_its_prompt_is_spoken_takes_it_from_no_other() -> None:
    synthesiser = Synthesiser(None, espeak_program())
    prompt = Prompt("A prompt of two calls.", "en")
    first, second = (asyncio.ensure_future(synthesiser.speak(prompt)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second != tones()


async def test_what_was_spoken_is_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counted = program(tmp_path, f'echo "$5" >> {tmp_path}/runs; exec {espeak_program()} "$@"')
    synthesiser = Synthesiser(None, counted)
    size = len(await synthesiser.speak(Prompt("Number 1.", "en")))
    monkeypatch.setattr(speech_module, "_KEPT_BYTES", size * 3)
    for number in range(2, 7):
        await synthesiser.speak(Prompt(f"Number {number}.", "en"))
    runs = tmp_path / "runs"
    before = len(runs.read_text().splitlines())
    await synthesiser.speak(Prompt("Number 6.", "en"))
    assert len(runs.read_text().splitlines()) == before
    await synthesiser.speak(Prompt("Number 1.", "en"))
    assert len(runs.read_text().splitlines()) == before + 1


# --- in need ------------------------------------------------------------------------------------------


async def test_without_espeak_other_texts_are_three_tones_and_the_components_say_so() -> None:
    synthesiser = Synthesiser(stored_prompt, "no-such-program")
    assert await synthesiser.speak(Prompt("Hello Ada.", "en")) == tones()
    assert synthesiser.component() == MISSING
    assert Synthesiser(stored_prompt, espeak_program()).component() == "ok"


def test_the_tones_rise_and_are_no_keys() -> None:
    samples = np.frombuffer(mulaw_to_linear(tones()), np.int16).astype(np.float64)
    peaks = [int(np.argmax(np.abs(np.fft.rfft(part, 8000)))) for part in np.split(samples, 3)]
    assert peaks == [523, 659, 784]


@pytest.mark.parametrize("body", ["exit 1", "echo nonsense", "cat >/dev/null", "sleep 20"])
async def test_a_program_that_fails_or_hangs_gives_tones_and_is_tried_again(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech_module, "_RENDER_TIMEOUT_S", 0.3)
    path = program(tmp_path, body)
    synthesiser = Synthesiser(None, path)
    prompt = Prompt("Hello Ada.", "en")
    assert await synthesiser.speak(prompt) == tones()
    program(tmp_path, f'exec {espeak_program()} "$@"')
    monkeypatch.setattr(speech_module, "_RENDER_TIMEOUT_S", 5)
    assert await synthesiser.speak(prompt) != tones()


async def test_a_text_whose_speaker_left_before_the_program_failed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech_module, "_RENDER_TIMEOUT_S", 0.3)
    path = program(tmp_path, "sleep 20")
    synthesiser = Synthesiser(None, path)
    prompt = Prompt("Hello Ada.", "en")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(synthesiser.speak(prompt), 0.05)
    assert await asyncio.to_thread(synthesiser._kept[prompt].result) is None
    program(tmp_path, f'exec {espeak_program()} "$@"')
    monkeypatch.setattr(speech_module, "_RENDER_TIMEOUT_S", 5)
    assert await synthesiser.speak(prompt) != tones()
