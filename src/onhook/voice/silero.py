"""The silero VAD at 8 kHz on onnxruntime. Slow to import: only `onhook.voice.vad.load_vad` does."""

import logging
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import onnxruntime

from onhook.lines.media.g711 import mulaw_to_linear
from onhook.voice.vad import WINDOW_MS, OnWindow, Soon, Window

logger = logging.getLogger(__name__)

_RATE = 8000
_SIZE = _RATE * WINDOW_MS // 1000
_CONTEXT = _SIZE // 8
"""Samples of the window before that the model sees again."""

_STATE = 128
_RESET_AFTER = 2000 // WINDOW_MS
"""Windows of quiet after which the model forgets: after a long silence it would be slow to notice speech."""
_QUIET_BELOW = 0.3

_DITHER_DB = -58.0
"""The noise that is added: in the digital silence of a suppressed line the model hears the first words late."""

_FLOOR_DB = -100.0

MOST_TOGETHER = 32
"""Windows that are judged in one run, about a millisecond; more would not be cheaper, and others have to wait."""

MOST_BEHIND = 8
"""Windows, a quarter of a second, that a call may wait for. Where more do, the others wait, too: a loop with more to do
than it has time for would never come to them, and interrupt the agent for what was said long before."""

_Floats = npt.NDArray[np.float32]


def load_silero(soon: Soon) -> "SileroModel":
    """Load the model. Raises what onnxruntime raises for a broken file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = files("onhook").joinpath("data/silero/silero_vad.onnx").read_bytes()
    return SileroModel(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]), soon)


class SileroModel:
    """A `VadModel`: 256 samples of each call at a time, with a state that each call carries along."""

    def __init__(self, session: onnxruntime.InferenceSession, soon: Soon) -> None:
        self._session = session
        self._soon = soon
        self._due: list[SileroStream] = []
        self._asked = False
        """`judge` comes soon."""
        self._fails = False
        """The last run failed, which is logged once."""

    def stream(self, on_window: OnWindow) -> "SileroStream":
        """See `VadModel`."""
        return SileroStream(self, on_window)

    def enter(self, stream: "SileroStream") -> None:
        """Have a window of this stream judged with the next."""
        self._due.append(stream)
        self._ask()

    def judge(self) -> None:
        """See `VadModel`."""
        self._asked = False
        try:
            self._judge_some()
            while any(one.is_behind for one in self._due):
                self._judge_some()
        finally:
            self._ask()

    def _ask(self) -> None:
        if self._due and not self._asked:
            self._asked = True
            self._soon(self.judge)

    def _judge_some(self) -> None:
        due, later = self._due[:MOST_TOGETHER], self._due[MOST_TOGETHER:]
        if not due:
            return
        for one in due:
            one.step()
        self._due = later + [one for one in due if one.is_due]
        for one, window in zip(due, self._windows(due), strict=True):
            one.tell(window)

    def _windows(self, due: list["SileroStream"]) -> Sequence[Window | None]:
        """Return the present windows of some streams; None for each when the model fails, of whatever kind that is."""
        try:
            windows = self._run(due)
        except Exception:
            if not self._fails:
                logger.exception("the model fails: until it works again no caller is heard to speak")
            self._fails = True
            return [None] * len(due)
        self._fails = False
        return windows

    def _run(self, due: list["SileroStream"]) -> list[Window]:
        """Return what the model makes of the present windows of some streams."""
        samples = _linear()[np.frombuffer(b"".join([one.window for one in due]), np.uint8).reshape(-1, _SIZE)]
        noisy = samples + _dither()[[one.heard % len(_dither()) for one in due]]
        seen = np.concatenate((np.stack([one.context for one in due]), noisy), axis=1)
        states = np.stack([one.state for one in due], axis=1)
        probabilities, states = self._session.run(None, {"input": seen, "state": states, "sr": _sample_rate()})
        powers = np.einsum("ij,ij->i", samples, samples) / _SIZE
        levels = 10 * np.log10(powers + 10 ** (_FLOOR_DB / 10))
        windows = list(map(Window, probabilities[:, 0].tolist(), levels.tolist()))
        for index, one in enumerate(due):
            one.remember(windows[index], states[:, index], noisy[index, -_CONTEXT:])
        return windows


class SileroStream:
    """The model listening to one call; see `VadStream`."""

    __slots__ = ("_model", "_on_window", "_quiet", "_waiting", "context", "heard", "state", "window")

    def __init__(self, model: SileroModel, on_window: OnWindow) -> None:
        self._model = model
        self._waiting = b""
        self._quiet = 0
        self._on_window = on_window
        self.window = b""
        """What the model judges now, in mu-law."""
        self.heard = 0
        """Windows before that."""
        self.state, self.context = _blank()

    def hear(self, mulaw: bytes) -> None:
        """See `VadStream`."""
        was_due = self.is_due
        self._waiting += mulaw
        if self.is_due and not was_due:
            self._model.enter(self)

    @property
    def is_due(self) -> bool:
        """True while there is a window to be judged."""
        return len(self._waiting) >= _SIZE

    @property
    def is_behind(self) -> bool:
        """True while there are more than it may be late with."""
        return len(self._waiting) >= MOST_BEHIND * _SIZE

    def step(self) -> None:
        """Go on to the next window."""
        self.window, self._waiting = self._waiting[:_SIZE], self._waiting[_SIZE:]

    def remember(self, window: Window, state: _Floats, context: _Floats) -> None:
        """Take what the model made of the window, for the next; forget all after a long quiet."""
        self.heard += 1
        self.state, self.context = state, context
        self._quiet = 0 if window.probability >= _QUIET_BELOW else self._quiet + 1
        if self._quiet >= _RESET_AFTER:
            self._quiet = 0
            self.state, self.context = _blank()

    def tell(self, window: Window | None) -> None:
        """Hand a window out, None for a lost one; who cannot take it must not cost the others theirs."""
        try:
            self._on_window(window)
        except Exception:
            logger.exception("a call could not take what the model made of its audio")


def _blank() -> tuple[_Floats, _Floats]:
    """Return the state and the context of a model that has heard nothing."""
    return np.zeros((2, _STATE), np.float32), np.zeros(_CONTEXT, np.float32)


@cache
def _linear() -> _Floats:
    """Return the sample of each mu-law code; full scale is 1."""
    codes = np.frombuffer(mulaw_to_linear(bytes(range(256))), np.int16)
    return np.asarray(codes / 32768, np.float32)


@cache
def _dither() -> _Floats:
    """Return a second of windows of noise, the same always."""
    noise = np.random.default_rng(0).standard_normal((_RATE // _SIZE, _SIZE)) * 10 ** (_DITHER_DB / 20)
    return np.asarray(noise, np.float32)


@cache
def _sample_rate() -> npt.NDArray[np.int64]:
    return np.array(_RATE, np.int64)
