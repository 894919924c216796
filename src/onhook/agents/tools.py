"""What a model may do on a call, and the words by which it is told what the call wants of it."""

from typing import Any, NamedTuple

import msgspec

from onhook.agents.agent import CallMedia
from onhook.agents.definition import Consent, MachinePolicy
from onhook.agents.messages import CallInfo, Cue, CueKind

MANNERS = (
    "You are on a phone call. Speak in short, plain sentences, without lists, markup or emojis. "
    "The language of the call is {language}. What stands in square brackets is told by the line, not by the caller. "
    "When the conversation is over, call end_call."
)
CONSENT = (
    "The call begins with your question whether it may be recorded. Call recording_consent with the caller's answer "
    "before anything else, then begin the conversation. {greeting}"
)
ASK_CONSENT = "May we record this call?"
NOTICE = "This call is recorded."
NOTICE_MARK = "notice"
"""The name of the mark behind it."""
GIVE_NOTICE = (
    "The caller has to be told this, in exactly these words. Begin with them unless you have said them: {notice}"
)
EXACTLY = "Say exactly this and nothing else: {text}"
ASK_STILL_THERE = "[The caller has been silent for a while.] Ask briefly whether the caller is still there."
SAY_GOODBYE = "[The call ends now.] Say a short goodbye. Ask nothing."
LEAVE_A_MESSAGE = "[An answering machine has beeped.] Leave a short message and say goodbye. Ask nothing."
MACHINE_ANSWERED = "[An answering machine has answered.]"
AWAIT_BEEP = "[An answering machine has answered. Say nothing until you are asked to.]"
GREET = "[The caller has answered.] Greet the caller."

KEYS_PRESSED = "[The caller pressed {keys}.]"


class Tool(NamedTuple):
    """A function that a model may call; `parameters` is JSON Schema."""

    name: str
    description: str
    parameters: dict[str, Any]


END_CALL = Tool(
    "end_call",
    "End the phone call, once everything is said.",
    {
        "type": "object",
        "properties": {
            "farewell": {"type": "string", "description": "Your last words, unless you have just said them."},
            "reason": {"type": "string", "description": "Why the call ends, in a few words."},
        },
    },
)
PRESS_KEYS = Tool(
    "press_keys",
    "Press keys of the phone, for instance in a voice menu.",
    {
        "type": "object",
        "properties": {"digits": {"type": "string", "description": "Keys among 0-9, *, # and A-D.", "maxLength": 32}},
        "required": ["digits"],
    },
)
RECORDING_CONSENT = Tool(
    "recording_consent",
    "Tell whether the caller agreed to a recording of the call.",
    {"type": "object", "properties": {"granted": {"type": "boolean"}}, "required": ["granted"]},
)


class _EndCall(msgspec.Struct):
    farewell: str = ""
    reason: str = ""


class _PressKeys(msgspec.Struct):
    digits: str


class _RecordingConsent(msgspec.Struct):
    granted: bool


class Farewell(NamedTuple):
    """The model wants the call to end: its last words, unless it has said them, and why."""

    words: str
    reason: str


class Ran(NamedTuple):
    """What became of a tool call: a result for the model, as JSON text, and the end of the call if it was that."""

    result: str
    farewell: Farewell | None = None


