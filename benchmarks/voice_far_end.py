"""The far end of `far_end`, with somebody at each phone: says recorded words instead of echoing.

`python -m benchmarks.voice_far_end chatters`: each caller talks for three of every eight seconds, whatever is heard.
`python -m benchmarks.voice_far_end interrupters`: each answers every prompt with a "yes", in turns after its end and
over it. What they had to wait for is the answer to the question `waits`.

A caller sends a packet for each that it gets, so that it keeps the other end's time.
"""

import itertools
import socket
import sys
import time
from typing import Protocol

import msgspec

from benchmarks.far_end import FarEnd
from onhook.lines.sandbox.talker import LOUD, SILENCE, loudness, recording

PERIOD = 400
"""Frames of 20 ms from one sentence of a chatter to the next."""
APART = 37
"""Frames by which each chatter is later than the one before."""
PAUSE = 40
"""Frames of silence after which a prompt is over."""
INTO_A_PROMPT = 60
"""Frames of a prompt after which an interrupter speaks at the earliest."""
SPREAD = 32
"""Frames over which the moments of interruptions are spread."""
CUT = 5
"""Frames of silence, at the interrupter's last sound, that show that the agent was interrupted."""
HEADER = 12
UNCUT_MS = 1000.0


class Waits(msgspec.Struct):
    """What interrupters waited for, in ms: their first sound to the agent's last; their last to the agent's first."""

    barge_ins: list[float] = msgspec.field(default_factory=list)
    replies: list[float] = msgspec.field(default_factory=list)


class Caller(Protocol):
    """Somebody at a phone."""

    def hear(self, frame: bytes, at: int) -> bytes:
        """Take 20 ms of the agent, which came at `at` (ns since the epoch); return what is said meanwhile."""
        ...


class Chatter:
    """Says the same sentence again and again."""

    def __init__(self, number: int) -> None:
        self._frames = itertools.count(number * APART)
        self._sentence = _trimmed("interruption")

    def hear(self, _frame: bytes, _at: int) -> bytes:
        """See `Caller`."""
        place = next(self._frames) % PERIOD
        return self._sentence[place] if place < len(self._sentence) else SILENCE


class Interrupter:
    """Answers prompts, and notes in `waits` how long it took to be heard."""

    def __init__(self, number: int, waits: Waits) -> None:
        self._waits = waits
        self._word = _trimmed("yes")
        self._said = len(self._word)
        self._turns = itertools.count(number)
        self._turn = next(self._turns)
        self._sounds = self._quiet = 0
        self._last_sound = self._began = 0
        self._stopped: int | None = None

    def hear(self, frame: bytes, at: int) -> bytes:
        """See `Caller`."""
        self._note(frame != SILENCE, at)
        if self._said == len(self._word) and self._has_a_turn():
            self._said, self._began = 0, time.time_ns()
        if self._said == len(self._word):
            return SILENCE
        self._said += 1
        if self._said == len(self._word):
            self._finish()
        return self._word[self._said - 1]

    def _note(self, sounding: bool, at: int) -> None:
        """Hear whether the agent is talking."""
        if not sounding:
            self._quiet += 1
            return
        if self._stopped is not None:
            self._waits.replies.append((at - self._stopped) / 1e6)
            self._stopped, self._sounds = None, 0
        self._sounds += 1
        self._quiet, self._last_sound = 0, at

    def _has_a_turn(self) -> bool:
        """Whether it is time to say the word: into the prompt, in every other turn, or after it."""
        if self._stopped is not None or not self._sounds:
            return False
        if self._turn % 2:
            return self._quiet == 0 and self._sounds >= INTO_A_PROMPT + self._turn * 7 % SPREAD
        return self._quiet >= PAUSE

    def _finish(self) -> None:
        """The word is said: by now an agent that was interrupted is silent, and has the turn."""
        if self._turn % 2:
            cut = self._quiet >= CUT
            self._waits.barge_ins.append(max(0, self._last_sound - self._began) / 1e6 if cut else UNCUT_MS)
        self._stopped, self._turn = time.time_ns(), next(self._turns)


class TalkingFarEnd(FarEnd):
    """A far end whose callers talk: chatters or interrupters."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._waits = Waits()
        self._callers: dict[tuple[int, int], Caller] = {}
        super().__init__()

    def reply(self, sock: socket.socket, packet: bytes, at: int, source: tuple[str, int]) -> None:
        """Send what the caller says while hearing this packet."""
        place = (sock.fileno(), source[1])
        caller = self._callers.get(place)
        if caller is None:
            caller = self._callers[place] = self._new_caller(len(self._callers))
        sock.sendto(packet[:HEADER] + caller.hear(packet[HEADER:], at), source)

    def told(self, question: str) -> object:
        """Answer `waits`, too."""
        return self._waits if question == "waits" else super().told(question)

    def _new_caller(self, number: int) -> Caller:
        return Chatter(number) if self._who == "chatters" else Interrupter(number, self._waits)


def _trimmed(name: str) -> tuple[bytes, ...]:
    """Return a recording from its first loud frame to its last: they are the moments that are measured."""
    frames = recording(name)
    loud = [index for index, frame in enumerate(frames) if loudness(frame) > LOUD]
    return frames[loud[0] : loud[-1] + 1]


if __name__ == "__main__":
    TalkingFarEnd(sys.argv[1]).serve()
