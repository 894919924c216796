"""What an agent is: one typed value, whatever dialect its maker spoke.

The store keeps an agent's settings as its dialect gave them. `onhook.agents.reading.definition_of` turns them into
an `AgentDefinition`, which is all that the line and the agent processes know of an agent. Times are ms.
"""

from enum import StrEnum
from typing import Any

import msgspec


class AgentKind(StrEnum):
    """What speaks on the call."""

    GREETING = "greeting"
    """Plays a greeting, then is silent. Lives in the line process."""
    ECHO = "echo"
    """Plays the greeting, then repeats what it hears. Lives in the line process."""
    SILENCE = "silence"
    """Says nothing. Lives in the line process."""
    SCRIPTED = "scripted"
    """Follows a script with espeak-ng, a small grammar and keys; needs no network."""
    WEBSOCKET = "websocket"
    """A bot of yours that speaks Twilio Media Streams; we connect to it."""
    OPENAI_REALTIME = "openai_realtime"
    """A speech-to-speech model behind one websocket."""
    CHAIN = "chain"
    """Speech to text, a chat model, text to speech."""


LINE_KINDS = frozenset({AgentKind.GREETING, AgentKind.ECHO, AgentKind.SILENCE})
"""Kinds that need no agent process."""

UNASKABLE_KINDS = LINE_KINDS | {AgentKind.WEBSOCKET}
"""Kinds that cannot be asked to say something: they have no voice of their own, or their protocol no word for it."""


class BargeIn(StrEnum):
    """What interrupts the agent."""

    OFF = "off"
    VAD = "vad"
    """The caller's voice."""
    DTMF = "dtmf"
    """A key only."""


class Sensitivity(StrEnum):
    """How easily the caller's voice interrupts."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class MachinePolicy(StrEnum):
    """What to do about an answering machine."""

    OFF = "off"
    """Do not listen for one."""
    REPORT = "report"
    """Tell the event log and the agent, go on."""
    HANG_UP = "hang_up"
    LEAVE_MESSAGE = "leave_message"
    """Wait for the beep, say `voicemail_message`, hang up."""


class Consent(StrEnum):
    """How the caller learns of a recording."""

    NONE = "none"
    NOTICE = "notice"
    """`recording_notice` is said first; nothing is kept before it, and nothing interrupts it."""
    ASK = "ask"
    """`recording_notice` is asked first; nothing is kept before a yes."""


class IdleRules(msgspec.Struct, frozen=True):
    """What happens while the caller is silent.

    After `after_ms` without a sound of either side the agent is told to ask whether somebody is there, at most
    `max_checks` times (`first_*` rule until the caller has spoken once; None means as later). One more such span ends
    the call, `caller_silence`. Without `ask` nothing is asked: the call ends after `after_ms * (max_checks + 1)`.
    Without `ends_call` none of this ends it. `inactivity_ms` ends it whatever was asked, counted from the caller's last
    sound; None is never.
    """

    after_ms: int = 15_000
    max_checks: int = 2
    ask: bool = True
    first_after_ms: int | None = None
    first_max_checks: int | None = None
    inactivity_ms: int | None = None
    ends_call: bool = True


class AgentDefinition(msgspec.Struct, frozen=True):
    """An agent, ready to be put on a call; `{{placeholders}}` in its texts are filled in already.

    `speed` is a factor, 1.0 is normal. `language` is a tag such as `en-US`. `options` are the kind's own (model, ...);
    `script` is a script of the scripted kind as it was given, None for the one that is built in. `url` and
    `parameters` are the websocket kind's. `drain_ms` bounds how long queued words go on after the agent hung up.
    `apology` is said, and the call ended, when the agent is lost. `max_tool_calls` in a row without a word or a key of
    the caller between them are a loop.
    """

    kind: AgentKind
    language: str = "en-US"
    voice: str | None = None
    speed: float = 1.0
    prompt: str = ""
    initial_message: str | None = None
    initial_delay_ms: int = 0
    agent_speaks_first: bool = True
    temperature: float | None = None
    barge_in: BargeIn = BargeIn.VAD
    sensitivity: Sensitivity = Sensitivity.MEDIUM
    idle: IdleRules = IdleRules()
    goodbye_on_max_duration: bool = False
    goodbye_message: str | None = None
    record: bool = False
    consent: Consent = Consent.NONE
    recording_notice: str | None = None
    machine: MachinePolicy = MachinePolicy.OFF
    voicemail_message: str | None = None
    apology: str | None = None
    start_timeout_ms: int = 5_000
    media_timeout_ms: int = 30_000
    both_silent_ms: int = 120_000
    drain_ms: int = 5_000
    max_tool_calls: int = 20
    script: dict[str, Any] | None = None
    url: str | None = None
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class DefinitionError(Exception):
    """The agent cannot be put on a call; the message says which field and why."""
