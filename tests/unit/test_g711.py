"""G.711 against the values of the standard, and the greeting that ships with onhook."""

import itertools
import wave
from array import array
from pathlib import Path

import pytest

from onhook.lines.media.g711 import (
    ALAW_TO_MULAW,
    MULAW_TO_ALAW,
    alaw_to_linear,
    linear_to_alaw,
    linear_to_mulaw,
    mulaw_to_linear,
)
from onhook.lines.media.wav import GREETING, load_mulaw

pytestmark = pytest.mark.unit

ALL = bytes(range(256))
SAMPLES = array("h", range(-32768, 32768))


def linear(data: bytes) -> list[int]:
    return list(array("h", data))


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xFF, 0), (0x80, 32124), (0x00, -32124), (0xFE, 8), (0x8F, 16764), (0xF0, 120), (0xEF, 132), (0x0F, -16764)],
)
def test_mulaw_has_the_values_of_the_standard(code: int, sample: int) -> None:
    assert linear(mulaw_to_linear(bytes([code]))) == [sample]


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0xDA, 248), (0xC5, 264), (0x80, 5504)],
)
def test_alaw_has_the_values_of_the_standard(code: int, sample: int) -> None:
    assert linear(alaw_to_linear(bytes([code]))) == [sample]


def test_each_code_survives_a_round_trip() -> None:
    """Mu-law has two zeros; the negative one becomes the positive."""
    assert linear_to_mulaw(mulaw_to_linear(ALL)) == ALL.replace(b"\x7f", b"\xff")
    assert linear_to_alaw(alaw_to_linear(ALL)) == ALL


def test_each_sample_becomes_the_nearest_value_that_mulaw_has() -> None:
    values = sorted(set(linear(mulaw_to_linear(ALL))))
    decoded = linear(mulaw_to_linear(linear_to_mulaw(SAMPLES.tobytes())))
    assert_near(decoded, values)


def test_each_sample_becomes_the_nearest_value_that_alaw_has() -> None:
    values = sorted(set(linear(alaw_to_linear(ALL))))
    decoded = linear(alaw_to_linear(linear_to_alaw(SAMPLES.tobytes())))
    assert_near(decoded, values)


def assert_near(decoded: list[int], values: list[int]) -> None:
    """No sample is further from its code than half of the step around it; beyond the ends the last value holds."""
    gaps = {value: max(b - a for a, b in itertools.pairwise(near)) for value, near in neighbours(values)}
    for sample, value in zip(SAMPLES, decoded, strict=True):
        inside = min(max(sample, values[0]), values[-1])
        assert abs(inside - value) <= gaps[value] / 2 + 1, sample


def neighbours(values: list[int]) -> list[tuple[int, list[int]]]:
    return [(value, values[max(0, index - 1) : index + 2]) for index, value in enumerate(values)]


def test_the_two_laws_translate_into_each_other_through_linear() -> None:
    assert ALL.translate(MULAW_TO_ALAW) == linear_to_alaw(mulaw_to_linear(ALL))
    assert ALL.translate(ALAW_TO_MULAW) == linear_to_mulaw(alaw_to_linear(ALL))


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="item size"):
        linear_to_mulaw(b"\x00\x00\x00")


def test_the_greeting_is_four_seconds_of_speech() -> None:
    mulaw = load_mulaw(GREETING)
    samples = linear(mulaw_to_linear(mulaw))
    assert 3.0 <= len(mulaw) / 8000 <= 5.0
    assert 20_000 <= max(map(abs, samples)) <= 25_000


@pytest.mark.parametrize(("channels", "width", "rate"), [(2, 2, 8000), (1, 1, 8000), (1, 2, 16000)])
def test_another_kind_of_wav_is_refused_with_the_way_out(tmp_path: Path, channels: int, width: int, rate: int) -> None:
    path = tmp_path / "other.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(channels * width * 10))
    with pytest.raises(ValueError, match="wanted 1 channel, 16 bit, 8000 Hz: convert it with `sox"):
        load_mulaw(path)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no wave at all, only text"])
def test_what_is_no_wav_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a PCM WAV file"):
        load_mulaw(path)
