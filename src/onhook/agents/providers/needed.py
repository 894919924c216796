"""Which providers an agent of the cloud kinds needs; light enough to be asked before a call."""

import msgspec

from onhook.agents.definition import AgentDefinition, AgentKind, DefinitionError
from onhook.agents.model_options import ChainOptions, options_of
from onhook.agents.providers.environment import DEEPGRAM, ELEVENLABS, OPENAI, Provider

EARS: dict[str, Provider] = {"deepgram": DEEPGRAM, "openai": OPENAI}
VOICES: dict[str, Provider] = {"elevenlabs": ELEVENLABS, "openai": OPENAI}


def completed(definition: AgentDefinition) -> ChainOptions:
    """Return a chain's options; the links that they leave open are decided by which keys are there.

    Raises `DefinitionError` for an option that is wrong.
    """
    options = options_of(definition, ChainOptions)
    return msgspec.structs.replace(
        options,
        stt=options.stt or ("openai" if DEEPGRAM.missing() else "deepgram"),
        tts=options.tts or ("openai" if ELEVENLABS.missing() else "elevenlabs"),
    )


def check_keys(definition: AgentDefinition) -> None:
    """Raise `DefinitionError` with the variables of the keys that an agent needs and the environment does not hold."""
    missing = [text for text in (provider.missing() for provider in _needed(definition)) if text is not None]
    if missing:
        raise DefinitionError(f"kind: {', '.join(missing)}")


def _needed(definition: AgentDefinition) -> list[Provider]:
    """Return each provider that an agent needs, once."""
    match definition.kind:
        case AgentKind.OPENAI_REALTIME:
            return [OPENAI]
        case AgentKind.CHAIN:
            options = completed(definition)
            return list(dict.fromkeys((OPENAI, EARS[options.stt or ""], VOICES[options.tts or ""])))
        case _:
            return []
