"""Text to speech: espeak-ng as a program, else three tones.

espeak-ng is licensed under the GPL, so it is only ever run as a program of its own. It runs in a pool of two threads:
starting processes from the event loop would stall it.
"""

import asyncio
import logging
import math
import shutil
import subprocess
from array import array
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, cached_property
from typing import NamedTuple

from onhook.lines.media.g711 import linear_to_mulaw

logger = logging.getLogger(__name__)

MISSING = "espeak-ng is not installed: only built-in prompts are spoken, for other texts there are three tones"

_NORMAL_WPM, _SLOWEST_WPM, _FASTEST_WPM = 160, 80, 400
_RENDER_TIMEOUT_S = 3.0
_SPEAK_TIMEOUT_S = 5.0
_KEPT_BYTES = 16 * 1024 * 1024
_WAV_HEADER = 44
_WAV_RATE = slice(24, 28)
_SILENT = 8
"""The loudest sample (16 bit) that mu-law makes silence of."""
_END = 8 * 60
"""Samples that are kept of the silence behind the last word. espeak-ng makes it 0.35 s long: as much later the agent
would know that it was heard."""
_TONES_HZ = (523, 659, 784)
_TONE_MS = 150
_VOICES = {"en": "en-us", "es": "es", "pt": "pt-br"}

Stored = Callable[[str, str], bytes | None]
"""Finds the audio that ships with us for a language and a text."""


class Prompt(NamedTuple):
    """A text and how it is to be spoken. `voice` is an espeak-ng voice; one that it does not have is not used."""

    text: str
    language: str
    voice: str | None = None
    speed: float = 1.0


class Synthesiser:
    """Speaks prompts as mu-law at 8 kHz, and keeps what it has spoken: prompts come again.

    All but `render` is to be used from one event loop.
    """

    def __init__(self, stored: Stored | None, program: str = "espeak-ng") -> None:
        self._stored = stored
        self._program = shutil.which(program)
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="espeak")
        self._kept: OrderedDict[Prompt, Future[bytes | None]] = OrderedDict()

    def component(self) -> str:
        """Say `ok`, or what is missing."""
        return "ok" if self._program else MISSING

    async def warm(self) -> None:
        """Speak something, unheard: loads numpy, tables and the list of voices."""
        await asyncio.wrap_future(self._pool.submit(self.render, Prompt("Hello, hello.", "en")))

    async def speak(self, prompt: Prompt) -> bytes:
        """Return the prompt's audio. Never fails: in need it is three tones. Takes milliseconds, 5 s at most."""
        future = self._kept.get(prompt)
        if future is None or (future.done() and future.result() is None):  # Nobody was left to hear of its failure.
            future = self._kept[prompt] = self._pool.submit(self.render, prompt)
        self._kept.move_to_end(prompt)
        audio = None
        try:
            async with asyncio.timeout(_SPEAK_TIMEOUT_S):
                audio = await asyncio.shield(asyncio.wrap_future(future)) if not future.done() else future.result()
        except TimeoutError:
            logger.warning("espeak-ng is too slow")
        if audio is None:
            self._kept.pop(prompt, None)
        self._trim()
        return tones() if audio is None else audio

    def close(self) -> None:
        """Let the threads go, once they have done what they are doing."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def render(self, prompt: Prompt) -> bytes | None:
        """Return the prompt's audio, or None when it cannot be spoken. Blocks for milliseconds, 3 s at most."""
        usual = prompt._replace(voice=None)
        ours = prompt.speed == 1.0 and choose_voice(prompt, self._voices) == choose_voice(usual, self._voices)
        if self._stored is not None and ours:
            audio = self._stored(prompt.language, prompt.text)
            if audio is not None:
                return audio
        if self._program is None:
            return None
        try:
            return run_espeak(self._program, prompt, choose_voice(prompt, self._voices))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            logger.warning("espeak-ng did not speak: %s", type(error).__name__)
            return None

    def _trim(self) -> None:
        """Drop the least used beyond 16 MiB."""
        sizes = {prompt: len(future.result() or b"") for prompt, future in self._kept.items() if future.done()}
        excess = sum(sizes.values()) - _KEPT_BYTES
        for prompt, size in sizes.items():
            if excess <= 0:
                return
            del self._kept[prompt]
            excess -= size

    @cached_property
    def _voices(self) -> frozenset[str]:
        """What espeak-ng takes as a voice: languages, and voice files by name; in lower case."""
        if self._program is None:
            return frozenset()
        try:
            listed = subprocess.run(
                [self._program, "--voices"], capture_output=True, timeout=_RENDER_TIMEOUT_S, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return frozenset()
        rows = [line.split() for line in listed.stdout.decode(errors="replace").splitlines()[1:]]
        names = {name for row in rows if len(row) > 4 for name in (row[1], row[4].rpartition("/")[2])}
        return frozenset(name.lower() for name in names)


def choose_voice(prompt: Prompt, voices: frozenset[str]) -> str:
    """Return the espeak-ng voice for a prompt: its own, its language's, or English.

    A variant may follow the voice after a plus sign, such as `en-gb+f3`.
    """
    language = prompt.language.lower()
    primary = language.partition("-")[0]
    for wanted in (prompt.voice, language, _VOICES.get(primary), primary):
        if wanted is None:
            continue
        name, plus, variant = wanted.partition("+")
        if name.lower() in voices and variant.isalnum() == bool(plus):
            return name.lower() + plus + variant
    return "en-us"


def run_espeak(program: str, prompt: Prompt, voice: str) -> bytes:
    """Return a prompt as mu-law at 8 kHz. Raises `OSError`, `subprocess.SubprocessError` or `ValueError`."""
    import numpy as np  # noqa: PLC0415 (calls with built-in prompts do without)

    from onhook.agents.scripted.resample import resample  # noqa: PLC0415

    speed = min(max(round(prompt.speed * _NORMAL_WPM), _SLOWEST_WPM), _FASTEST_WPM)
    done = subprocess.run(
        [program, "-v", voice, "-s", str(speed), "--stdin", "--stdout"],
        input=prompt.text.encode(),
        capture_output=True,
        timeout=_RENDER_TIMEOUT_S,
        check=True,
    )
    rate = int.from_bytes(done.stdout[_WAV_RATE], "little")
    body = done.stdout[_WAV_HEADER : len(done.stdout) - (len(done.stdout) - _WAV_HEADER) % 2]
    if rate == 0 or not body:
        raise ValueError("no audio")
    samples = resample(np.frombuffer(body, "<i2").astype(np.float64), rate, 8000)
    sounding = np.flatnonzero(np.abs(samples) > _SILENT)
    samples = samples[: (sounding[-1] + 1 if sounding.size else 0) + _END]
    return linear_to_mulaw(np.clip(np.rint(samples), -32768, 32767).astype("=i2").tobytes())


@cache
def tones() -> bytes:
    """Return three rising tones, none of them a key's or a network's: what is heard where nothing can be spoken."""
    length = _TONE_MS * 8
    swell = [6000 * min(1.0, index / 80, (length - index) / 80) for index in range(length)]
    waves = [level * math.sin(math.tau * hz * index / 8000) for hz in _TONES_HZ for index, level in enumerate(swell)]
    return linear_to_mulaw(array("h", map(round, waves)).tobytes())
