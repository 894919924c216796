"""Between the conversations, the thread that writes recordings, and the directory that keeps them."""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from onhook.lines.engine import Tick
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
