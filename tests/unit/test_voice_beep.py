"""The beep of an answering machine, and all that is not one."""

import pytest

from onhook.voice.beep import BeepDetector
from tests import speech

pytestmark = pytest.mark.unit

TEXT = "The quick brown fox jumps over the lazy dog while you wait here. Who knew you too? Ooh, moo, no. "


def beeps(mulaw: bytes) -> list[int]:
    """Return when beeps were noticed, in ms."""
    detector = BeepDetector()
    return [20 * (index + 1) for index, frame in enumerate(speech.frames(mulaw)) if detector.hear(frame)]


@pytest.mark.parametrize("hertz", [320, 440, 620, 850, 1000, 1400, 2000, 2450])
@pytest.mark.parametrize("lasts_ms", [140, 200, 400, 800])
@pytest.mark.parametrize("snr_db", [None, 25, 15])
def test_a_beep_is_noticed_once_when_it_ends(hertz: float, lasts_ms: int, snr_db: float | None) -> None:
    sound = speech.quiet(333) + speech.beep(lasts_ms, hertz, level_db=-22) + speech.quiet(500)
    heard = sound if snr_db is None else speech.with_noise(sound, snr_db)
    (noticed_ms,) = beeps(heard)
    assert 0 <= noticed_ms - (333 + lasts_ms) <= 60


def test_a_long_beep_is_a_beep_and_a_longer_tone_is_a_fax() -> None:
    assert len(beeps(speech.beep(1800) + speech.quiet(200))) == 1
    assert beeps(speech.beep(3300, 2100) + speech.quiet(200)) == []


@speech.needs_espeak
def test_a_beep_right_after_the_greeting_is_noticed() -> None:
    greeting = speech.speak("Please leave a message after the tone.")
    (noticed_ms,) = beeps(greeting + speech.beep(300) + speech.quiet(300))
    assert 0 <= noticed_ms - (speech.ms(greeting) + 300) <= 60


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(speech.ringback(2), id="North American ringback"),
        pytest.param(speech.tone(400, 400, 450) + speech.quiet(2000), id="British ringback"),
        pytest.param(speech.tone(1000, 425) + speech.quiet(4000), id="European ringback"),
        pytest.param(speech.busy(), id="busy"),
        pytest.param(speech.tone(3000, 350, 440) + speech.quiet(300), id="dial tone"),
        pytest.param(speech.dtmf("0123456789*#ABCD", 200), id="keys"),
        pytest.param(speech.music(10_000), id="music"),
        pytest.param(speech.noise(5000, -30), id="noise"),
        pytest.param(speech.beep(60) + speech.quiet(300), id="click"),
        pytest.param(speech.beep(400, 200) + speech.quiet(300), id="too low"),
        pytest.param(speech.beep(400, 3000) + speech.quiet(300), id="too high"),
        pytest.param(
            speech.tone(330, 985) + speech.tone(330, 1428) + speech.tone(330, 1777) + speech.quiet(500),
            id="special information tones",
        ),
        pytest.param(speech.mix(speech.beep(400, 700), speech.beep(400, 1600)) + speech.quiet(300), id="two tones"),
    ],
)
def test_other_tones_are_no_beep(sound: bytes) -> None:
    assert beeps(sound) == []


@speech.needs_espeak
@pytest.mark.parametrize("voice", ["en-us", "en-us+f3", "es", "fr-fr+f4"])
def test_speech_is_no_beep(voice: str) -> None:
    assert beeps(speech.speak(TEXT * 2, voice)) == []
