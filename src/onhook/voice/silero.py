"""The silero VAD at 8 kHz on onnxruntime. Slow to import: only `onhook.voice.vad.VadModel.load` does."""

from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from math import log10

import numpy as np
import numpy.typing as npt
import onnxruntime

from onhook.lines.media.g711 import mulaw_to_linear
from onhook.voice.vad import WINDOW_MS, Window

_RATE = 8000
_SIZE = _RATE * WINDOW_MS // 1000
_CONTEXT = _SIZE // 8
"""Samples of the window before that the model sees again."""

_STATE_SHAPE = (2, 1, 128)
_RESET_AFTER = 2000 // WINDOW_MS
"""Windows of quiet after which the model forgets: after a long silence it would be slow to notice speech."""
_QUIET_BELOW = 0.3

_DITHER_DB = -58.0
"""The noise that is added: in the digital silence of a suppressed line the model hears the first words late."""

_FLOOR_DB = -100.0

_Floats = npt.NDArray[np.float32]


def load_silero() -> Callable[[], "SileroStream"]:
    """Load the model; return what opens a stream of it. Raises what onnxruntime raises for a broken file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = files("onhook").joinpath("data/silero/silero_vad.onnx").read_bytes()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return partial(SileroStream, session)


class SileroStream:
    """The model listening to one call: 256 samples at a time, with a state that it carries along."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._waiting = b""
        self._heard = 0
        self._quiet = 0
        self._state, self._context = _blank()

    def hear(self, mulaw: bytes) -> list[Window]:
        """See `VadStream`."""
        self._waiting += mulaw
        windows = []
        while len(self._waiting) >= _SIZE:
            windows.append(self._judge(_linear()[np.frombuffer(self._waiting, np.uint8, _SIZE)]))
            self._waiting = self._waiting[_SIZE:]
        return windows

    def _judge(self, samples: _Floats) -> Window:
        noisy = samples + _dither()[self._heard % len(_dither())]
        self._heard += 1
        seen = np.concatenate((self._context, noisy))
        probability, self._state = self._session.run(
            None, {"input": seen[np.newaxis], "state": self._state, "sr": _sample_rate()}
        )
        self._context = noisy[-_CONTEXT:]
        window = Window(float(probability[0, 0]), _level(samples))
        self._quiet = 0 if window.probability >= _QUIET_BELOW else self._quiet + 1
        if self._quiet >= _RESET_AFTER:
            self._quiet = 0
            self._state, self._context = _blank()
        return window


def _level(samples: _Floats) -> float:
    power = float(samples @ samples) / _SIZE
    return 10 * log10(power + 10 ** (_FLOOR_DB / 10))


def _blank() -> tuple[_Floats, _Floats]:
    """Return the state and the context of a model that has heard nothing."""
    return np.zeros(_STATE_SHAPE, np.float32), np.zeros(_CONTEXT, np.float32)


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
