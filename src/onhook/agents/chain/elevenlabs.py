"""Text to speech by ElevenLabs, in mu-law as it is (https://elevenlabs.io/docs/api-reference/text-to-speech/stream).

Written against loopback fakes, not run against the live service.
"""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from onhook.agents.providers.deadlines import Limits, paced
from onhook.agents.providers.environment import ELEVENLABS
from onhook.agents.providers.http import ProviderHttp, Request

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

    def speak(self, text: str, *, retry: bool) -> AsyncGenerator[bytes, None]:
        """See `TextToSpeech`."""
        headers, body = {"xi-api-key": ELEVENLABS.key()}, {**self._body, "text": text}
        request = Request(ELEVENLABS.name, ELEVENLABS.url(self._path), headers, json=body)
        return paced(self._stream(request, retry), ELEVENLABS.name, self._limits)

    async def _stream(self, request: Request, retry: bool) -> AsyncGenerator[bytes, None]:
        async with self._http.post(request, retry=retry) as answer:
            async for chunk in answer.content.iter_any():
                yield chunk
