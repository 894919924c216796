"""Who is told what the line reports, in which order."""

from typing import Protocol

from onhook.lines.engine import LegEnded, LegEvent, Tick
from onhook.voice.conversations import Conversations


class EventSink(Protocol):
    """Whatever writes the line's events down."""

    def on_event(self, event: LegEvent) -> None:
        """Take one event of one leg."""
        ...


class LineRelay:
    """The engine's `LineEvents`: tells call control first, then the conversations; of a leg's end, the other way round.

    What a conversation has to log at its end comes into the log before the end.
    """

    recorder: EventSink
    conversations: Conversations
    inbound: EventSink | None = None
    """Takes the calls of far ends; without it they are left without an answer."""

    def on_event(self, event: LegEvent) -> None:
        """Pass on one event of one leg."""
        if self.inbound is not None:
            self.inbound.on_event(event)
        if isinstance(event, LegEnded):
            self.conversations.on_event(event)
            self.recorder.on_event(event)
        else:
            self.recorder.on_event(event)
            self.conversations.on_event(event)

    def on_audio(self, call_id: str, frame: bytes) -> None:
        """Pass on 20 ms of the far end's voice."""
        self.conversations.on_audio(call_id, frame)

    def on_tick(self, call_id: str, tick: Tick) -> None:
        """Pass on 20 ms of a leg that is listened to."""
        self.conversations.on_tick(call_id, tick)

    def on_mark(self, call_id: str, name: str, cleared: bool) -> None:
        """Pass on the echo of a mark."""
        self.conversations.on_mark(call_id, name, cleared=cleared)

    def on_cut(self, call_id: str) -> None:
        """Pass on that a leg is being ended."""
        self.conversations.on_cut(call_id)
