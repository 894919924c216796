"""Where recordings are kept: one file per call, WAV while it is made, OGG/Opus afterwards where that is wanted."""

import asyncio
import contextlib
import logging
import re
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

SWEEP_S = 3600.0
DAY_MS = 86_400_000
ENCODE_LIMIT_S = 600.0
FORMATS = ("ogg", "wav")
"""In the order in which a recording is looked for: while both are there, the WAV is about to go."""

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Recordings:
    """The recordings of all calls, in one directory that only we can read.

    `keep_days` is how long they are kept, 0 for ever. With `to_ogg` the ones handed to `finished`, and those that an
    earlier life of the server has left, are encoded, one at a time, in a process of their own.
    """

    def __init__(
        self,
        directory: Path,
        keep_days: int = 0,
        *,
        to_ogg: bool = False,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._directory = directory
        self._keep_ms = keep_days * DAY_MS
        self._to_ogg = to_ogg
        self._now_ms = now_ms
        self._made_at_ms = now_ms()
        self._finished: asyncio.Queue[str] = asyncio.Queue()

    def path_for(self, call_id: str) -> Path:
        """Return where a call's WAV is to be written; its directory is there. Raises ValueError, `OSError`."""
        path = self._path(call_id, "wav")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def find(self, call_id: str) -> Path | None:
        """Return the file with a call's recording."""
        paths = [self._path(call_id, suffix) for suffix in FORMATS]
        return next((path for path in paths if path.exists()), None)

    def length_ms(self, call_id: str) -> int:
        """Return how much a call's WAV holds, by its header; 0 when there is none, or none that can be read."""
        try:
            with wave.open(str(self._path(call_id, "wav"))) as file:
                frames, rate = file.getnframes(), file.getframerate()
        except (OSError, EOFError, wave.Error):
            return 0
        return int(frames * 1000 / rate)

    def delete(self, call_id: str) -> bool:
        """Delete a call's recording; False when there is none. Raises `OSError`."""
        found = self.find(call_id) is not None
        for suffix in ("wav", "part", "ogg"):  # in this order the encoder cannot bring it back, see `opus.publish`
            self._path(call_id, suffix).unlink(missing_ok=True)
        return found

    def expire(self, before_ms: int) -> int:
        """Delete all that were last written before a moment (ms since the epoch); return how many files that were."""
        count = 0
        for path in self._written_before(before_ms, "wav", "ogg", "part"):
            path.unlink(missing_ok=True)
            count += 1
        return count

    def finished(self, call_id: str) -> None:
        """Take the news that a call's WAV is complete."""
        if self._to_ogg:
            self._finished.put_nowait(call_id)

    async def run(self) -> None:
        """Delete what is too old, once an hour, and encode what is finished, until cancelled."""
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._sweep())
            jobs.create_task(self._encode_all())

    async def _sweep(self) -> None:
        while self._keep_ms:
            try:
                count = await asyncio.to_thread(self.expire, self._now_ms() - self._keep_ms)
            except OSError:
                logger.exception("recordings that are too old could not be deleted")
            else:
                if count:
                    logger.info("%d recordings were too old and are deleted", count)
            await asyncio.sleep(SWEEP_S)

    async def _encode_all(self) -> None:
        if self._to_ogg:
            for left in await asyncio.to_thread(self._left_as_wav):
                self.finished(left)
        while True:
            call_id = await self._finished.get()
            try:
                await self._encode(call_id)
            except (OSError, subprocess.TimeoutExpired):
                logger.exception("the recording of call %s stays a WAV", call_id)

    async def _encode(self, call_id: str) -> None:
        """Replace a WAV by an OGG, whole or not at all. Raises `OSError`, `subprocess.TimeoutExpired`."""
        wav, ogg = self._path(call_id, "wav"), self._path(call_id, "ogg")
        if not await asyncio.to_thread(wav.exists):  # It was deleted before its turn came.
            return
        command = [sys.executable, "-m", "onhook.voice.opus", str(wav), str(ogg)]
        # In a thread: to fork a process of our size holds up whoever does it.
        child = await asyncio.to_thread(subprocess.Popen, command, stdin=subprocess.DEVNULL)
        try:
            code = await asyncio.to_thread(child.wait, ENCODE_LIMIT_S)
        finally:
            child.kill()  # when we are cancelled, or it hangs; the thread that waits, or the next child, reaps it
        if code != 0:
            logger.error("the recording of call %s stays a WAV: the encoder failed (exit code %d)", call_id, code)

    def _left_as_wav(self) -> list[str]:
        """Return whose WAVs were there before we were: the calls of an earlier life, which are over."""
        names = [path.stem for path in self._written_before(self._made_at_ms, "wav")]
        return [name for name in names if _SAFE.fullmatch(name)]

    def _written_before(self, moment_ms: int, *suffixes: str) -> Iterator[Path]:
        """Yield the files that were last written before a moment. One that vanishes meanwhile is not among them."""
        for suffix in suffixes:
            for path in list(self._directory.glob(f"*.{suffix}")):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime_ns // 1_000_000 < moment_ms:
                        yield path

    def _path(self, call_id: str, suffix: str) -> Path:
        if _SAFE.fullmatch(call_id) is None:
            raise ValueError(f"{call_id!r} cannot name a file")
        return self._directory / f"{call_id}.{suffix}"
