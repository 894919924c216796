"""One call's leg, log and end: all that its conversation may touch."""

from collections.abc import Callable
from typing import Any

from onhook.calls.call import Call, EventType
from onhook.calls.causes import Cause
from onhook.lines.engine import Engine

Note = Callable[[str, EventType, dict[str, Any]], None]
"""Writes a fact of a call (by its id) into the log."""

End = Callable[[str, Cause, str | None], None]
"""Asks for the end of a call (by its id), for a request's id if it was one that asked for it."""

MAX_QUEUED_MS = 300_000
"""Keys are pressed as long as no more than that is to be played, keys included; of audio no more is kept either."""

KEY_MS = 240
"""How long a key takes to send, with the pause behind it."""


class CallLine:
    """The engine, the log and the way to the end, bound to one call.

    Once it is cut nothing is played or pressed any more, and no end is asked for.
    """

    def __init__(self, call: Call, engine: Engine, note: Note, end: End) -> None:
        self.call = call
        self.is_cut = False
        self.is_ending = False
        """True once the end was asked for."""
        self._engine = engine
        self._note = note
        self._end = end

    @property
    def keeps_words(self) -> bool:
        """True when what is said on this call may be kept."""
        return self.call.details.data_storage_setting == "everything"

    def listen(self) -> None:
        """Have each 20 ms of the leg reported."""
        self._engine.listen(self.call.id)

    def play(self, mulaw: bytes) -> None:
        """Append audio to what is played."""
        if not self.is_cut:
            self._engine.send_audio(self.call.id, mulaw)

    def flush(self) -> int:
        """Drop what is queued; return how many ms that was."""
        return self._engine.flush_audio(self.call.id)

    def mark(self, name: str) -> None:
        """Ask for an echo of `name` once all audio before it has left."""
        self._engine.mark(self.call.id, name)

    def queued_ms(self) -> int:
        """Return how much audio is still to be played, in ms."""
        return self._engine.queued_ms(self.call.id)

    def press(self, digits: str) -> int:
        """Send keys, after what is queued; return how many were not sent, for too much is.

        Raises `ValueError` for one that no phone has.
        """
        if self.is_cut:
            return 0
        room = max(0, MAX_QUEUED_MS - self.queued_ms()) // KEY_MS
        self._engine.send_dtmf(self.call.id, digits[:room])
        return len(digits[room:])

    def note(self, event_type: EventType, data: dict[str, Any]) -> None:
        """Write a fact into the call's log."""
        self._note(self.call.id, event_type, data)

    def end(self, cause: Cause, request_id: str | None = None) -> None:
        """Ask for the end of the call; only the first time counts."""
        if not (self.is_ending or self.is_cut):
            self.is_ending = True
            self._end(self.call.id, cause, request_id)
