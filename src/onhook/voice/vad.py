"""Voice activity: how surely each 32 ms of a call are speech, by the silero model, loaded once per process.

The model judges the windows of all calls that are complete in one turn of the event loop together: with 16 calls that
takes a third of what one call after the other would.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

WINDOW_MS = 32
"""What the model judges at a time: 256 samples at 8 kHz."""


class Window(NamedTuple):
    """One judged window."""

    probability: float
    """That it holds speech, 0 to 1."""
    level: float
    """RMS in dB relative to full scale; -100 is digital silence."""


OnWindow = Callable[[Window | None], None]
"""Takes a window, or None for one that the model failed to judge."""

Soon = Callable[[Callable[[], None]], object]
"""Has something done when all that comes at the same time has come."""


class VadStream(Protocol):
    """The model listening to one call."""

    def hear(self, mulaw: bytes) -> None:
        """Take the next piece of audio. The windows that it completes are judged soon."""
        ...


class VadModel(Protocol):
    """The model, shared by all calls of the process. Used by one thread at a time."""

    def stream(self, on_window: OnWindow) -> VadStream:
        """Begin to listen to a call; `on_window` takes its windows, in order, never from inside `hear`."""
        ...

    def judge(self) -> None:
        """Judge a window of each stream that has one; those that have more come soon."""
        ...


def load_vad(soon: Soon) -> VadModel:
    """Load the model and what it runs on: blocks for about a quarter of a second."""
    from onhook.voice.silero import load_silero  # noqa: PLC0415 (numpy and onnxruntime are slow to import)

    return load_silero(soon)
