"""Levels, the noise floor and the bound of the echo, on tones and noise."""

import pytest

from onhook.voice.echo import EchoBar, level_of
from onhook.voice.levels import NoiseFloor
from tests import speech

pytestmark = pytest.mark.unit

QUIET = speech.quiet(20)


def bar_after(pairs: list[tuple[bytes, bytes]]) -> float:
    bar = EchoBar()
    for sent, heard in pairs:
        bar.hear(sent, heard)
    return bar.level


def bursts(ms: int, level_db: float) -> bytes:
    """Noise that comes and goes as syllables do."""
    return b"".join(speech.noise(160, level_db, seed) + speech.quiet(80) for seed in range(ms // 240))


def test_levels_are_relative_to_full_scale() -> None:
    assert level_of(speech.tone(20, 1000, level_db=-20)) == pytest.approx(-20, abs=0.2)
    assert level_of(QUIET) == level_of(speech.quiet(40)) == -100


def test_noise_that_goes_on_is_not_loud_and_what_stands_out_of_it_is() -> None:
    floor = NoiseFloor()
    for _ in range(100):
        floor.hear(-40, silent=True)
    assert not floor.loud(-39)
    assert floor.loud(-35)


def test_voice_does_not_raise_the_floor() -> None:
    floor = NoiseFloor()
    floor.hear(-60, silent=True)
    for _ in range(100):
        floor.hear(-20, silent=False)
    assert floor.loud(-50)


def test_the_floor_falls_at_once_where_the_line_becomes_quiet() -> None:
    floor = NoiseFloor()
    floor.hear(-45, silent=True)
    for _ in range(5):
        floor.hear(-70, silent=True)
    assert floor.loud(-60)


def test_speech_in_the_first_window_is_loud() -> None:
    assert NoiseFloor().loud(-25)


def test_nothing_is_asked_of_a_sound_while_nothing_is_sent() -> None:
    assert bar_after([(QUIET, speech.noise(20, -20))] * 50) == -100


def test_the_bar_is_high_while_nothing_is_known_of_the_line() -> None:
    assert bar_after([(speech.noise(20, -20), QUIET)]) >= -25


def test_a_line_without_echo_lets_quiet_callers_pass() -> None:
    sent = speech.frames(bursts(3000, -20))
    assert bar_after([(frame, QUIET) for frame in sent]) <= -45


@pytest.mark.parametrize("delay_ms", [0, 20, 50, 210, 430])
@pytest.mark.parametrize("loss_db", [8, 14, 24])
def test_the_bar_settles_above_the_echo_and_not_far_above(delay_ms: int, loss_db: float) -> None:
    sent = bursts(6000, -20)
    echo = speech.quiet(delay_ms) + speech.louder(sent, -loss_db)
    bar = EchoBar()
    over, height = 0, 0.0
    for index, (ours, theirs) in enumerate(zip(speech.frames(sent), speech.frames(echo), strict=False)):
        bar.hear(ours, theirs)
        over += level_of(theirs) > bar.level
        height = bar.level if index > 200 else -100.0
    assert over == 0
    assert -20 - loss_db <= height <= -20 - loss_db + 8


def test_doubt_makes_the_bar_high_again() -> None:
    bar = EchoBar()
    for frame in speech.frames(bursts(3000, -20)):
        bar.hear(frame, QUIET)
    bar.doubt()
    for frame in speech.frames(speech.noise(80, -20)):
        bar.hear(frame, QUIET)
    assert bar.level >= -26


def test_a_caller_who_talks_with_us_for_long_does_not_raise_the_bar_above_us() -> None:
    together = [(speech.noise(20, -20), speech.noise(20, -14))] * 1500
    assert bar_after(together) <= -20


def test_the_bar_is_down_half_a_second_after_we_fell_silent() -> None:
    talk = [(speech.noise(20, -20), QUIET)] * 10
    assert bar_after([*talk, *[(QUIET, QUIET)] * 20]) > -100
    assert bar_after([*talk, *[(QUIET, QUIET)] * 30]) == -100
