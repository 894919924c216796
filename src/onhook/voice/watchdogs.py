"""When a call has to end although nobody asked for it: one table of conditions over a few clocks.

Silence is what the line hears (voice activity on the RTP), not what a provider says. Times are ms since the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import msgspec

from onhook.agents.definition import AgentDefinition, IdleRules
from onhook.calls.causes import Cause, Reason


@dataclass
class Clocks:
    """When what happened last on a call."""

    now: int = 0
    started_at: int | None = None
    """When the agent was ready; None until then."""
    caller_at: int = 0
    """The caller's last sound, or key."""
    agent_at: int = 0
    """The last sound of the agent that left."""
    packet_at: int = 0
    """The last packet of the far end's audio, or the last moment that it had announced not to send any."""
    asked_at: int = 0
    """The last time that the agent was told to ask whether somebody is there."""
    asked: int = 0
    """How often it was told so since the caller's last sound."""
    tool_calls: int = 0
    """The agent's tool calls since the caller's last word or key."""
    caller_spoke: bool = False
    caller_speaking: bool = False
    hearing: bool = False
    """False while nothing can tell the caller's voice from silence."""
    held: bool = False
    awaiting_beep: bool = False
    """True while a machine is waited for: it may be silent before its beep, and it is not asked who is there."""

    def caller_heard(self, now: int) -> None:
        """Take a word or a key of the caller."""
        self.caller_at = now
        self.caller_spoke = True
        self.asked = self.tool_calls = 0

    def advance(self, now: int) -> None:
        """Go to `now`. A caller who speaks, is on hold, is to beep, or cannot be heard by us counts as not silent."""
        self.now = now
        if self.caller_speaking or self.held or self.awaiting_beep or not self.hearing:
            self.caller_at = now
        if self.held:
            self.packet_at = now

    @property
    def quiet_ms(self) -> int:
        """How long neither side made a sound, and the agent was not told to."""
        return self.now - max(self.caller_at, self.agent_at, self.asked_at, self.started_at or 0)


class Watchdog(msgspec.Struct, frozen=True):
    """One way in which a call goes wrong."""

    barks: Callable[[Clocks, AgentDefinition], bool]
    cause: Cause


class Idle(Enum):
    """What the caller's silence calls for."""

    NOTHING = auto()
    ASK = auto()
    END = auto()


def idle(clocks: Clocks, rules: IdleRules) -> Idle:
    """Say what is to be done about the caller's silence (see `IdleRules`)."""
    if clocks.started_at is None:
        return Idle.NOTHING
    if rules.inactivity_ms is not None and clocks.now - clocks.caller_at >= rules.inactivity_ms:
        return Idle.END
    after_ms, checks = _idle_times(clocks, rules)
    over = Idle.END if rules.ends_call else Idle.NOTHING
    if not rules.ask:
        return over if clocks.quiet_ms >= after_ms * (checks + 1) else Idle.NOTHING
    if clocks.quiet_ms < after_ms:
        return Idle.NOTHING
    return Idle.ASK if clocks.asked < checks else over


def _idle_times(clocks: Clocks, rules: IdleRules) -> tuple[int, int]:
    """Return how long a silence lasts before something is done, and how often it is asked."""
    after_ms, checks = rules.after_ms, rules.max_checks
    if not clocks.caller_spoke:
        after_ms = after_ms if rules.first_after_ms is None else rules.first_after_ms
        checks = checks if rules.first_max_checks is None else rules.first_max_checks
    return after_ms, checks


AGENT_START = Cause("timer", Reason.AGENT_START_TIMEOUT)

WATCHDOGS = (
    Watchdog(lambda clocks, agent: clocks.started_at is None and clocks.now >= agent.start_timeout_ms, AGENT_START),
    Watchdog(
        lambda clocks, agent: clocks.now - clocks.packet_at >= agent.media_timeout_ms,
        Cause("timer", Reason.NO_INBOUND_AUDIO),
    ),
    Watchdog(
        lambda clocks, agent: clocks.now - max(clocks.caller_at, clocks.agent_at) >= agent.both_silent_ms,
        Cause("timer", Reason.BOTH_SILENT),
    ),
    Watchdog(
        lambda clocks, agent: idle(clocks, agent.idle) is Idle.END,
        Cause("timer", Reason.CALLER_SILENCE),
    ),
    Watchdog(
        lambda clocks, agent: clocks.tool_calls >= agent.max_tool_calls,
        Cause("system", Reason.AGENT_LOOP),
    ),
)
"""In the order in which they are asked; the first that barks gives the cause."""


def check(clocks: Clocks, agent: AgentDefinition) -> Cause | None:
    """Return why the call has to end now, None when all is well."""
    return next((one.cause for one in WATCHDOGS if one.barks(clocks, agent)), None)
