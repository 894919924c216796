"""Recordings: what a leg heard (left) and said (right) as a 16-bit stereo WAV, readable at any moment.

The event loop only keeps ticks; one thread for all recordings writes them about once a second, samples first and the
header's sizes after, so that a file whose process was killed has lost a second and no more. A disk that is full, slow
or gone ends the recording, never the call.
"""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from struct import Struct

import numpy as np

from onhook.lines.engine import Tick
from onhook.lines.media.g711 import mulaw_to_linear
from onhook.lines.media.session import FRAME_MS

SAVE_INTERVAL_S = 1.0

MAX_PENDING_TICKS = 3_000
"""A minute that the disk has not taken; then the recording is given up."""

CLOSE_LIMIT_S = 5.0
"""How long `Recorder.close` waits for a disk that hangs."""

_HEADER = Struct("<4sI4s4sIHHIIHH4sI")
_SIZES_AT = (4, 40)
_SIZE = Struct("<I")
_FRAME_SIZE, _RATE = 4, 8000
_LINEAR = np.frombuffer(mulaw_to_linear(bytes(range(256))), dtype=np.int16)

OnLost = Callable[[OSError], None]
"""Takes why a recording ended early; called in the event loop."""


class Recording:
    """One file that is being written. `Recorder.start` makes them; all but `save` runs in the event loop."""

    def __init__(self, path: Path, on_lost: OnLost, wake: Callable[["Recording"], None]) -> None:
        self.path = path
        self._on_lost = on_lost
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._gone = self._loop.create_future()
        self._pending: list[Tick] = []
        self._taken = 0
        self._saved = 0
        self._file: int | None = None
        self._over = False
        self._lost = False
        self._discarded = False
        self._closed = False

    def write(self, tick: Tick) -> None:
        """Append 20 ms; ignored once the recording is over."""
        if self._over:
            return
        if len(self._pending) >= MAX_PENDING_TICKS:
            self._lose(TimeoutError(errno.ETIMEDOUT, "the disk does not take the recording"))
            return
        self._pending.append(tick)
        self._taken += 1

    def close(self) -> int:
        """End the recording and return how long it is, in ms; the last second is on the disk soon after."""
        self._over = True
        self._wake(self)
        return (self._saved if self._lost else self._taken) * FRAME_MS

    def discard(self) -> None:
        """End the recording and delete it, or delete the one that has ended."""
        self._over = self._discarded = True
        self._wake(self)

    async def saved(self) -> None:
        """Wait until nothing more will be written."""
        await asyncio.shield(self._gone)

    def save(self) -> bool:
        """Write what is pending; return True when it was the last time. Runs in the recorder's thread."""
        over = self._over
        try:
            if self._discarded:
                self.path.unlink(missing_ok=True)
            elif not self._closed:
                self._save_pending()
        except OSError as error:
            self._lost = self._over = over = True
            self._in_loop(partial(self._on_lost, error))
        if over:
            self._closed = True
            self._close_file()
            self._in_loop(self._settle)
        return over

    def _save_pending(self) -> None:
        ticks = self._pending[:]
        del self._pending[: len(ticks)]
        file = self._file if self._file is not None else self._open_file()
        if os.fstat(file).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the recording was deleted while it was written", str(self.path))
        if ticks:
            _write_all(file, _samples(ticks))
            self._saved += len(ticks)
            size = self._saved * FRAME_MS * _RATE // 1000 * _FRAME_SIZE
            for at, value in zip(_SIZES_AT, (_HEADER.size - 8 + size, size), strict=True):
                os.pwrite(file, _SIZE.pack(min(value, 0xFFFFFFFF)), at)

    def _open_file(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _write_all(file, _header())
        return file

    def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def _lose(self, error: OSError) -> None:
        self._lost = self._over = True
        self._pending.clear()
        self._on_lost(error)

    def _settle(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)

    def _in_loop(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # A loop that is closed has nobody to tell.
            self._loop.call_soon_threadsafe(callback)


class Recorder:
    """The thread that writes all recordings of a process; it starts with the first and sleeps without any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recordings: set[Recording] = set()
        self._woken: set[Recording] = set()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self, path: Path, on_lost: OnLost) -> Recording:
        """Begin a recording at `path`; its directory is made. Whatever fails is told to `on_lost`, never raised."""
        recording = Recording(path, on_lost, self._wake)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
        self._wake(recording)
        return recording

    async def close(self) -> None:
        """End all recordings and the thread."""
        self._closing = True
        with self._lock:
            recordings = self._recordings | self._woken
        for recording in recordings:
            recording.close()
        self._news.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, CLOSE_LIMIT_S)

    def _wake(self, recording: Recording) -> None:
        with self._lock:
            self._woken.add(recording)
        self._news.set()

    def _run(self) -> None:
        while self._recordings or self._woken or not self._closing:
            self._news.wait(SAVE_INTERVAL_S if self._recordings else None)
            self._news.clear()
            with self._lock:
                self._recordings |= self._woken
                self._woken.clear()
            over = {recording for recording in self._recordings if recording.save()}
            with self._lock:
                self._recordings -= over


def _header() -> bytes:
    """Return the header of an empty file (RIFF, PCM, 2 channels, 8 kHz, 16 bit)."""
    rate = _RATE * _FRAME_SIZE
    return _HEADER.pack(b"RIFF", _HEADER.size - 8, b"WAVE", b"fmt ", 16, 1, 2, _RATE, rate, _FRAME_SIZE, 16, b"data", 0)


def _samples(ticks: list[Tick]) -> bytes:
    heard = np.frombuffer(b"".join([tick.heard for tick in ticks]), dtype=np.uint8)
    sent = np.frombuffer(b"".join([tick.sent for tick in ticks]), dtype=np.uint8)
    return np.stack((_LINEAR[heard], _LINEAR[sent]), axis=1).astype("<i2").tobytes()


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
