"""Speech to text by Deepgram's live stream (https://developers.deepgram.com/reference/speech-to-text/listen-streaming).

The line knows best when a turn is over: at the end of speech Deepgram is told to finalize, and its last result ends the
turn. Without the line's ear Deepgram's own end of speech does. Written against loopback fakes, not run against the live
service.
"""

import asyncio
from urllib.parse import urlencode

import msgspec

from onhook.agents.chain.parts import Heard, OnHeard, OnLost
from onhook.agents.messages import Speech, Word
from onhook.agents.providers.deadlines import Limits
from onhook.agents.providers.environment import DEEPGRAM, ProviderError
from onhook.agents.providers.websocket import ProviderSocket

FINALIZE = '{"type": "Finalize"}'
CLOSE_STREAM = '{"type": "CloseStream"}'
USUAL_MODEL = "nova-3"
FINAL_LIMIT_S = 1.0
"""After that the latest interim result has to do: Deepgram need not answer a Finalize when it has all said."""
ENDPOINTING_MS = 300


class _Word(msgspec.Struct):
    word: str
    start: float
    end: float
    punctuated_word: str = ""


class _Alternative(msgspec.Struct):
    transcript: str = ""
    words: list[_Word] = msgspec.field(default_factory=list)


class _Channel(msgspec.Struct):
    alternatives: list[_Alternative] = msgspec.field(default_factory=list)


class _Results(msgspec.Struct):
    """A result: final or not, of the audio from `start` on (seconds of the stream)."""

    channel: _Channel
    start: float = 0.0
    duration: float = 0.0
    is_final: bool = False
    speech_final: bool = False
    from_finalize: bool = False


class _Kind(msgspec.Struct):
    type: str = ""


class DeepgramEar:
    """One live stream."""

    def __init__(self, language: str, model: str | None, limits: Limits) -> None:
        self._query = {
            "model": model or USUAL_MODEL,
            "language": language,
            "encoding": "mulaw",
            "sample_rate": 8000,
            "channels": 1,
            "interim_results": "true",
            "smart_format": "true",
            "endpointing": ENDPOINTING_MS,
        }
        self._limits = limits
        self._socket: ProviderSocket | None = None
        self._on_heard: OnHeard
        self._speaks = False
        self._finals: list[_Alternative] = []
        self._interim: _Alternative | None = None
        self._is_settled = False  # Deepgram has heard an end of speech and no word since
        self._flushes = 0  # asked for and not answered
        self._until = 0.0  # of the stream, in s: what is before belongs to turns that were reported
        self._now = 0.0  # how far results have come
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, on_heard: OnHeard, on_lost: OnLost) -> None:
        """Connect. Raises `ProviderError`."""
        self._on_heard = on_heard
        self._socket = ProviderSocket(DEEPGRAM.name, self._limits, self._take, on_lost)
        url = DEEPGRAM.websocket_url(f"/listen?{urlencode(self._query)}")
        await self._socket.open(url, {"Authorization": f"Token {DEEPGRAM.key()}"})

    def on_audio(self, mulaw: bytes) -> None:
        """Stream it."""
        if self._socket is not None:
            self._socket.send(mulaw)

    def on_speech(self, speech: Speech) -> None:
        """End the turn when the caller has ended and Deepgram has, too; else ask it for its last result."""
        self._speaks = speech.started
        self._lift()
        if speech.started or self._socket is None:
            return
        if self._is_settled:
            self._turn_over()
            return
        self._flushes += 1
        self._socket.send(FINALIZE)
        self._timer = asyncio.get_running_loop().call_later(FINAL_LIMIT_S, self._turn_over)

    async def close(self) -> None:
        """Say that no more comes, and close."""
        self._lift()
        if self._socket is not None:
            await self._socket.close(CLOSE_STREAM)

    def abort(self) -> None:
        """Cut the connection."""
        self._lift()
        if self._socket is not None:
            self._socket.abort()

    def _take(self, message: str | bytes) -> None:
        try:
            if msgspec.json.decode(message, type=_Kind).type == "Results":
                self._result(msgspec.json.decode(message, type=_Results))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderError(f"{DEEPGRAM.name} sent what is no result") from error

    def _result(self, result: _Results) -> None:
        self._now = result.start + result.duration
        if self._now <= self._until or not result.channel.alternatives:
            return
        best = result.channel.alternatives[0]
        if result.is_final:
            self._interim = None
            self._finals.append(best)
        elif best.transcript:
            self._interim = best
        self._is_settled = result.speech_final or (self._is_settled and not best.transcript)
        if result.from_finalize:
            self._flushes = max(0, self._flushes - 1)
        if (result.from_finalize or result.speech_final) and self._flushes == 0 and not self._speaks:
            self._turn_over()

    def _turn_over(self) -> None:
        self._lift()
        parts = self._finals if self._interim is None else [*self._finals, self._interim]
        self._finals, self._interim, self._until = [], None, self._now
        self._is_settled, self._flushes = False, 0
        words = [word for part in parts for word in part.words]
        text = " ".join(part.transcript for part in parts if part.transcript)
        self._on_heard(Heard(text, tuple(_word(word) for word in words)))

    def _lift(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _word(word: _Word) -> Word:
    return Word(word.punctuated_word or word.word, round(word.start * 1000), round(word.end * 1000))
