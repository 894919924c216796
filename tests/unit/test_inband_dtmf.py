"""Keys heard as tones: every key of any phone, and never one in speech."""

import asyncio
import struct
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.lines.media.dtmf import COLUMNS, DIGITS, KEYPAD, ROWS, tone_frames
from onhook.lines.media.g711 import linear_to_mulaw
from onhook.lines.media.inband import InbandDtmf
from onhook.lines.media.listening import Listening
from onhook.lines.media.pump import MediaPump
from onhook.lines.media.session import SILENCE
from onhook.testing.clock import ManualClock
from tests.speech import beep, busy, espeak_program, music, noise, ringback, speak
from tests.unit.test_pump import TICK, Ear, FarEnd

pytestmark = pytest.mark.unit

RATE = 8000


def keyed(
    digits: str,
    on_ms: int,
    off_ms: int,
    *,
    twist_db: float = 0,
    detuned: float = 0,
    level_db: float = -13,
    snr_db: float = 60,
    seed: int = 0,
) -> bytes:
    """Return keys as a line carries them; the column is `twist_db` louder than the row, both are `level_db`."""
    chance = np.random.default_rng(seed)
    parts = [np.zeros(int(chance.integers(0, 700)))]
    time = np.arange(on_ms * 8) / RATE
    for digit in digits:
        row, column = divmod(KEYPAD.index(digit), 4)
        waves = [
            np.sin(2 * np.pi * f * (1 + detuned) * time + chance.random() * 6) for f in (ROWS[row], COLUMNS[column])
        ]
        gains = [10 ** (sign * twist_db / 40) for sign in (-1, 1)]
        both = waves[0] * gains[0] + waves[1] * gains[1]
        parts += [both / np.sqrt(np.mean(both**2)) * 10 ** (level_db / 20), np.zeros(off_ms * 8)]
    sound = np.concatenate([*parts, np.zeros(RATE // 10)])
    sound += chance.standard_normal(len(sound)) * 10 ** ((level_db - snr_db) / 20)
    return linear_to_mulaw((np.clip(sound, -0.99, 0.99) * 32_767).astype(np.int16).tobytes())


def pressed(mulaw: bytes) -> list[tuple[str, int]]:
    """Return what is found when the sound comes in frames."""
    detector = InbandDtmf()
    return [press for at in range(0, len(mulaw), 160) for press in detector.receive(mulaw[at : at + 160])]


def digits_of(mulaw: bytes) -> str:
    return "".join(digit for digit, _ in pressed(mulaw))


keys = st.text(DIGITS, min_size=1, max_size=8)


@given(keys, st.integers(0, 99))
def test_short_keys_are_found_with_short_pauses(digits: str, seed: int) -> None:
    assert digits_of(keyed(digits, 45, 45, seed=seed)) == digits


@given(keys, st.floats(-6, 6), st.floats(-0.015, 0.015), st.sampled_from([12, 20, 40]), st.integers(0, 99))
@settings(max_examples=60)
def test_keys_are_found_in_noise_with_twist_and_out_of_tune(
    digits: str, twist_db: float, detuned: float, snr_db: float, seed: int
) -> None:
    sound = keyed(digits, 70, 60, twist_db=twist_db, detuned=detuned, snr_db=snr_db, seed=seed)
    assert digits_of(sound) == digits


@pytest.mark.parametrize("level_db", [-33, -20, -8])
def test_faint_and_loud_keys_are_found(level_db: float) -> None:
    assert digits_of(keyed(DIGITS, 60, 60, level_db=level_db)) == DIGITS


def test_our_own_tones_are_understood() -> None:
    sound = b"".join(b"".join(tone_frames(digit)) + b"\xff" * 320 for digit in DIGITS)
    assert digits_of(sound + b"\xff" * 320) == DIGITS


def test_a_press_is_told_once_when_it_is_over_with_its_length() -> None:
    ((digit, duration_ms),) = pressed(keyed("7", 1000, 100))
    assert digit == "7"
    assert abs(duration_ms - 1000) <= 25


@pytest.mark.parametrize("detuned", [-0.035, 0.035])
def test_tones_too_far_off_are_no_keys(detuned: float) -> None:
    assert pressed(keyed(DIGITS, 100, 100, detuned=detuned)) == []


@pytest.mark.parametrize("on_ms", [5, 10, 15])
def test_a_click_is_no_key(on_ms: int) -> None:
    assert pressed(keyed(DIGITS, on_ms, 100)) == []


def test_one_tone_alone_or_two_of_one_group_are_no_key() -> None:
    time = np.arange(RATE) / RATE
    for hertz in ((770,), (1336,), (697, 941), (1209, 1633), (350, 440)):
        waves = sum(np.sin(2 * np.pi * f * time) for f in hertz) * 5000
        assert pressed(linear_to_mulaw(np.asarray(waves).astype(np.int16).tobytes())) == [], hertz


def test_the_sounds_of_a_line_are_no_keys() -> None:
    for sound in (ringback(), busy(), beep(), beep(1000, 1336), music(20_000), noise(10_000, -15), b"\xff" * 8000):
        assert pressed(sound) == []


TEXTS = (
    "The quick brown fox jumps over the lazy dog. One, two, three, four, five, six, seven, eight, nine, zero.",
    "Thank you for calling Acme dental, how can I help you? Please leave a message after the tone.",
    "Aaah, ooh, eee, hello, hello? Yes. No. Oh well, I am on the phone right now, could you call me again at noon?",
)


def test_no_speech_is_a_key() -> None:
    espeak_program()
    voices = ("en-us", "en-us+f3", "en-gb+m7", "en-us+f5", "es", "pt", "en-us+m1")
    sounds = [
        speak(text, voice=voice, speed=speed)
        for text in TEXTS
        for voice, speed in zip(voices, cycle((130, 160, 190)), strict=False)
    ]
    assert sum(map(len, sounds)) > 90 * RATE
    assert [pressed(sound) for sound in sounds] == [[]] * len(sounds)


async def heard_over_rtp(
    clock: ManualClock, ear: Ear, sound: bytes, *, dtmf_payload: int | None, listens: bool
) -> None:
    """Let a far end say `sound` to a session in packets of 20 ms, and press 9 as an event at its end."""
    pump, far = MediaPump(clock), FarEnd()
    await pump.start()
    session = pump.open("call_1", ear.on_audio, ear.on_dtmf, ear.on_mark)
    session.set_remote(far.media(dtmf_payload=dtmf_payload))
    if listens:
        session.listen(lambda _tick: None)
    frames = [sound[at : at + 160] for at in range(0, len(sound) - 159, 160)]
    for number, frame in enumerate(frames):
        far.say(session, number, frame)
        async with asyncio.timeout(3):
            await ear.until(lambda: len(ear.frames) == number + 1)  # noqa: B023 - done in the turn
        clock.advance(TICK)
    clock.advance(10 * TICK)
    found = len(ear.keys)
    far.say(session, len(frames), struct.pack("!BBH", 9, 0x8A, 1280), kind=101)
    await ear.until(lambda: len(ear.keys) > found)
    await pump.close()
    far.sock.close()


@pytest.mark.parametrize(
    ("dtmf_payload", "listens", "found"), [(None, True, "159"), (101, True, "9"), (None, False, "9")]
)
async def test_tones_count_only_where_the_peer_has_no_events_and_somebody_listens(
    dtmf_payload: int | None, listens: bool, found: str
) -> None:
    ear = Ear()
    await heard_over_rtp(ManualClock(), ear, keyed("15", 100, 100), dtmf_payload=dtmf_payload, listens=listens)
    assert "".join(digit for digit, _ in ear.keys) == found


def test_a_lost_packet_does_not_make_two_presses_of_one() -> None:
    found: list[str] = []
    listening = Listening(lambda _tick: None, lambda digit, _ms: found.append(digit))
    listening.expect(held=False, tones=True)
    sound = keyed("5", 200, 100)
    for number in range(len(sound) // 160 + 10):
        frame = sound[number * 160 : number * 160 + 160]
        if frame and number not in (5, 9):
            listening.jitter.push(1, number, number * 160, frame)
        listening.tick(SILENCE)
        listening.report()
    assert found == ["5"]


def test_who_sends_events_is_not_searched_for_tones_whatever_its_sdp_says() -> None:
    found: list[str] = []
    listening = Listening(lambda _tick: None, lambda digit, _ms: found.append(digit))
    listening.expect(held=False, tones=True)
    listening.has_events()
    listening.expect(held=False, tones=True)
    sound = keyed("5", 200, 100)
    for number in range(len(sound) // 160 + 10):
        listening.jitter.push(1, number, number * 160, sound[number * 160 : number * 160 + 160])
        listening.tick(SILENCE)
        listening.report()
    assert found == []
