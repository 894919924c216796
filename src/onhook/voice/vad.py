"""Voice activity: how surely each 32 ms of a call are speech, by the silero model, loaded once per process."""

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


class VadStream(Protocol):
    """The model listening to one call."""

    def hear(self, mulaw: bytes) -> list[Window]:
        """Take the next piece of audio; return the windows that it completes, often none or one."""
        ...


class VadModel:
    """The model, shared by all calls of the process. Used by one thread at a time."""

    def __init__(self, open_stream: Callable[[], VadStream]) -> None:
        self._open_stream = open_stream

    @classmethod
    def load(cls) -> "VadModel":
        """Load the model and what it runs on: blocks for about a quarter of a second."""
        from onhook.voice.silero import load_silero  # noqa: PLC0415 (numpy and onnxruntime are slow to import)

        return cls(load_silero())

    def stream(self) -> VadStream:
        """Begin to listen to a call."""
        return self._open_stream()
