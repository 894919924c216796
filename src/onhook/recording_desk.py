"""Between the conversations, the thread that writes recordings, and the directory that keeps them."""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from onhook.calls.call import EventType
from onhook.clock import Clock
from onhook.lines.engine import Tick
from onhook.store.logs import log_of
from onhook.store.store import Progress, Store
from onhook.voice.recordings import Recordings

if TYPE_CHECKING:
    from onhook.lines.media.recorder import Recorder, Recording

logger = logging.getLogger(__name__)


class RecordingDesk:
    """Opens recordings. The recorder is loaded, in a thread, by the first call that wants one."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._recorder: Recorder | None = None
        self._saving: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """Have `open` ready to return at once."""
        if self._recorder is None:
            recorder = await asyncio.to_thread(_new_recorder)
            self._recorder = self._recorder or recorder

    def open(self, call_id: str) -> "DeskFile":
        """Begin the recording of a call. Raises `OSError`, also when nothing was prepared."""
        if self._recorder is None:
            raise OSError("the recorder is not loaded")
        lost = partial(logger.error, "the recording of call %s ended early: %s", call_id)
        recording = self._recorder.start(self._recordings.path_for(call_id), lost)
        return DeskFile(recording, partial(self._finish, call_id, recording))

    async def close(self) -> None:
        """Complete what is being written."""
        if self._recorder is not None:
            await self._recorder.close()
        for task in self._saving:
            task.cancel()

    def _finish(self, call_id: str, recording: "Recording") -> None:
        task = asyncio.get_running_loop().create_task(self._hand_over(call_id, recording))
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def _hand_over(self, call_id: str, recording: "Recording") -> None:
        await recording.saved()
        self._recordings.finished(call_id)


class LeftRecordings:
    """The recordings of calls that an earlier life of this process has left: their ends come in this one.

    How the caller learned of the recording is not told: the agent may have been changed since.
    """

    def __init__(self, recordings: Recordings, store: Store, clock: Clock) -> None:
        self._recordings = recordings
        self._store = store
        self._clock = clock
        self._lengths: dict[str, asyncio.Future[int]] = {}

    def measure(self, call_id: str) -> None:
        """Look how long the recording of a call is, before it is encoded."""
        loop = asyncio.get_running_loop()
        self._lengths[call_id] = loop.run_in_executor(None, self._recordings.length_ms, call_id)

    async def log(self, call_id: str) -> None:
        """Log the recording of a call that was measured, unless an earlier life has. Raises `StoreError`."""
        if call_id not in self._lengths:
            return
        duration_ms = await self._lengths[call_id]
        if duration_ms > 0 and not await self._is_logged(call_id):
            data = {"duration_ms": duration_ms, "channels": 2, "format": "wav"}
            await self._store.record_progress(Progress(call_id, self._clock.now_ms(), EventType.RECORDING, data=data))
        self._lengths.pop(call_id, None)

    async def _is_logged(self, call_id: str) -> bool:
        log = await log_of(self._store, call_id)
        return any(event.type is EventType.RECORDING for event in log)


class DeskFile:
    """A recording that is handed over when it is complete; see `onhook.voice.call_recording.RecordingFile`."""

    def __init__(self, recording: "Recording", finish: "partial[None]") -> None:
        self._recording = recording
        self._finish = finish

    def write(self, tick: Tick) -> None:
        """Append 20 ms of both sides."""
        self._recording.write(tick)

    def close(self) -> int:
        """Complete the file; return how long it is, in ms."""
        self._finish()
        return self._recording.close()

    def discard(self) -> None:
        """Stop, and delete what there is."""
        self._recording.discard()


def _new_recorder() -> "Recorder":
    from onhook.lines.media.recorder import Recorder  # noqa: PLC0415 (numpy takes a tenth of a second to import)

    return Recorder()
