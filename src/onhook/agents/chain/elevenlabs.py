"""Text to speech by ElevenLabs, in mu-law as it is (https://elevenlabs.io/docs/api-reference/text-to-speech/stream).

Written against loopback fakes, not run against the live service.
"""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from onhook.agents.providers.deadlines import Limits, paced
from onhook.agents.providers.environment import ELEVENLABS
from onhook.agents.providers.http import ProviderHttp

USUAL_VOICE = "JBFqnCBsd6RMkjVDRZzb"
USUAL_MODEL = "eleven_flash_v2_5"
SPEEDS = (0.7, 1.2)
"""The slowest and the fastest that the API takes."""


class ElevenLabsVoice:
    """One voice."""

    def __init__(self, http: ProviderHttp, voice: str | None, model: str | None, speed: float, limits: Limits) -> None:
        self._http = http
        self._path = f"/text-to-speech/{quote(voice or USUAL_VOICE, safe='')}/stream?output_format=ulaw_8000"
        self._body: dict[str, Any] = {"model_id": model or USUAL_MODEL}
        if speed != 1:
            self._body["voice_settings"] = {"speed": min(max(speed, SPEEDS[0]), SPEEDS[1])}
        self._limits = limits

    def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """See `TextToSpeech`."""
        return paced(self._stream(text), ELEVENLABS.name, self._limits)

    async def _stream(self, text: str) -> AsyncGenerator[bytes, None]:
        headers = {"xi-api-key": ELEVENLABS.key()}
        url = ELEVENLABS.url(self._path)
        body = {**self._body, "text": text}
        async with self._http.post(ELEVENLABS.name, url, headers, json=body) as answer:
            async for chunk in answer.content.iter_any():
                yield chunk
