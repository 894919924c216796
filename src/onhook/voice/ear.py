"""The ear of a call: when the caller speaks, talks over the agent, or is a machine. Fed every 20 ms; it never waits.

Times are ms since the answer.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from onhook.agents.definition import AgentDefinition, AgentKind, BargeIn, MachinePolicy, Sensitivity
from onhook.lines.engine import Tick
from onhook.voice.answered_by import AnsweredBy, Answerer, Beep
from onhook.voice.levels import NoiseFloor
from onhook.voice.turns import Hearing, Onset, TurnMachine
from onhook.voice.vad import WINDOW_MS, VadModel, Window


class SpeechStarted(msgspec.Struct, frozen=True):
    """The caller began to speak, at `at_ms`; it is noticed about 0.1 s later."""

    at_ms: int


class SpeechEnded(msgspec.Struct, frozen=True):
    """The caller's turn was over at `at_ms`, the end of its last sound; it is noticed a hangover later."""

    at_ms: int
    duration_ms: int


class BargedIn(msgspec.Struct, frozen=True):
    """The caller talks over the agent, which must be silent now. `at_ms` is now; `SpeechStarted` has come before.

    Both have been speaking since `since_ms`.
    """

    at_ms: int
    since_ms: int


EarEvent = SpeechStarted | SpeechEnded | BargedIn | AnsweredBy | Beep

OnEarEvent = Callable[[EarEvent], None]


class _Bar(NamedTuple):
    """What a voice must be to count: how sure the model, how long the sound."""

    probability: float
    onset: Onset


_ALONE = _Bar(0.5, Onset(sound_ms=3 * WINDOW_MS, voiced=2))
"""While the agent is silent."""

_OVER_AGENT = {
    Sensitivity.HIGH: _Bar(0.4, Onset(sound_ms=3 * WINDOW_MS, voiced=2)),
    Sensitivity.MEDIUM: _Bar(0.5, Onset(sound_ms=4 * WINDOW_MS, voiced=2)),
    Sensitivity.LOW: _Bar(0.7, Onset(sound_ms=6 * WINDOW_MS, voiced=4)),
}
"""While the agent speaks."""

_HYSTERESIS = 0.15
"""How much less sure the model may be within a turn."""

_HANGOVER_MS = {AgentKind.CHAIN: 600, AgentKind.SCRIPTED: 400}
_USUAL_HANGOVER_MS = 500
"""The pause that ends a turn. Free talk has longer ones than answers to a script, which are a few words; agents with a
turn detection of their own only want to know."""

_BYTES_PER_MS = 8
_WINDOW_BYTES = WINDOW_MS * _BYTES_PER_MS


class _Moment(NamedTuple):
    """What was so when a window was complete; the model may judge it when that is different."""

    agent_speaking: bool
    echo_up: bool
    echo_db: float


class Ear:
    """Listens to one call, from its answer on; `on_event` takes what it notices, some of it when the model has judged.

    Needs about 0.03 ms each 20 ms, and the model as much for its window.
    """

    def __init__(self, model: VadModel, definition: AgentDefinition, on_event: OnEarEvent) -> None:
        from onhook.voice.echo import EchoBar  # noqa: PLC0415 (needs numpy, which the model has brought by now)

        self._vad = model.stream(self._on_window)
        self._tell = on_event
        self._turn = TurnMachine(_HANGOVER_MS.get(definition.kind, _USUAL_HANGOVER_MS))
        self._noise = NoiseFloor()
        self._echo = EchoBar()
        self._over_agent = _OVER_AGENT[definition.sensitivity]
        self._overlap = _Overlap(self._over_agent.onset) if definition.barge_in is BargeIn.VAD else None
        self._answerer = None if definition.machine is MachinePolicy.OFF else Answerer()
        self._at_ms = 0
        self._incomplete = 0
        """Bytes of a window whose end has not come."""
        self._unjudged: deque[_Moment] = deque()
        """The windows that the model has, and has not judged."""
        self._began_under_echo = False
        self._last_under_echo = False

    def hear(self, tick: Tick, at_ms: int, *, agent_speaking: bool) -> None:
        """Take the tick that ended at `at_ms`.

        `agent_speaking` is whether something is being played: only that can be interrupted.
        """
        self._at_ms = at_ms
        self._echo.hear(tick.sent, tick.heard)
        self._incomplete += len(tick.heard)
        while self._incomplete >= _WINDOW_BYTES:
            self._incomplete -= _WINDOW_BYTES
            self._unjudged.append(_Moment(agent_speaking, self._echo.up, self._echo.level))
        self._vad.hear(tick.heard)
        if self._answerer is not None:
            for event in self._answerer.hear(tick.heard, at_ms, self._turn):
                self._tell(event)

    def _on_window(self, window: Window | None) -> None:
        """Take a judged window, or the loss of one; tell what it brings, in order."""
        then = self._unjudged.popleft()
        bar = self._over_agent if then.agent_speaking else _ALONE
        later = self._incomplete + len(self._unjudged) * _WINDOW_BYTES
        hearing = self._judge(window, then, bar.probability, self._at_ms - later // _BYTES_PER_MS)
        self._follow(hearing, then, bar.onset)
        if self._overlap is not None and self._overlap.hear(hearing, self._turn, then.agent_speaking):
            self._tell(BargedIn(self._at_ms, self._overlap.began_ms))

    def _judge(self, window: Window | None, then: _Moment, surely: float, end_ms: int) -> Hearing:
        """Tell the caller's voice from noise, and from what comes back of the agent's. A lost window holds nothing."""
        if window is None:
            return Hearing(end_ms, voiced=False, loud=False)
        loud = self._noise.loud(window.level) and window.level > then.echo_db
        if self._turn.speaking:
            surely -= _HYSTERESIS
        voiced = loud and window.probability >= surely
        self._noise.hear(window.level, silent=not voiced and not then.echo_up)
        if voiced:
            self._last_under_echo = then.echo_up
        return Hearing(end_ms, voiced=voiced, loud=loud)

    def _follow(self, hearing: Hearing, then: _Moment, onset: Onset) -> None:
        """Take a window into the turn; tell whether one began or ended."""
        changed = self._turn.hear(hearing, onset)
        if changed and self._turn.speaking:
            self._began_under_echo = then.echo_up
            self._tell(SpeechStarted(self._turn.began_ms))
        elif changed:
            if self._began_under_echo and self._last_under_echo:
                self._echo.doubt()
            self._tell(SpeechEnded(self._turn.last_voice_ms, self._turn.last_voice_ms - self._turn.began_ms))


class _Overlap:
    """Notices once per utterance of the agent that the caller talks over it."""

    def __init__(self, enough: Onset) -> None:
        self._enough = enough
        self._since_ms: int | None = None
        self._voiced = 0
        self._told = False
        self.began_ms = 0
        """Since when both have been speaking, once `hear` has said so."""

    def hear(self, hearing: Hearing, turn: TurnMachine, agent_speaking: bool) -> bool:
        """Take a window; return True when the agent is interrupted with it."""
        if not agent_speaking:
            self._since_ms = None
            return False
        if self._since_ms is None:
            self._since_ms, self._voiced, self._told = hearing.end_ms - WINDOW_MS, 0, False
        self._voiced += hearing.voiced
        self.began_ms = max(self._since_ms, turn.began_ms)
        sound_ms = hearing.end_ms - self.began_ms
        proven = sound_ms >= self._enough.sound_ms and self._voiced >= self._enough.voiced
        interrupts = turn.speaking and hearing.voiced and proven and not self._told
        self._told = self._told or interrupts
        return interrupts
