"""The three links by OpenAI, or any server that has its API: `OPENAI_BASE_URL` says where.

Speech to text takes a turn at once, when the line hears its end; so it needs the line's ear. Text to speech comes at 24
kHz and is brought down here. Written against loopback fakes, not run against the live service.
"""

import asyncio
import io
import wave
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec

from onhook.agents.chain.downsample import Downsampler
from onhook.agents.chain.parts import FunctionCall, Heard, Message, OnHeard, OnLost, ToolCall
from onhook.agents.messages import Speech
from onhook.agents.providers.deadlines import Limits, paced
from onhook.agents.providers.environment import OPENAI, ProviderError
from onhook.agents.providers.http import ProviderHttp, Request
from onhook.agents.tools import Tool
from onhook.lines.media.g711 import mulaw_to_linear

USUAL_CHAT = "gpt-4.1-mini"
USUAL_EAR = "gpt-4o-mini-transcribe"
USUAL_SPEECH = "gpt-4o-mini-tts"
USUAL_VOICE = "alloy"
LEAD_FRAMES = 25
"""Half a second of 20 ms: the line notices a begin of speech after it has begun."""
MAX_TURN_FRAMES = 3_000
"""One minute of 20 ms; of a longer turn the end is transcribed."""
SPEEDS = (0.25, 4.0)


def _authorization() -> dict[str, str]:
    return {"Authorization": f"Bearer {OPENAI.key()}"}


class _Transcription(msgspec.Struct):
    text: str


class OpenAIEar:
    """`/v1/audio/transcriptions`, one request for each turn."""

    def __init__(self, http: ProviderHttp, language: str, model: str | None, limits: Limits) -> None:
        self._http = http
        self._language = language.partition("-")[0]
        self._model = model or USUAL_EAR
        self._limits = limits
        self._on_heard: OnHeard
        self._on_lost: OnLost
        self._speaks = False
        self._frames: deque[bytes] = deque(maxlen=LEAD_FRAMES)
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, on_heard: OnHeard, on_lost: OnLost) -> None:
        """Nothing is open between two turns."""
        self._on_heard, self._on_lost = on_heard, on_lost

    def on_audio(self, mulaw: bytes) -> None:
        """Keep it."""
        self._frames.append(mulaw)

    def on_speech(self, speech: Speech) -> None:
        """Transcribe the turn when it is over."""
        if speech.started:
            self._frames = deque(self._frames, maxlen=MAX_TURN_FRAMES)
        elif self._speaks:
            task = asyncio.create_task(self._transcribe(b"".join(self._frames)))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            self._frames = deque(maxlen=LEAD_FRAMES)
        self._speaks = speech.started

    async def close(self) -> None:
        """Give up what is on its way."""
        self.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abort(self) -> None:
        """Give up what is on its way."""
        for task in self._tasks:
            task.cancel()

    async def _transcribe(self, mulaw: bytes) -> None:
        wav = _wav(mulaw)
        try:
            async with asyncio.timeout(self._limits.first):
                url = OPENAI.url("/audio/transcriptions")
                request = Request(OPENAI.name, url, _authorization(), form=lambda: self._form(wav))
                async with self._http.post(request) as answer:
                    text = msgspec.json.decode(await answer.read(), type=_Transcription).text
        except TimeoutError as error:
            raise ProviderError(f"{OPENAI.name} did not transcribe in {self._limits.first:g} s") from error
        except msgspec.DecodeError as error:
            raise ProviderError(f"{OPENAI.name} sent what is no transcription") from error
        self._on_heard(Heard(text.strip()))

    def _form(self, wav: bytes) -> aiohttp.FormData:
        form = aiohttp.FormData({"model": self._model, "language": self._language, "response_format": "json"})
        form.add_field("file", wav, filename="turn.wav", content_type="audio/wav")
        return form

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_lost(str(error))


def _wav(mulaw: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(mulaw_to_linear(mulaw))
    return file.getvalue()


class _FunctionDelta(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _FunctionDelta = msgspec.field(default_factory=_FunctionDelta)


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)


class OpenAIChat:
    """`/v1/chat/completions`, streamed."""

    def __init__(self, http: ProviderHttp, model: str | None, temperature: float | None, limits: Limits) -> None:
        self._http = http
        self._body: dict[str, Any] = {"model": model or USUAL_CHAT, "stream": True}
        if temperature is not None:
            self._body["temperature"] = temperature
        self._limits = limits

    async def answer(
        self, history: Sequence[Message], tools: Sequence[Tool], *, retry: bool
    ) -> AsyncGenerator[str | ToolCall, None]:
        """See `Chat`."""
        calls: dict[int, tuple[str, str, str]] = {}
        is_finished = False
        async with aclosing(paced(self._stream(history, tools, retry), OPENAI.name, self._limits)) as stream:
            async for choice in stream:
                for part in choice.delta.tool_calls or ():
                    calls[part.index] = _joined(calls.get(part.index, ("", "", "")), part)
                if choice.delta.content:
                    yield choice.delta.content
                is_finished |= choice.finish_reason is not None
        if not is_finished:
            raise ProviderError(f"{OPENAI.name} broke off an answer")
        for call_id, name, arguments in calls.values():
            yield ToolCall(call_id, FunctionCall(name, arguments))

    async def _stream(
        self, history: Sequence[Message], tools: Sequence[Tool], retry: bool
    ) -> AsyncGenerator[_Choice, None]:
        functions = [{"type": "function", "function": tool._asdict()} for tool in tools]
        body = {**self._body, "messages": msgspec.to_builtins(history)} | ({"tools": functions} if functions else {})
        request = Request(OPENAI.name, OPENAI.url("/chat/completions"), _authorization(), json=body)
        try:
            async with self._http.post(request, retry=retry) as answer:
                async for line in answer.content:  # server-sent events, each on one line
                    data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
                    if data == b"[DONE]":
                        return
                    if data and (choices := msgspec.json.decode(data, type=_Chunk).choices):
                        yield choices[0]
        except msgspec.DecodeError as error:
            raise ProviderError(f"{OPENAI.name} sent what is no piece of an answer") from error


def _joined(call: tuple[str, str, str], part: _ToolDelta) -> tuple[str, str, str]:
    call_id, name, arguments = call
    return part.id or call_id, part.function.name or name, arguments + (part.function.arguments or "")


class OpenAIVoice:
    """`/v1/audio/speech`, streamed."""

    def __init__(self, http: ProviderHttp, voice: str | None, model: str | None, speed: float, limits: Limits) -> None:
        self._http = http
        self._body: dict[str, Any] = {"model": model or USUAL_SPEECH, "voice": voice or USUAL_VOICE}
        self._body["response_format"] = "pcm"
        if speed != 1:
            self._body["speed"] = min(max(speed, SPEEDS[0]), SPEEDS[1])
        self._limits = limits

    def speak(self, text: str, *, retry: bool) -> AsyncGenerator[bytes, None]:
        """See `TextToSpeech`."""
        body = {**self._body, "input": text}
        request = Request(OPENAI.name, OPENAI.url("/audio/speech"), _authorization(), json=body)
        return paced(self._stream(request, retry), OPENAI.name, self._limits)

    async def _stream(self, request: Request, retry: bool) -> AsyncGenerator[bytes, None]:
        down = Downsampler()
        async with self._http.post(request, retry=retry) as answer:
            async for chunk in answer.content.iter_any():
                yield down.add(chunk)
