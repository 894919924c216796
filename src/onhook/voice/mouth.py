"""What the agent says, on its way to the wire: utterances, and when each of them was really heard.

An utterance is the audio between one `say` and the next. Audio that has to wait for its turn is preceded by a mark of
ours; from that mark's echo on its utterance is what the wire carries. Times are ms since the answer.
"""

import itertools
from collections import deque
from dataclasses import dataclass

from onhook.voice.call_line import CallLine
from onhook.voice.transcript import Transcript, Turn

UTTERANCE = "utterance:"
"""How the names of our marks before utterances begin."""

FRAME_MS = 20
BYTES_PER_MS = 8

SETTLE_MS = 800
"""An utterance is over after so long without a sound of it; a synthesiser that stalls for less goes on with it."""

_QUIET = bytes(range(0x70, 0x80)) + bytes(range(0xF0, 0x100))
"""The mu-law codes (G.711) of the 16 smallest magnitudes of each sign: below -48 dBFS."""

_MIN_LOUD = 8


def audible(frame: bytes) -> bool:
    """Say whether a 20 ms frame of mu-law holds any sound."""
    return len(frame.translate(None, _QUIET)) >= _MIN_LOUD


@dataclass
class Utterance:
    """A text, and when its audio went over the wire; no times while none of it has."""

    number: int
    text: str
    whole: bool = False
    """It is heard to its end, whatever the caller says."""
    queued: bool = False
    began_ms: int = 0
    """When its turn on the wire came, if only with silence."""
    start_ms: int | None = None
    end_ms: int = 0


class Mouth:
    """Plays what the agent sends, and enters into the transcript what was heard of it."""

    def __init__(self, line: CallLine, transcript: Transcript) -> None:
        self.hushed = False
        """While True what the agent says is dropped."""
        self._line = line
        self._transcript = transcript
        self._numbers = itertools.count(1)
        self._gives_notice = False
        self._filling: Utterance | None = None
        self._waiting: deque[Utterance] = deque()
        self._on_wire: Utterance | None = None
        self._sounding = False
        self._queued_ms = 0

    @property
    def speaking(self) -> bool:
        """True while the far end hears the agent, or is about to."""
        return self._on_wire is not None and (self._sounding or self._queued_ms > 0)

    @property
    def unbroken(self) -> bool:
        """True while something is said, or waits for its turn, that nothing may interrupt."""
        waiting = any(utterance.whole for utterance in self._waiting)
        return waiting or (self._on_wire is not None and self._on_wire.whole)

    @property
    def played_ms(self) -> int:
        """How much of the utterance on the wire has been heard."""
        heard = self._on_wire
        return 0 if heard is None or heard.start_ms is None else heard.end_ms - heard.start_ms

    def say(self, text: str) -> None:
        """Begin an utterance. A text that comes while audio without one is still to be heard belongs to that audio."""
        if self._filling is not None and not self._filling.text:
            self._filling.text = text
        else:
            self._filling = self._utterance(text)

    def notice(self, *, begins: bool) -> bool:
        """Let nothing interrupt what is said from now on, or, without `begins`, no more than that.

        True when something begins that will be heard.
        """
        self._gives_notice = begins
        if begins and self._filling is not None and not self._filling.queued:  # Its text has come before.
            self._filling.whole = True
        else:
            self._filling = None
        return begins and not self.hushed

    def play(self, mulaw: bytes, now_ms: int) -> None:
        """Append audio of any length to the utterance."""
        if self.hushed or not mulaw:
            return
        if self._filling is None:
            self._filling = self._utterance("")
        if not self._filling.queued:
            self._filling.queued = True
            self._queue(self._filling, now_ms)
        self._line.play(mulaw)
        self._queued_ms += len(mulaw) // BYTES_PER_MS

    def on_mark(self, name: str, now_ms: int) -> None:
        """Take the echo of one of our marks: its utterance is on the wire from now on, and the one before is over."""
        number = int(name.removeprefix(UTTERANCE))
        while self._waiting and self._waiting[0].number <= number:
            self._put_on_wire(self._waiting.popleft(), now_ms)

    def on_sent(self, frame: bytes, now_ms: int) -> bool:
        """Take 20 ms that left; return whether the agent was to be heard in them."""
        self._sounding = audible(frame)
        heard = self._on_wire
        if heard is None:
            return self._sounding
        self._queued_ms = self._line.queued_ms()
        if self._sounding:
            heard.start_ms = now_ms if heard.start_ms is None else heard.start_ms
            heard.end_ms = now_ms + FRAME_MS
        elif now_ms - max(heard.began_ms, heard.end_ms) >= SETTLE_MS and not self._queued_ms:
            self._finish()
        return self._sounding

    def interrupt(self) -> bool:
        """Drop what is still to be played; False when there was nothing."""
        dropped = self._line.flush() > 0 or bool(self._waiting)
        self._waiting.clear()
        self._queued_ms = 0
        self._finish(interrupted=dropped)
        self._filling = None
        return dropped

    def close(self) -> None:
        """Enter what was heard until now: nothing more will be. The queue itself may be gone already."""
        unheard = self._queued_ms > 0 or bool(self._waiting)
        self._waiting.clear()
        self._finish(interrupted=unheard)

    def _utterance(self, text: str) -> Utterance:
        return Utterance(next(self._numbers), text, self._gives_notice)

    def _queue(self, utterance: Utterance, now_ms: int) -> None:
        """Let an utterance take its turn: now, or when what is queued has left."""
        if self._waiting or self._line.queued_ms():
            self._waiting.append(utterance)
            self._line.mark(f"{UTTERANCE}{utterance.number}")
        else:
            self._put_on_wire(utterance, now_ms)

    def _put_on_wire(self, utterance: Utterance, now_ms: int) -> None:
        self._finish()
        utterance.began_ms = now_ms
        self._on_wire = utterance

    def _finish(self, *, interrupted: bool = False) -> None:
        """Take the utterance off the wire."""
        heard, self._on_wire = self._on_wire, None
        if heard is None:
            return
        if self._filling is heard:
            self._filling = None
        if heard.start_ms is None:
            return
        latency = self._transcript.answered_after(heard.start_ms)
        if heard.text:
            turn = Turn("agent", heard.text, heard.start_ms, heard.end_ms, (), interrupted, latency)
            self._transcript.add(turn)
