"""The three links of the chain. A provider is one file with one class for each link that it has."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Literal, Protocol

import msgspec

from onhook.agents.messages import Speech, Word
from onhook.agents.tools import Tool


class FunctionCall(msgspec.Struct, frozen=True):
    """Which function a model calls; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True):
    """A tool call as it stands in the history of a chat."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of a chat, as `/v1/chat/completions` wants it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Heard(msgspec.Struct, frozen=True):
    """What the caller said in a turn, maybe nothing; `words` with times that count from anywhere."""

    text: str
    words: tuple[Word, ...] = ()


OnHeard = Callable[[Heard], None]
OnLost = Callable[[str], None]


class SpeechToText(Protocol):
    """Hears the caller. Reports every turn, once it is over, and the loss of the provider."""

    async def open(self, on_heard: OnHeard, on_lost: OnLost) -> None:
        """Get ready. Raises `ProviderError`."""
        ...

    def on_audio(self, mulaw: bytes) -> None:
        """Take 20 ms of the caller's voice."""
        ...

    def on_speech(self, speech: Speech) -> None:
        """Take a begin or an end of the caller's speech, as the line hears it."""
        ...

    async def close(self) -> None:
        """Let go within the limit; nothing is left when it returns."""
        ...

    def abort(self) -> None:
        """Let go now."""
        ...


class Chat(Protocol):
    """Finds the answer."""

    def answer(
        self, history: Sequence[Message], tools: Sequence[Tool], *, retry: bool
    ) -> AsyncGenerator[str | ToolCall, None]:
        """Stream an answer: pieces of text, then the tool calls. Raises `ProviderError`.

        With `retry` the provider may be asked once more, before its answer has begun.
        """
        ...


class TextToSpeech(Protocol):
    """Speaks."""

    def speak(self, text: str, *, retry: bool) -> AsyncGenerator[bytes, None]:
        """Stream `text` as mu-law at 8 kHz, in pieces of any length. Raises `ProviderError`. `retry`: see `Chat`."""
        ...
