"""The last words of a call: asked for, played to their end, bounded at each step.

The agent's own wish to hang up drains what it has said; whoever else wants the call to end politely (a clock, a person,
an apology for a lost agent) asks for a farewell first and leaves the agent a bounded time for it. A stop that is not
polite waits for none of this: it cuts.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from onhook.calls.causes import MAX_CAUSE_TEXT, Cause, Reason
from onhook.clock import Clock, Timer
from onhook.voice.call_line import CallLine

FAREWELL = "farewell"
"""The name of our mark behind the last word."""

TAIL_MS = 200
"""What the far end's jitter buffer still holds of the last word when it has left us."""


class Stage(StrEnum):
    """How far the farewell is."""

    TALKING = "talking"
    ASKED = "asked"
    """The agent was told to say farewell and hang up."""
    DRAINING = "draining"
    """The agent has hung up; its words go on."""
    TAIL = "tail"
    """The last word has left."""
    OVER = "over"


class Step(StrEnum):
    """What moves it."""

    ASK = "ask"
    HANG_UP = "hang up"
    HANG_UP_NOW = "hang up now"
    DRAINED = "drained"
    TIME_OUT = "time-out"


NEXT: dict[tuple[Stage, Step], Stage] = {
    (Stage.TALKING, Step.ASK): Stage.ASKED,
    (Stage.TALKING, Step.HANG_UP): Stage.DRAINING,
    (Stage.TALKING, Step.HANG_UP_NOW): Stage.OVER,
    (Stage.ASKED, Step.HANG_UP): Stage.DRAINING,
    (Stage.ASKED, Step.HANG_UP_NOW): Stage.OVER,
    (Stage.ASKED, Step.TIME_OUT): Stage.OVER,
    (Stage.DRAINING, Step.HANG_UP_NOW): Stage.OVER,
    (Stage.DRAINING, Step.DRAINED): Stage.TAIL,
    (Stage.DRAINING, Step.TIME_OUT): Stage.OVER,
    (Stage.TAIL, Step.TIME_OUT): Stage.OVER,
}
"""What is not here changes nothing."""


class Result(StrEnum):
    """What became of the farewell."""

    NONE = "none"
    """Nobody said one."""
    SKIPPED = "skipped"
    """There was none, though the agent was asked for it, or hung up without waiting for it."""
    TRUNCATED = "truncated"
    PLAYED = "played"


RESULTS = {
    Stage.ASKED: Result.TRUNCATED,
    Stage.DRAINING: Result.TRUNCATED,
    Stage.TAIL: Result.PLAYED,
}
"""What became of a farewell that got so far, if any of it was heard."""


class Wish(msgspec.Struct, frozen=True):
    """Why the call is to end, and what is logged when the last words take too long (None: the same).

    `request_id` is the HTTP request that asked for it.
    """

    cause: Cause
    overrun: Cause | None = None
    request_id: str | None = None


class Farewell:
    """The farewell of one call. `spoke_since` says whether the agent was heard after a moment (monotonic seconds).

    `on_played` is called when the last word has left.
    """

    def __init__(
        self, line: CallLine, clock: Clock, spoke_since: Callable[[float], bool], on_played: Callable[[], None]
    ) -> None:
        self.stage = Stage.TALKING
        self.result = Result.NONE
        self.unfinished = False
        """The agent was lost before it had said all."""
        self._line = line
        self._clock = clock
        self._spoke_since = spoke_since
        self._on_played = on_played
        self._wish: Wish | None = None
        self._asked_at: float | None = None
        self._timer: Timer | None = None

    @property
    def in_progress(self) -> bool:
        """True from the wish to end the call until it is over: nothing may interrupt the agent now."""
        return self.stage is not Stage.TALKING

    @property
    def is_draining(self) -> bool:
        """True once the agent has hung up."""
        return self.stage in (Stage.DRAINING, Stage.TAIL, Stage.OVER)

    def ask(self, cause: Cause, limit_ms: int, request_id: str | None = None) -> bool:
        """Let the agent say its farewell, at most `limit_ms`, then end the call for `cause`; False if one is under way.

        The caller of this tells the agent.
        """
        if not self._may(Step.ASK):
            return False
        self._wish = Wish(cause, request_id=request_id)
        self._asked_at = self._clock.monotonic()
        self._bound(limit_ms)
        self._step(Step.ASK)
        return True

    def hang_up(self, reason: str, drain_ms: int) -> None:
        """Take the agent's wish: what it has said is played, for `drain_ms`, or as long as it was asked to speak."""
        if not self._may(Step.HANG_UP):
            return
        if self._wish is None:
            text = self._kept(reason)
            overrun = Cause("timer", Reason.FAREWELL_OVERRUN, text=text)
            self._wish = Wish(Cause("agent", Reason.AGENT_HANGUP, text=text), overrun)
            self._bound(drain_ms)
        self._step(Step.HANG_UP)
        self._line.mark(FAREWELL)

    def lose(self) -> None:
        """The agent was lost: what it had begun to say is played, its end will not come."""
        if self._may(Step.HANG_UP):
            self.unfinished = True
            self._step(Step.HANG_UP)
            self._line.mark(FAREWELL)

    def hang_up_now(self, reason: str) -> None:
        """Take the agent's wish not to wait for its own words."""
        if self._wish is None:
            self._wish = Wish(Cause("agent", Reason.AGENT_HANGUP, text=self._kept(reason)))
            self.result = Result.SKIPPED
        self._step(Step.HANG_UP_NOW)

    def on_mark(self) -> None:
        """Take the echo of our mark. Words that came behind it are waited for, too."""
        if self.stage is not Stage.DRAINING:
            return
        if self._line.queued_ms() > 0:
            self._line.mark(FAREWELL)
            return
        self._bound(TAIL_MS)
        self._step(Step.DRAINED)
        self._on_played()

    def cut(self) -> None:
        """The call is being ended, by whomever: there is no more time."""
        self._leave()
        self.stage = Stage.OVER

    def _kept(self, reason: str) -> str | None:
        """Return what may be kept of an agent's reason: a model tells in it what was said."""
        return reason[:MAX_CAUSE_TEXT] or None if self._line.keeps_words else None

    def _may(self, step: Step) -> bool:
        return (self.stage, step) in NEXT

    def _step(self, step: Step) -> None:
        following = NEXT.get((self.stage, step))
        if following is Stage.OVER:
            self._end(overrun=self.stage is Stage.DRAINING and step is Step.TIME_OUT)
        elif following is not None:
            self.stage = following

    def _end(self, *, overrun: bool) -> None:
        """Let the call end for what was wished."""
        wish = self._wish
        self.cut()
        if wish is not None:
            cause = wish.overrun if overrun and wish.overrun is not None else wish.cause
            self._line.end(cause, wish.request_id)

    def _leave(self) -> None:
        """Note what became of the farewell, by how far it was."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.result is not Result.NONE or self.stage not in RESULTS:
            return
        if self._asked_at is not None and not self._spoke_since(self._asked_at):
            self.result = Result.SKIPPED
        elif self.unfinished:
            self.result = Result.TRUNCATED
        else:
            self.result = RESULTS[self.stage]

    def _bound(self, limit_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(limit_ms / 1000, lambda: self._step(Step.TIME_OUT))
