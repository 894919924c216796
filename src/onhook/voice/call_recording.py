"""The recording of one call: whether there is one, from when on, and what is logged of it."""

import logging
from collections.abc import Callable
from typing import Protocol

from onhook.agents.definition import AgentDefinition, Consent
from onhook.calls.call import EventType
from onhook.lines.engine import Tick
from onhook.voice.call_line import CallLine

logger = logging.getLogger(__name__)


class RecordingFile(Protocol):
    """A stereo WAV that is being written; no method blocks or raises."""

    def write(self, tick: Tick) -> None:
        """Append 20 ms of both sides."""
        ...

    def close(self) -> int:
        """Complete the file; return how long it is in ms, 0 when nothing could be kept."""
        ...

    def discard(self) -> None:
        """Stop, and delete what there is."""
        ...


OpenRecording = Callable[[str], RecordingFile]
"""Begins the recording of a call (by its id). Raises `OSError`."""


class CallRecording:
    """Records a call whose agent asks for it, as far as the caller and the call's storage setting allow."""

    def __init__(self, line: CallLine, definition: AgentDefinition, open_file: OpenRecording) -> None:
        self._line = line
        self._consent = definition.consent
        self._open_file = open_file
        self._file: RecordingFile | None = None
        self._wanted = definition.record and line.keeps_words
        if self._wanted and self._consent is Consent.NONE:
            self._begin()

    @property
    def wanted(self) -> bool:
        """True when the call is recorded, or is once the caller is told, or agrees."""
        return self._wanted

    def noticed(self) -> None:
        """The caller is being told: keep what comes from here on, if a notice is all it takes."""
        if self._wanted and self._consent is Consent.NOTICE and self._file is None:
            self._begin()

    def consented(self, *, granted: bool) -> None:
        """Take the caller's answer: without a yes nothing is kept."""
        if granted and self._wanted and self._file is None:
            self._begin()
        elif not granted:
            self._wanted = False
            self._drop()

    def write(self, tick: Tick) -> None:
        """Take 20 ms of both sides."""
        if self._file is not None:
            self._file.write(tick)

    def close(self) -> None:
        """Complete the file, and log it."""
        file, self._file = self._file, None
        duration_ms = 0 if file is None else file.close()
        if duration_ms > 0:
            data = {"duration_ms": duration_ms, "channels": 2, "format": "wav", "consent": str(self._consent)}
            self._line.note(EventType.RECORDING, data)

    def _begin(self) -> None:
        try:
            self._file = self._open_file(self._line.call.id)
        except OSError:
            logger.exception("call %s is not recorded", self._line.call.id)

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.discard()
