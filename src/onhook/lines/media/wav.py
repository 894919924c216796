"""WAV files to mu-law, without resampling."""

import wave
from pathlib import Path

from onhook.lines.media.g711 import linear_to_mulaw

GREETING = Path(__file__).parents[2] / "data" / "greeting.wav"
"""Four seconds of speech for demos and tests."""


def load_mulaw(path: Path | str) -> bytes:
    """Return a file's audio as mu-law at 8 kHz.

    The file must be 16-bit mono PCM at 8000 Hz; anything else raises `ValueError` and says how to convert it.
    """
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), file.getsampwidth() * 8, file.getframerate())
            if form != (1, 16, 8000):
                raise ValueError(
                    f"{path}: {form[0]} channel(s), {form[1]} bit, {form[2]} Hz; wanted 1 channel, 16 bit, 8000 Hz: "
                    f"convert it with `sox {path} -r 8000 -c 1 -b 16 out.wav`"
                )
            return linear_to_mulaw(file.readframes(file.getnframes()))
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: not a PCM WAV file ({error})") from error
