"""When the caller's turns begin and end, from one judgement per 32 ms window.

A turn begins after some windows with voice, and its begin is dated back to its first sound. It ends after a hangover
of windows without, dated back to its last sound. The states and what leads from one to the next are `TRANSITIONS`.
"""

from enum import StrEnum
from typing import NamedTuple

from onhook.voice.vad import WINDOW_MS


class Turn(StrEnum):
    """Where the caller's turn stands."""

    QUIET = "quiet"
    MAYBE_SPEECH = "maybe_speech"
    """A voice, too short to be sure."""
    SPEECH = "speech"
    MAYBE_OVER = "maybe_over"
    """A pause, too short to be sure."""


class Sign(StrEnum):
    """What a window means for the state it meets."""

    VOICE = "voice"
    ENOUGH_VOICE = "enough_voice"
    """Voice, and with it all that an onset needs."""
    HUSH = "hush"
    ENOUGH_HUSH = "enough_hush"
    """No voice, and for as long as the state bears it."""


TRANSITIONS: dict[tuple[Turn, Sign], Turn] = {
    (Turn.QUIET, Sign.VOICE): Turn.MAYBE_SPEECH,
    (Turn.QUIET, Sign.ENOUGH_VOICE): Turn.SPEECH,
    (Turn.MAYBE_SPEECH, Sign.ENOUGH_VOICE): Turn.SPEECH,
    (Turn.MAYBE_SPEECH, Sign.ENOUGH_HUSH): Turn.QUIET,
    (Turn.SPEECH, Sign.HUSH): Turn.MAYBE_OVER,
    (Turn.MAYBE_OVER, Sign.VOICE): Turn.SPEECH,
    (Turn.MAYBE_OVER, Sign.ENOUGH_VOICE): Turn.SPEECH,
    (Turn.MAYBE_OVER, Sign.ENOUGH_HUSH): Turn.QUIET,
}
"""All that changes the state; any other pair leaves it as it is."""

SPEAKING = frozenset({Turn.SPEECH, Turn.MAYBE_OVER})

_STUTTER_MS = 3 * WINDOW_MS
"""The hush that makes an unproven voice a mere noise."""

_LOOK_BACK_MS = 6 * WINDOW_MS
"""How much sound right before the first voice is the beginning of it: the model notices late."""


class Hearing(NamedTuple):
    """One window, judged."""

    end_ms: int
    voiced: bool
    """The caller's voice."""
    loud: bool
    """Louder than the line's noise and any echo, voice or not."""


class Onset(NamedTuple):
    """What proves speech."""

    sound_ms: int
    """How long it has sounded, from its first loud window on."""
    voiced: int
    """Windows with voice among it."""


class TurnMachine:
    """Follows the turns of one call."""

    def __init__(self, hangover_ms: int) -> None:
        self._hangover_ms = hangover_ms
        self._loud_since_ms: int | None = None
        self._voiced = 0
        self.state = Turn.QUIET
        self.began_ms = 0
        """When the present turn began, or the last one."""
        self.last_voice_ms = 0
        """When the voice was heard last."""
        self.heard_voice = False
        """Whether the last window held voice."""

    @property
    def speaking(self) -> bool:
        """True from the proof of a turn's begin to the proof of its end."""
        return self.state in SPEAKING

    def hear(self, window: Hearing, onset: Onset) -> bool:
        """Take the next window; return True when a turn began or ended with it."""
        if window.voiced and self.state is Turn.QUIET:
            self._begin(window)
        self._follow(window)
        was_speaking = self.speaking
        self.state = TRANSITIONS.get((self.state, self._sign(window, onset)), self.state)
        return self.speaking != was_speaking

    def _begin(self, window: Hearing) -> None:
        """Date back a possible onset to the first loud window of the sound that the voice is part of."""
        start_ms = window.end_ms - WINDOW_MS
        loud_since_ms = start_ms if self._loud_since_ms is None else self._loud_since_ms
        self.began_ms = max(loud_since_ms, start_ms - _LOOK_BACK_MS)
        self._voiced = 0

    def _follow(self, window: Hearing) -> None:
        self.heard_voice = window.voiced
        if not window.loud:
            self._loud_since_ms = None
        elif self._loud_since_ms is None:
            self._loud_since_ms = window.end_ms - WINDOW_MS
        if window.voiced:
            self._voiced += 1
            self.last_voice_ms = window.end_ms

    def _sign(self, window: Hearing, onset: Onset) -> Sign:
        if window.voiced:
            proven = window.end_ms - self.began_ms >= onset.sound_ms and self._voiced >= onset.voiced
            return Sign.ENOUGH_VOICE if proven else Sign.VOICE
        patience_ms = self._hangover_ms if self.speaking else _STUTTER_MS
        return Sign.ENOUGH_HUSH if window.end_ms - self.last_voice_ms >= patience_ms else Sign.HUSH
