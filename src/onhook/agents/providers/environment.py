"""Where providers are, and the keys to them: from the environment of the server, never from a client of the API."""

import os
from collections.abc import Iterable

import msgspec

from onhook.agents.agent import AgentError


class ProviderError(AgentError):
    """A provider refused, broke off or said nothing for too long. The message holds no key and no body of an answer."""


class Provider(msgspec.Struct, frozen=True):
    """One provider: how it is called, and where its key and another address of it are in the environment."""

    name: str
    key_variable: str
    url_variable: str
    usual_url: str

    def missing(self) -> str | None:
        """Say what is missing, or None."""
        return None if os.environ.get(self.key_variable) else f"{self.key_variable} is not set"

    def key(self) -> str:
        """Return the key. Raises `ProviderError` naming the variable when there is none."""
        missing = self.missing()
        if missing is not None:
            raise ProviderError(missing)
        return os.environ[self.key_variable]

    def url(self, path: str) -> str:
        """Return the address of `path`, below the base that the environment may set."""
        return (os.environ.get(self.url_variable) or self.usual_url).rstrip("/") + path

    def websocket_url(self, path: str) -> str:
        """Return the address of `path` for a websocket."""
        return "ws" + self.url(path).removeprefix("http")


OPENAI = Provider("OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1")
DEEPGRAM = Provider("Deepgram", "DEEPGRAM_API_KEY", "DEEPGRAM_BASE_URL", "https://api.deepgram.com/v1")
ELEVENLABS = Provider("ElevenLabs", "ELEVENLABS_API_KEY", "ELEVENLABS_BASE_URL", "https://api.elevenlabs.io/v1")


def readiness(kind: str, needed: Iterable[Provider]) -> dict[str, str]:
    """Return the entry of a kind for `components()`: `ok`, or which keys are missing."""
    missing = [text for text in (provider.missing() for provider in needed) if text is not None]
    return {kind: ", ".join(missing) or "ok"}
