"""What the line and an agent tell each other about one call. Audio travels beside, as bare frames.

Times are ms since the answer.
"""

from enum import StrEnum
from typing import Any

import msgspec

from onhook.agents.definition import AgentDefinition


class CallInfo(msgspec.Struct, frozen=True):
    """The call that an agent is put on. `secrets` are what the kind needs to sign or log in; never written anywhere."""

    call_id: str
    sip_call_id: str
    agent_id: str
    direction: str
    from_number: str
    to_number: str
    definition: AgentDefinition
    variables: dict[str, str] = msgspec.field(default_factory=dict)
    secrets: dict[str, str] = msgspec.field(default_factory=dict)


class Word(msgspec.Struct, frozen=True):
    """One word of a transcript."""

    word: str
    start_ms: int
    end_ms: int


class CueKind(StrEnum):
    """What the call wants of the agent."""

    STILL_THERE = "still_there"
    """The caller is silent: ask. `number` counts the questions from 1."""
    FAREWELL = "farewell"
    """The call is going to end: say `text`, or a farewell of your own, and hang up."""
    MACHINE = "machine"
    """An answering machine answered."""
    LEAVE_MESSAGE = "leave_message"
    """The machine's beep has sounded: say `text` and hang up."""
    HUMAN = "human"
    """A person answered."""


# --- the line to the agent ----------------------------------------------------------------------------


class Speech(msgspec.Struct, frozen=True, tag=True):
    """The caller began to speak (`started`), or stopped. `at_ms` is when; `duration_ms` comes with the end."""

    started: bool
    at_ms: int
    duration_ms: int = 0


class Dtmf(msgspec.Struct, frozen=True, tag=True):
    """The caller pressed a key."""

    digit: str


class Interrupted(msgspec.Struct, frozen=True, tag=True):
    """The caller spoke over the agent; what was queued is dropped."""

    played_ms: int


class Marked(msgspec.Struct, frozen=True, tag=True):
    """The echo of a mark."""

    name: str
    cleared: bool


class Cue(msgspec.Struct, frozen=True, tag=True):
    """What the call wants of the agent."""

    kind: CueKind
    text: str | None = None
    number: int = 0


ToAgent = Speech | Dtmf | Interrupted | Marked | Cue


# --- the agent to the line ----------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True, tag=True):
    """The agent listens and may speak."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The agent did not start, or broke."""

    error: str


class Lost(msgspec.Struct, frozen=True, tag=True):
    """The agent's process is gone, or was killed because it hung. Said by the pool, not by an agent."""

    error: str


class Say(msgspec.Struct, frozen=True, tag=True):
    """The audio that follows speaks this text."""

    text: str


class Play(msgspec.Struct, frozen=True, tag=True):
    """Audio to append to the play-out queue."""

    mulaw: bytes


class MarkAsked(msgspec.Struct, frozen=True, tag=True):
    """An echo is wanted here."""

    name: str


class Clear(msgspec.Struct, frozen=True, tag=True):
    """Drop what is queued."""


class PressKeys(msgspec.Struct, frozen=True, tag=True):
    """Send keys."""

    digits: str


class HangUp(msgspec.Struct, frozen=True, tag=True):
    """The agent wants the call to end."""

    reason: str
    drain: bool


class Heard(msgspec.Struct, frozen=True, tag=True):
    """The caller said this."""

    text: str
    start_ms: int
    end_ms: int
    words: tuple[Word, ...] = ()


class Acted(msgspec.Struct, frozen=True, tag=True):
    """The agent called a tool."""

    name: str
    arguments: str
    result: str
    failed: bool = False


class Consented(msgspec.Struct, frozen=True, tag=True):
    """The caller agreed to a recording, or did not."""

    granted: bool


class Notice(msgspec.Struct, frozen=True, tag=True):
    """The audio from here on tells the caller of the recording, which begins with it; nothing interrupts that.

    Without `begins` it is told: the audio from here on is as any other.
    """

    begins: bool


class Gone(msgspec.Struct, frozen=True, tag=True):
    """The agent has stopped; `clean` is False when it had to be killed. `left` counts what stayed behind."""

    clean: bool
    left: int = 0
    report: dict[str, Any] = msgspec.field(default_factory=dict)


FromAgent = (
    Started
    | Failed
    | Lost
    | Say
    | Play
    | MarkAsked
    | Clear
    | PressKeys
    | HangUp
    | Heard
    | Acted
    | Consented
    | Notice
    | Gone
)
