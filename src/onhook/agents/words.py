"""What each dialect's words about an agent mean: one table per dialect, from a word to the fields of a definition."""

from collections.abc import Callable
from typing import Any, NamedTuple

from onhook.agents.definition import BargeIn, MachinePolicy, Sensitivity
from onhook.calls.call import Dialect

Fields = dict[str, Any]
"""Fields of an `AgentDefinition` by name; those of its idle rules as `idle.after_ms`."""

SENSITIVITY_BELOW = {0.4: Sensitivity.LOW, 0.8: Sensitivity.MEDIUM}
"""Retell's number for ours; from the last bound on it is high."""


class Word(NamedTuple):
    """The type of what a word holds, and what it writes into the fields."""

    type: Any
    write: Callable[[Fields, Any], None]


def _to(field: str, scale: int = 1) -> Callable[[Fields, Any], None]:
    """Return a writer of one field; a `scale` of 1000 makes ms of seconds."""

    def write(fields: Fields, value: Any) -> None:
        fields[field] = value if scale == 1 else round(value * scale)

    return write


def _to_ms(field: str) -> Callable[[Fields, Any], None]:
    """Return a writer of one field from ms that may have a fraction."""

    def write(fields: Fields, value: float) -> None:
        fields[field] = round(value)

    return write


def _language(fields: Fields, language: str | list[str]) -> None:
    """Take the first of several languages; `multi` names none."""
    first = language if isinstance(language, str) else next(iter(language), "multi")
    if first != "multi":
        fields["language"] = first


def _speaker(fields: Fields, speaker: str) -> None:
    fields["agent_speaks_first"] = speaker != "user"


def _interruption(fields: Fields, sensitivity: float) -> None:
    """Take Retell's 0 (never) to 1 (easily)."""
    if sensitivity <= 0:
        fields["barge_in"] = BargeIn.OFF
        return
    words = (word for bound, word in SENSITIVITY_BELOW.items() if sensitivity < bound)
    fields["sensitivity"] = next(words, Sensitivity.HIGH)


def _keys_interrupt(fields: Fields, allowed: bool) -> None:
    """Let a key interrupt an agent that no voice does."""
    if allowed and fields.get("barge_in") is BargeIn.OFF:
        fields["barge_in"] = BargeIn.DTMF


def _silence(fields: Fields, limit_ms: int) -> None:
    """Take Retell's limit for the caller's silence; an agent that is silent, too, is no reason to end it sooner."""
    fields |= {"idle.inactivity_ms": limit_ms, "both_silent_ms": limit_ms}


def _voicemail(fields: Fields, option: dict[str, Any]) -> None:
    """Take Retell's action; one that is none of ours, such as a transfer, is a report."""
    match option.get("action"):
        case {"type": "static_text" | "prompt", "text": str(text)}:
            fields |= {"machine": MachinePolicy.LEAVE_MESSAGE, "voicemail_message": text}
        case {"type": "hangup"}:
            fields["machine"] = MachinePolicy.HANG_UP
        case _:
            fields["machine"] = MachinePolicy.REPORT


TALKOVER: dict[str, Word] = {
    "language": Word(str | list[str], _language),
    "voice_id": Word(str, _to("voice")),
    "conversation_speed": Word(float, _to("speed")),
    "description": Word(str, _to("prompt")),
    "initial_message": Word(str, _to("initial_message")),
    "initial_message_delay": Word(float, _to("initial_delay_ms", 1000)),
    "who_speaks_first": Word(str, _speaker),
    "interrupt_sensitivity": Word(Sensitivity, _to("sensitivity")),
    "ask_if_human_present_on_idle": Word(bool, _to("idle.ask")),
    "idle_time_seconds": Word(float, _to("idle.after_ms", 1000)),
    "max_idle_check_count": Word(int, _to("idle.max_checks")),
    "initial_idle_time_seconds": Word(float, _to("idle.first_after_ms", 1000)),
    "initial_max_idle_check_count": Word(int, _to("idle.first_max_checks")),
    "user_inactivity_timeout_seconds": Word(float, _to("idle.inactivity_ms", 1000)),
    "say_goodbye_on_max_duration": Word(bool, _to("goodbye_on_max_duration")),
    "llm_temperature": Word(float, _to("temperature")),
    "enable_recording": Word(bool, _to("record")),
}
"""TalkOver's. `endpointing_sensitivity`, `ivr_navigation_mode` and the voice's details are kept, not used."""

RETELL: dict[str, Word] = {
    "language": Word(str | list[str], _language),
    "voice_id": Word(str, _to("voice")),
    "voice_speed": Word(float, _to("speed")),
    "interruption_sensitivity": Word(float, _interruption),
    "allow_dtmf_interruption": Word(bool, _keys_interrupt),
    "begin_message_delay_ms": Word(float, _to_ms("initial_delay_ms")),
    "reminder_trigger_ms": Word(float, _to_ms("idle.after_ms")),
    "reminder_max_count": Word(int, _to("idle.max_checks")),
    "end_call_after_silence_ms": Word(int, _silence),
    "voicemail_option": Word(dict[str, Any], _voicemail),
}
"""Retell's; `allow_dtmf_interruption` comes after the word that it makes an exception of."""

WORDS: dict[Dialect, dict[str, Word]] = {Dialect.TALKOVER: TALKOVER, Dialect.ANUNZI: RETELL}

DEFAULTS: dict[Dialect, Fields] = {
    Dialect.ANUNZI: {
        "sensitivity": Sensitivity.HIGH,
        "idle.after_ms": 10_000,
        "idle.max_checks": 1,
        "idle.ends_call": False,
        "idle.inactivity_ms": 600_000,
        "both_silent_ms": 600_000,
    }
}
"""What an agent of a dialect is without a word of it, where the dialect says so."""
