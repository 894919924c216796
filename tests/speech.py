"""Sounds of a phone line for tests: espeak-ng speech, noise, tones. All audio is mu-law at 8 kHz, levels are dBFS RMS.

Speech is trimmed of the silence that espeak-ng puts around it, so its first and last sample are the true onset and end.
"""

import os
import shutil
import subprocess
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from onhook.lines.media.g711 import linear_to_mulaw, mulaw_to_linear

Samples = npt.NDArray[np.float64]
"""Linear samples, full scale is 1."""

RATE = 8000
FRAME = 160
SPEECH_DB = -22.0
"""The usual level of speech on a phone line."""

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None and not os.environ.get("CI"),
    reason="espeak-ng is not installed (Debian package espeak-ng)",
)
"""Marks tests that speak. In CI they run, and fail where the program is missing."""


def espeak_program() -> str:
    """Return the path of espeak-ng; skip the test where it is missing, or fail it in CI."""
    path = shutil.which("espeak-ng")
    if path is None and os.environ.get("CI"):
        pytest.fail("espeak-ng is missing: CI must install the Debian package espeak-ng")
    if path is None:
        pytest.skip("espeak-ng is not installed (Debian package espeak-ng)")
    return path


# --- speech ---------------------------------------------------------------------------------------------


@cache
def speak(text: str, voice: str = "en-us", speed: int = 160, level_db: float = SPEECH_DB) -> bytes:
    """Say `text` as a phone line carries it: 300 to 3400 Hz, no silence around it. `speed` is in words per minute."""
    wav = subprocess.run(
        [espeak_program(), "-v", voice, "-s", str(speed), "--stdout", "--", text],
        check=True,
        capture_output=True,
        timeout=20,
    ).stdout
    rate = int.from_bytes(wav[24:28], "little")
    pcm = np.frombuffer(wav[44 : len(wav) // 2 * 2], dtype="<i2").astype(np.float64) / 32768
    return to_mulaw(_at_level(_trimmed(_phone_band(pcm, rate)), level_db))


def talk(*parts: str | int, voice: str = "en-us", speed: int = 160, level_db: float = SPEECH_DB) -> bytes:
    """Say texts with pauses (ms) between them: `talk("Hi.", 300, "This is Anna.")`."""
    return b"".join(quiet(part) if isinstance(part, int) else speak(part, voice, speed, level_db) for part in parts)


def _phone_band(pcm: Samples, rate: int) -> Samples:
    """Resample to 8 kHz through the spectrum and keep 300 to 3400 Hz, with slopes that do not ring."""
    pcm = np.concatenate((pcm, np.zeros(rate // 2)))
    length = round(len(pcm) * RATE / rate)
    spectrum = np.fft.rfft(pcm)[: length // 2 + 1]
    hertz = np.arange(len(spectrum)) * RATE / length
    gain = np.interp(hertz, [100, 300, 3400, 3700], [0, 1, 1, 0])
    return np.fft.irfft(spectrum * gain, length) * length / len(pcm)


def _trimmed(pcm: Samples, below_loudest_db: float = 30.0) -> Samples:
    """Cut off what is quieter, in steps of 10 ms."""
    step = RATE // 100
    power = np.mean(pcm[: len(pcm) // step * step].reshape(-1, step) ** 2, axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-below_loudest_db / 10))
    return pcm[loud[0] * step : (loud[-1] + 1) * step]


# --- quiet, noise, tones --------------------------------------------------------------------------------


def quiet(ms: int) -> bytes:
    """Digital silence."""
    return b"\xff" * (ms * RATE // 1000)


def noise(ms: int, level_db: float = -50.0, seed: int = 1) -> bytes:
    """White noise, the same for the same seed."""
    return to_mulaw(_at_level(np.random.default_rng(seed).standard_normal(ms * RATE // 1000), level_db))


def tone(ms: int, *hertz: float, level_db: float = -16.0) -> bytes:
    """A tone of one or more frequencies, all as loud."""
    seconds = np.arange(ms * RATE // 1000) / RATE
    waves = [np.sin(2 * np.pi * frequency * seconds) for frequency in hertz]
    return to_mulaw(_at_level(np.sum(waves, axis=0), level_db))


def ringback(rings: int = 2) -> bytes:
    """North American ringback: 440 and 480 Hz, 2 s on, 4 s off."""
    return (tone(2000, 440, 480, level_db=-19) + quiet(4000)) * rings


def busy(ms: int = 4000) -> bytes:
    """North American busy tone: 480 and 620 Hz, half a second on, half off."""
    return ((tone(500, 480, 620, level_db=-21) + quiet(500)) * (ms // 1000 + 1))[: ms * RATE // 1000]


def beep(ms: int = 400, hertz: float = 1000.0, level_db: float = -16.0) -> bytes:
    """The beep of an answering machine."""
    return tone(ms, hertz, level_db=level_db)


def dtmf(digits: str, on_ms: int = 100, off_ms: int = 100, level_db: float = -13.0) -> bytes:
    """Keys as tones (ITU-T Q.23), a pause after each."""
    rows, columns, pad = (697, 770, 852, 941), (1209, 1336, 1477, 1633), "123A456B789C*0#D"
    places = [divmod(pad.index(digit), 4) for digit in digits]
    return b"".join(tone(on_ms, rows[r], columns[c], level_db=level_db) + quiet(off_ms) for r, c in places)


def music(ms: int, level_db: float = -20.0, seed: int = 7) -> bytes:
    """Music on hold, roughly: three plucked voices with overtones, a new chord each half second."""
    random = np.random.default_rng(seed)
    scale = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    seconds = np.arange(RATE // 2) / RATE
    chords = []
    for _ in range(ms // 500 + 1):
        notes = random.choice(scale, 3, replace=False) * random.choice([1, 2])
        partials = [np.sin(2 * np.pi * note * k * seconds) / k**1.5 for note in notes for k in (1, 2, 3, 4)]
        chords.append(np.sum(partials, axis=0) * np.exp(-3 * seconds))
    return to_mulaw(_at_level(np.concatenate(chords)[: ms * RATE // 1000], level_db))


# --- mixing ---------------------------------------------------------------------------------------------


def frames(mulaw: bytes) -> list[bytes]:
    """Cut into frames of 20 ms, the last one filled up with silence."""
    padded = mulaw + b"\xff" * (-len(mulaw) % FRAME)
    return [padded[start : start + FRAME] for start in range(0, len(padded), FRAME)]


def ms(mulaw: bytes) -> int:
    """Return how long it takes."""
    return len(mulaw) * 1000 // RATE


def louder(mulaw: bytes, db: float) -> bytes:
    """Change the level; a negative `db` makes it quieter."""
    return to_mulaw(to_linear(mulaw) * 10 ** (db / 20))


def mix(*sounds: bytes) -> bytes:
    """Add sounds that begin together; as long as the longest."""
    total = np.zeros(max(map(len, sounds)))
    for sound in sounds:
        total[: len(sound)] += to_linear(sound)
    return to_mulaw(total)


def with_noise(mulaw: bytes, snr_db: float, seed: int = 1) -> bytes:
    """Add white noise all along, `snr_db` below the level of what is not silent in `mulaw`."""
    signal = to_linear(mulaw)
    level = 20 * np.log10(np.sqrt(np.mean(signal[np.abs(signal) > 1e-3] ** 2)))
    return to_mulaw(signal + _at_level(np.random.default_rng(seed).standard_normal(len(signal)), level - snr_db))


def level_db(mulaw: bytes) -> float:
    """Return the level of it all; -100 for digital silence."""
    return float(20 * np.log10(max(1e-5, np.sqrt(np.mean(to_linear(mulaw) ** 2)))))


def to_linear(mulaw: bytes) -> Samples:
    """Decode to samples whose full scale is 1."""
    return np.frombuffer(mulaw_to_linear(mulaw), dtype=np.int16) / 32768


def to_mulaw(samples: Samples) -> bytes:
    """Encode samples whose full scale is 1; clips."""
    return linear_to_mulaw(np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16).tobytes())


def _at_level(samples: Samples, db: float) -> Samples:
    """Scale to a level, measured over all samples."""
    return samples * float(10 ** (db / 20) / np.sqrt(np.mean(samples**2)))