class Toolbox:
    """The tools of one call."""

    def __init__(self, call: CallInfo, media: CallMedia) -> None:
        self._media = media
        asks = _asks_consent(call)
        self.tools = (END_CALL, PRESS_KEYS, RECORDING_CONSENT) if asks else (END_CALL, PRESS_KEYS)

    def run(self, name: str, arguments: str) -> Ran:
        """Do what a model asks for, and enter it into the log. Nonsense is a result too: the model may do better."""
        try:
            ran = self._run(name, arguments or "{}")
        except (ValueError, msgspec.DecodeError) as error:
            ran = Ran(_json({"error": str(error)}))
            self._media.action(name, arguments, ran.result, failed=True)
        else:
            self._media.action(name, arguments, ran.result)
        return ran

    def _run(self, name: str, arguments: str) -> Ran:
        farewell = None
        match name:
            case END_CALL.name:
                wish = msgspec.json.decode(arguments, type=_EndCall)
                farewell = Farewell(wish.farewell.strip(), wish.reason or "the agent ended the call")
            case PRESS_KEYS.name:
                self._media.send_dtmf(msgspec.json.decode(arguments, type=_PressKeys).digits)
            case RECORDING_CONSENT.name:
                self._media.consent(granted=msgspec.json.decode(arguments, type=_RecordingConsent).granted)
            case _:
                raise ValueError(f"there is no tool {name!r}")
        return Ran(_json({"ok": True}), farewell)


class FirstWords:
    """The notice of a recording on one call: the first words of an agent that gives one, be they the model's own."""

    def __init__(self, call: CallInfo, media: CallMedia) -> None:
        self._media = media
        self._is_due = _notice(call) is not None
        self._is_begun = False
        self.in_progress = False
        """True from its first sound until it has been heard."""

    def begin(self) -> None:
        """Tell the line of the first words, unless they were said; their audio follows."""
        if self._is_due:
            self._is_due, self._is_begun, self.in_progress = False, True, True
            self._media.notice(begins=True)

    def end(self) -> None:
        """Take the end of what the agent is saying."""
        if self._is_begun:
            self._is_begun = False
            self._media.notice(begins=False)
            self._media.mark(NOTICE_MARK)

    def on_mark(self, name: str) -> None:
        """Take the echo of a mark."""
        self.in_progress = self.in_progress and name != NOTICE_MARK


def instructions(call: CallInfo) -> str:
    """Return what a model is told once, before the call."""
    definition = call.definition
    parts = [definition.prompt, MANNERS.format(language=definition.language)]
    if _asks_consent(call):
        greeting = definition.initial_message
        parts.append(CONSENT.format(greeting=EXACTLY.format(text=greeting) if greeting else ""))
    notice = _notice(call)
    if notice is not None:  # the caller may have spoken before it was said, or over it
        parts.append(GIVE_NOTICE.format(notice=notice))
    return "\n\n".join(part for part in parts if part)


def opening(call: CallInfo) -> str | None:
    """Return the words to begin with; None when the model finds its own, or the caller speaks first."""
    definition = call.definition
    if _asks_consent(call):
        return definition.recording_notice or ASK_CONSENT
    notice = _notice(call)
    greeting = definition.initial_message if definition.agent_speaks_first else None
    return " ".join(part for part in (notice, greeting) if part) or None


ORDERS = {
    CueKind.STILL_THERE: ASK_STILL_THERE,
    CueKind.FAREWELL: SAY_GOODBYE,
    CueKind.LEAVE_MESSAGE: LEAVE_A_MESSAGE,
}
"""What a model is told for a cue that has no words of its own; for other cues nothing is said."""

ENDS = frozenset({CueKind.FAREWELL, CueKind.LEAVE_MESSAGE})
"""Cues after which the agent hangs up."""


def machine_answered(call: CallInfo) -> str:
    """Return what a model is told of an answering machine, to which it may go on talking unless it is to wait."""
    return AWAIT_BEEP if call.definition.machine is MachinePolicy.LEAVE_MESSAGE else MACHINE_ANSWERED


def wanted(cue: Cue) -> str | None:
    """Return what to tell a model for a cue; None when it is to say nothing."""
    return EXACTLY.format(text=cue.text) if cue.text else ORDERS.get(cue.kind)


def _notice(call: CallInfo) -> str | None:
    """Return what the caller is told of the recording; None when that is nothing, or a question."""
    definition = call.definition
    gives_notice = definition.record and definition.consent is Consent.NOTICE
    return (definition.recording_notice or NOTICE) if gives_notice else None


def _asks_consent(call: CallInfo) -> bool:
    return call.definition.record and call.definition.consent is Consent.ASK


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
