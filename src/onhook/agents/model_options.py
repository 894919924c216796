"""What an agent's `options` may say for the kinds that have a model; light enough to be checked before a call."""

from typing import Literal, TypeVar

import msgspec

from onhook.agents.definition import AgentDefinition, AgentKind, DefinitionError


class RealtimeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those of `openai_realtime`; `eagerness` is semantic turn detection's."""

    model: str = "gpt-realtime"
    transcription_model: str = "gpt-4o-mini-transcribe"
    turn_detection: Literal["server_vad", "semantic_vad"] = "server_vad"
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"


class ChainOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those of `chain`; `model` is the chat's. What is not said depends on which keys are there."""

    stt: Literal["deepgram", "openai"] | None = None
    tts: Literal["elevenlabs", "openai"] | None = None
    model: str | None = None
    stt_model: str | None = None
    tts_model: str | None = None


Options = TypeVar("Options", RealtimeOptions, ChainOptions)


def options_of(definition: AgentDefinition, kind: type[Options]) -> Options:
    """Return an agent's options. Raises `DefinitionError` naming what is wrong."""
    try:
        return msgspec.convert(definition.options, kind)
    except msgspec.ValidationError as error:
        raise DefinitionError(f"options: {error}") from error


def check_options(definition: AgentDefinition) -> None:
    """Check the options of a kind that has a model. Raises `DefinitionError`."""
    if definition.kind is AgentKind.OPENAI_REALTIME:
        options_of(definition, RealtimeOptions)
    elif definition.kind is AgentKind.CHAIN:
        options_of(definition, ChainOptions)
