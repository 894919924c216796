"""Who answered: a person, who says a short hello and waits, or a machine, which talks on and beeps.

Only the timing of the first seconds is judged, so a wrong verdict is possible; `UNSURE` is an honest third one.
"""

from enum import StrEnum

import msgspec

from onhook.voice.turns import Turn, TurnMachine


class Verdict(StrEnum):
    """Who answered."""

    HUMAN = "human"
    MACHINE = "machine"
    UNSURE = "unsure"


class AnsweredBy(msgspec.Struct, frozen=True):
    """The verdict; there is one per call."""

    verdict: Verdict
    at_ms: int


class Beep(msgspec.Struct, frozen=True):
    """A machine's beep has ended: it records now. Comes once, after the verdict `MACHINE`."""

    at_ms: int


_LISTEN_MS = 3500
"""The longest wait: for the first word from the answer on, for the verdict from the first word on."""

_LONGEST_HELLO_MS = 3100
"""A greeting that has gone on for longer is a machine's."""

_WAITS = ((1300, 700), (2100, 1000))
"""The pause (ms) that shows a person waiting for us, by the longest greeting (ms) for which it is enough."""
_LAST_WAIT_MS = 450
"""The same after a longer greeting, and not before the time is up: a machine has pauses, and a beep to come."""


class FirstWords:
    """Judges the greeting of one call, window by window, from the answer on."""

    def __init__(self) -> None:
        self._first_ms: int | None = None
        self._last_ms = 0

    def hear(self, now_ms: int, turn: TurnMachine) -> Verdict | None:
        """Take what a window made of the turn; return the verdict when it is clear, or when the time is up."""
        if turn.speaking:
            self._first_ms = turn.began_ms if self._first_ms is None else self._first_ms
            self._last_ms = turn.last_voice_ms
        if self._first_ms is not None:
            return _judge(self._last_ms - self._first_ms, now_ms - self._last_ms)
        waits = now_ms < _LISTEN_MS or turn.state is Turn.MAYBE_SPEECH
        return None if waits else Verdict.UNSURE


def _judge(greeting_ms: int, pause_ms: int) -> Verdict | None:
    if greeting_ms > _LONGEST_HELLO_MS:
        return Verdict.MACHINE
    if any(greeting_ms <= longest_ms and pause_ms >= wait_ms for longest_ms, wait_ms in _WAITS):
        return Verdict.HUMAN
    if greeting_ms + pause_ms < _LISTEN_MS:
        return None
    return Verdict.HUMAN if pause_ms >= _LAST_WAIT_MS else Verdict.UNSURE


class Answerer:
    """Tells once who answered, and of a machine, once, when it has beeped. Made when the model is loaded."""

    def __init__(self) -> None:
        from onhook.voice.beep import BeepDetector  # noqa: PLC0415 (needs numpy, which is slow to import)

        self._words: FirstWords | None = FirstWords()
        self._beeps: BeepDetector | None = BeepDetector()

    def hear(self, mulaw: bytes, now_ms: int, turn: TurnMachine) -> list[AnsweredBy | Beep]:
        """Take 20 ms that ended at `now_ms`, and what they made of the turn; return what is known now."""
        events: list[AnsweredBy | Beep] = []
        beeped = self._beeps is not None and self._beeps.hear(mulaw) and not turn.heard_voice
        verdict = self._words.hear(now_ms, turn) if self._words is not None else None
        if beeped and self._words is not None:
            verdict = Verdict.MACHINE
        if verdict is not None:
            self._words = None
            events.append(AnsweredBy(verdict, now_ms))
            if verdict is not Verdict.MACHINE:
                self._beeps = None
        if beeped:
            self._beeps = None
            events.append(Beep(now_ms))
        return events
