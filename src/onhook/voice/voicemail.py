"""What to do about an answering machine, by the agent's policy."""

from collections.abc import Callable
from enum import StrEnum

from onhook.agents.definition import UNASKABLE_KINDS, AgentDefinition, MachinePolicy
from onhook.agents.messages import CueKind
from onhook.calls.call import EventType
from onhook.calls.causes import Cause, Reason
from onhook.clock import Clock, Timer
from onhook.voice.answered_by import Verdict
from onhook.voice.call_line import CallLine

BEEP_LIMIT_S = 8.0
"""How long after the verdict a message waits for the beep; not every machine has one."""

MESSAGE_LIMIT_MS = 60_000
"""How long a message may take; machines cut off long ones, too."""

LEFT_TO_A_MACHINE = Cause("agent", Reason.VOICEMAIL)


class Stage(StrEnum):
    """How far the message is."""

    NONE = "none"
    AWAITING_BEEP = "awaiting beep"
    SPEAKING = "speaking"
    LEFT = "left"


class Voicemail:
    """The answering-machine policy of one call.

    `hush` makes the agent silent (True) or lets it speak; `cue` tells it what to do; `ask` begins a farewell, bounded;
    `announce` has an agent of ours say a text and hang up, in the place of one that cannot be asked to.
    """

    def __init__(
        self,
        line: CallLine,
        clock: Clock,
        definition: AgentDefinition,
        *,
        hush: Callable[[bool], None],
        cue: Callable[[CueKind, str | None], None],
        ask: Callable[[Cause, int], bool],
        announce: Callable[[str], None],
    ) -> None:
        self.stage = Stage.NONE
        self._line = line
        self._clock = clock
        self._definition = definition
        self._hush = hush
        self._cue = cue
        self._ask = ask
        self._announce = announce
        self._timer: Timer | None = None

    def on_verdict(self, verdict: Verdict) -> None:
        """Take who answered, and act on it. Nobody acts on a doubt."""
        self._line.note(EventType.ANSWERED_BY, {"verdict": str(verdict)})
        if verdict is Verdict.HUMAN:
            self._cue(CueKind.HUMAN, None)
        elif verdict is Verdict.MACHINE:
            self._on_machine(self._definition.machine)

    def on_beep(self) -> None:
        """Take the machine's beep: the message may begin."""
        if self.stage is Stage.AWAITING_BEEP:
            self.cancel()
            self._hush(False)
            if self._ask(LEFT_TO_A_MACHINE, MESSAGE_LIMIT_MS):  # else the agent says something else, its last
                self.stage = Stage.SPEAKING
                self._leave_message(self._definition.voicemail_message)

    def on_played(self) -> None:
        """Take the news that the agent's last word has left."""
        if self.stage is Stage.SPEAKING:
            self.stage = Stage.LEFT
            self._line.note(EventType.VOICEMAIL_LEFT, {})

    def cancel(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave_message(self, text: str | None) -> None:
        if self._is_askable:
            self._cue(CueKind.LEAVE_MESSAGE, text)
        elif text:
            self._announce(text)

    @property
    def _is_askable(self) -> bool:
        return self._definition.kind not in UNASKABLE_KINDS

    def _on_machine(self, policy: MachinePolicy) -> None:
        wordless = not (self._is_askable or self._definition.voicemail_message)
        if policy is MachinePolicy.HANG_UP or (policy is MachinePolicy.LEAVE_MESSAGE and wordless):
            self._line.end(LEFT_TO_A_MACHINE)
            return
        self._cue(CueKind.MACHINE, None)
        if policy is MachinePolicy.LEAVE_MESSAGE:
            self._hush(True)
            self.stage = Stage.AWAITING_BEEP
            self._timer = self._clock.call_later(BEEP_LIMIT_S, self.on_beep)
