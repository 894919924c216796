"""Encode one WAV as OGG/Opus: `python -m onhook.voice.opus in.wav out.ogg`. Needs the extra `opus`.

A program of its own, because encoding would hold up the audio of live calls. The OGG appears whole or not at all, and
the WAV goes once it is there.
"""

import os
import sys
import wave
from fractions import Fraction
from pathlib import Path

BIT_RATE = 32_000
"""Of both channels together, in bits per second; the WAV has 256,000."""
CHUNK = 8_000
NICENESS = 10


def encode(wav: Path, ogg: Path) -> None:
    """Write `ogg` from `wav`, then delete `wav`. Raises `OSError`, `wave.Error`, `ImportError`."""
    import av  # noqa: PLC0415 (only this program needs it)
    import numpy as np  # noqa: PLC0415

    part = ogg.with_suffix(".part")
    with wave.open(str(wav), "rb") as source, av.open(str(part), "w", format="ogg") as target:
        rate, layout = source.getframerate(), "stereo" if source.getnchannels() == 2 else "mono"
        stream = target.add_stream("libopus", rate=48_000, layout=layout)
        stream.bit_rate = BIT_RATE
        at = 0
        while chunk := source.readframes(CHUNK):
            samples = np.frombuffer(chunk, "<i2").reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            at += frame.samples
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    publish(part, ogg, wav)


def publish(part: Path, ogg: Path, wav: Path) -> None:
    """Put what was encoded in the WAV's place. A recording that is deleted meanwhile, at whatever moment, stays so."""
    try:
        part.replace(ogg)
        wav.unlink()
    except FileNotFoundError:  # one who deletes takes the WAV first, and the OGG last
        part.unlink(missing_ok=True)
        ogg.unlink(missing_ok=True)


def main() -> int:
    """Encode as the command line says."""
    os.nice(NICENESS)
    encode(Path(sys.argv[1]), Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
