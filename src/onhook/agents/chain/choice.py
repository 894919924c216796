"""Which providers make up a chain: by the agent's options, else by which keys are there."""

from typing import NamedTuple

import msgspec

from onhook.agents.agent import AgentError
from onhook.agents.chain.deepgram import DeepgramEar
from onhook.agents.chain.elevenlabs import ElevenLabsVoice
from onhook.agents.chain.openai import OpenAIChat, OpenAIEar, OpenAIVoice
from onhook.agents.chain.parts import Chat, SpeechToText, TextToSpeech
from onhook.agents.definition import AgentDefinition, DefinitionError
from onhook.agents.model_options import ChainOptions, options_of
from onhook.agents.providers.deadlines import Limits
from onhook.agents.providers.environment import DEEPGRAM, ELEVENLABS, OPENAI, Provider
from onhook.agents.providers.http import ProviderHttp

EARS: dict[str, Provider] = {"deepgram": DEEPGRAM, "openai": OPENAI}
VOICES: dict[str, Provider] = {"elevenlabs": ELEVENLABS, "openai": OPENAI}


class Links(NamedTuple):
    """The three links."""

    ear: SpeechToText
    chat: Chat
    voice: TextToSpeech


def complete_options(definition: AgentDefinition) -> ChainOptions:
    """Return the options, complete. Raises `AgentError` for one that is wrong, or whose key is missing."""
    try:
        options = options_of(definition, ChainOptions)
    except DefinitionError as error:
        raise AgentError(str(error)) from error
    options = msgspec.structs.replace(
        options,
        stt=options.stt or ("openai" if DEEPGRAM.missing() else "deepgram"),
        tts=options.tts or ("openai" if ELEVENLABS.missing() else "elevenlabs"),
    )
    for provider in (OPENAI, EARS[options.stt or ""], VOICES[options.tts or ""]):
        provider.key()
    return options


def links(definition: AgentDefinition, options: ChainOptions, http: ProviderHttp, limits: Limits) -> Links:
    """Return the links that complete `options` name."""
    ear: SpeechToText
    if options.stt == "deepgram":
        ear = DeepgramEar(definition.language, options.stt_model, limits)
    else:
        ear = OpenAIEar(http, definition.language, options.stt_model, limits)
    speech = ElevenLabsVoice if options.tts == "elevenlabs" else OpenAIVoice
    voice = speech(http, definition.voice, options.tts_model, definition.speed, limits)
    return Links(ear, OpenAIChat(http, options.model, definition.temperature, limits), voice)
