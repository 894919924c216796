"""The links of a chain, by its complete options."""

from typing import NamedTuple

from onhook.agents.agent import AgentError
from onhook.agents.chain.deepgram import DeepgramEar
from onhook.agents.chain.elevenlabs import ElevenLabsVoice
from onhook.agents.chain.openai import OpenAIChat, OpenAIEar, OpenAIVoice
from onhook.agents.chain.parts import Chat, SpeechToText, TextToSpeech
from onhook.agents.definition import AgentDefinition, DefinitionError
from onhook.agents.model_options import ChainOptions
from onhook.agents.providers.deadlines import Limits
from onhook.agents.providers.http import ProviderHttp
from onhook.agents.providers.needed import check_keys, completed


class Links(NamedTuple):
    """The three links."""

    ear: SpeechToText
    chat: Chat
    voice: TextToSpeech


def complete_options(definition: AgentDefinition) -> ChainOptions:
    """Return the options, complete. Raises `AgentError` for one that is wrong, or whose key is missing."""
    try:
        check_keys(definition)
        return completed(definition)
    except DefinitionError as error:
        raise AgentError(str(error)) from error


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
