"""All providers on one loopback port, in the words of their published APIs, and in any temper.

Shares no code with the adapters. It is healthy until `temper` is changed; what is open then changes, too.
"""

import asyncio
import base64
import contextlib
import io
import json
import socket as sockets
import wave
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, NamedTuple

from aiohttp import WSMsgType, web
from tests.providers.watch import Watch, Watched

TONE = bytes([0x20, 0xA0] * 400)
"""100 ms of mu-law."""
STEP_S = 0.05


class Temper(StrEnum):
    HEALTHY = "healthy"
    SLOW = "slow"
    HALF_DEAD = "half-dead"
    """Reads nothing and says nothing any more."""
    HANGING = "hanging"
    """Takes everything and never says anything any more."""
    NEVER_CLOSING = "never-closing"
    """Does its work, but answers no good-bye."""
    UNAUTHORIZED = "401"
    THROTTLED = "429"
    BROKEN = "500"
    CUT = "cut"
    """Resets the connection in the middle."""


class Fault(NamedTuple):
    """What befalls one request before any byte of its answer: a refusal, or a reset where `status` is None."""

    status: int | None
    retry_after: str | None = None


REFUSALS = {Temper.UNAUTHORIZED: 401, Temper.THROTTLED: 429, Temper.BROKEN: 500}
LOSSES = frozenset({*REFUSALS, Temper.CUT, Temper.HALF_DEAD})
"""Tempers in which nothing can be done with a provider."""

MUTE = frozenset({Temper.HALF_DEAD, Temper.HANGING})
"""Tempers in which a provider does not go on with what it has begun."""

Turn = tuple[str, list[tuple[str, dict[str, Any]]]]
"""What the model says, and the tools it calls."""


class Cloud:
    """The providers. `answers` are the model's next turns; without one it says that it is fine."""

    def __init__(self) -> None:
        self.temper = Temper.HEALTHY
        self.answers: list[Turn] = []
        self.caller_says = "I need a taxi"
        self.holds = asyncio.Event()
        """While clear, speech stops in its middle."""
        self.holds.set()
        self.received: list[tuple[str, Any]] = []
        """What came: path and body or event."""
        self.faults: dict[str, list[Fault | None]] = {}
        """What befalls the next requests for a path that begins so; None is nothing."""
        self.asked: list[str] = []
        """The paths of all requests."""
        self.headers: dict[str, dict[str, str]] = {}
        self.watch = Watch()
        self._changed = asyncio.Event()
        self._sockets: list[tuple[web.WebSocketResponse, web.Request]] = []
        self._realtime: web.WebSocketResponse | None = None
        self._responding: asyncio.Task[None] | None = None
        self._items = 0

    @contextlib.asynccontextmanager
    async def serving(self, listener: sockets.socket | None = None) -> AsyncIterator[str]:
        """Serve, on a port of its own or where `listener` listens; yields the base URL."""
        app = web.Application(middlewares=[self._door], client_max_size=2**24)
        app.add_routes(self.routes())
        runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True, access_log=None)
        await runner.setup()
        own = web.TCPSite(runner, "127.0.0.1", 0)
        await (own if listener is None else web.SockSite(runner, listener.dup())).start()
        host, port = runner.addresses[0][:2]
        try:
            yield f"http://{host}:{port}"
        finally:
            if self._responding is not None:
                self._responding.cancel()
            for _, request in self._sockets:
                if request.transport is not None:
                    request.transport.abort()
            await runner.cleanup()
            self.watch.close()

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.get("/realtime", self._serve_realtime),
            web.get("/listen", self._serve_deepgram),
            web.post("/chat/completions", self._serve_chat),
            web.post("/audio/transcriptions", self._serve_transcription),
            web.post("/audio/speech", self._serve_speech),
            web.post("/text-to-speech/{voice}/stream", self._serve_elevenlabs),
        ]

    def become(self, temper: Temper) -> None:
        """Change, in what is open, too."""
        self.temper = temper
        for socket, request in self._sockets:
            transport = request.transport
            if transport is None:
                continue
            if temper is Temper.HALF_DEAD:
                transport.pause_reading()
            elif temper is Temper.CUT:
                self._abort(request)
            elif temper in REFUSALS and not socket.closed:
                asyncio.get_running_loop().create_task(socket.close(code=1011, message=b"internal error"))

    async def until(self, path: str, count: int = 1) -> Any:
        """Wait until so many bodies or events of this name came; return the last."""
        async with asyncio.timeout(3):
            while len(self.of(path)) < count:
                await self.changed()
        return self.of(path)[count - 1]

    async def changed(self) -> None:
        """Wait until something more has come."""
        self._changed.clear()
        await self._changed.wait()

    def of(self, name: str) -> list[Any]:
        """Return what came of this name."""
        return [what for one, what in self.received if one == name]

    # --- tempers ---

    @web.middleware
    async def _door(self, request: web.Request, handler: Any) -> web.StreamResponse:
        assert request.transport is not None
        self.watch.add(request.transport, request.path)
        self.headers[request.path] = dict(request.headers)
        self.asked.append(request.path)
        fault = self._next_fault(request.path)
        if self.temper is Temper.CUT or fault == Fault(None):
            self._note(request.path, None)
            self._abort(request)
            await asyncio.Event().wait()
        if fault is not None:
            self._note(request.path, None)
            headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            return web.Response(status=fault.status or 0, headers=headers)
        if self.temper is Temper.HALF_DEAD:
            self._note(request.path, None)
            request.transport.pause_reading()
            await asyncio.Event().wait()
        if self.temper in REFUSALS:
            self._note(request.path, None)
            return web.Response(status=REFUSALS[self.temper], text='{"error": "Incorrect API key: sk-secret"}')
        response: web.StreamResponse = await handler(request)
        return response

    def _next_fault(self, path: str) -> Fault | None:
        waiting = next((faults for begin, faults in self.faults.items() if path.startswith(begin)), [])
        return waiting.pop(0) if waiting else None

    def _abort(self, request: web.Request) -> None:
        if request.transport is not None:
            self.watch.gone(self._watched(request))
            request.transport.abort()

    def _watched(self, request: web.Request) -> Watched:
        assert request.transport is not None
        return self.watch.add(request.transport, request.path)

    async def _pace(self, request: web.Request) -> None:
        """Take the time between two pieces, or never come back, as the temper is."""
        if self.temper is Temper.SLOW:
            await asyncio.sleep(STEP_S)
        if self.temper in MUTE:
            await asyncio.Event().wait()
        if self.temper is Temper.CUT:
            self._abort(request)
            await asyncio.Event().wait()

    def _note(self, name: str, what: Any) -> None:
        self.received.append((name, what))
        self._changed.set()

    async def _linger(self) -> None:
        if self.temper in (Temper.NEVER_CLOSING, Temper.HANGING):
            await asyncio.Event().wait()

    def _next_answer(self) -> Turn:
        return self.answers.pop(0) if self.answers else ("I am fine. How are you?", [])

    # --- OpenAI Realtime ---

    async def _serve_realtime(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoclose=False)
        await socket.prepare(request)
        self._sockets.append((socket, request))
        self._realtime = socket
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            event = json.loads(message.data)
            self._note(event["type"], event)
            if event["type"] == "session.update":
                await self._pace(request)
                await self._event("session.updated", session=event["session"])
            elif event["type"] == "response.create":
                self._responding = asyncio.create_task(self._respond(request))
            elif event["type"] == "response.cancel" and self._responding is not None:
                self._responding.cancel()
                await self._event("response.done", response={"status": "cancelled", "output": []})
        await self._linger()
        await socket.close()
        self.watch.gone(self._watched(request))  # we end the TCP connection ourselves now
        return socket

    async def caller_talks(self) -> None:
        """Have the caller say something, as Realtime hears it, and the model answer."""
        await self._event("input_audio_buffer.speech_started", audio_start_ms=100, item_id="item_u")
        await self._event("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="item_u")
        await self._event("input_audio_buffer.committed", item_id="item_u")
        heard = "conversation.item.input_audio_transcription.completed"
        await self._event(heard, item_id="item_u", content_index=0, transcript=self.caller_says)
        socket, request = self._sockets[-1]
        assert socket is self._realtime
        self._responding = asyncio.create_task(self._respond(request))

    async def report(self, error_type: str, code: str) -> None:
        """Send an error event."""
        await self._event("error", error={"type": error_type, "code": code, "message": "no"})

    async def fail_response(self, code: str) -> None:
        """Begin a response and fail."""
        await self._event("response.created", response={"status": "in_progress", "output": []})
        details = {"type": "failed", "error": {"type": "server_error", "code": code}}
        await self._event("response.done", response={"status": "failed", "output": [], "status_details": details})

    async def _respond(self, request: web.Request) -> None:
        text, calls = self._next_answer()
        await self._pace(request)
        await self._event("response.created", response={"id": "resp", "status": "in_progress", "output": []})
        self._items += 1
        item = f"item_{self._items}"
        output: list[dict[str, Any]] = []
        for word in text.split():
            await self._pace(request)
            await self._event("response.output_audio_transcript.delta", item_id=item, delta=f" {word}")
            await self._event("response.output_audio.delta", item_id=item, delta=base64.b64encode(TONE).decode())
            await self.holds.wait()
        if text:
            await self._event("response.output_audio.done", item_id=item)
            await self._event("response.output_audio_transcript.done", item_id=item, transcript=text)
            output.append({"type": "message", "id": item, "content": []})
        for number, (name, arguments) in enumerate(calls):
            call = {"type": "function_call", "name": name, "call_id": f"c{number}", "arguments": json.dumps(arguments)}
            output.append(call)
        await self._event("response.done", response={"status": "completed", "output": output})

    async def _event(self, kind: str, **fields: Any) -> None:
        assert self._realtime is not None
        with contextlib.suppress(ConnectionError):
            await self._realtime.send_json({"type": kind, "event_id": "event", **fields})

    # --- Deepgram ---

    async def _serve_deepgram(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoclose=False)
        await socket.prepare(request)
        self._sockets.append((socket, request))
        self._note("/listen", dict(request.query))
        seconds = 0.0
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                seconds += len(message.data) / 8000
                self._note("audio", message.data)
            elif message.type is WSMsgType.TEXT:
                kind = json.loads(message.data)["type"]
                self._note(kind, None)
                await self._pace(request)
                if kind == "Finalize":
                    await self._result(socket, seconds)
                elif kind == "CloseStream" and self.temper is not Temper.NEVER_CLOSING:
                    break
            else:
                break
        await self._linger()
        await socket.close()
        self.watch.gone(self._watched(request))  # we end the TCP connection ourselves now
        return socket

    async def _result(self, socket: web.WebSocketResponse, until: float) -> None:
        words = self.caller_says.split()
        result = {
            "type": "Results",
            "start": 0.0,
            "duration": until,
            "is_final": True,
            "speech_final": False,
            "from_finalize": True,
            "channel": {
                "alternatives": [
                    {
                        "transcript": self.caller_says,
                        "confidence": 0.9,
                        "words": [
                            {"word": word, "start": 2 + at / 2, "end": 2.4 + at / 2} for at, word in enumerate(words)
                        ],
                    }
                ]
            },
        }
        await socket.send_json(result)

    # --- HTTP ---

    async def _serve_chat(self, request: web.Request) -> web.StreamResponse:
        self._note("/chat/completions", await request.json())
        text, calls = self._next_answer()
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": f"{word} "} for word in text.split()]
        for index, (name, arguments) in enumerate(calls):
            function = {"name": name, "arguments": ""}
            deltas.append(
                {"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": function}]}
            )
            whole = json.dumps(arguments)
            for part in (whole[:5], whole[5:]):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        for delta in deltas:
            await self._pace(request)
            await self._chunk(stream, {"delta": delta, "finish_reason": None})
        await self._chunk(stream, {"delta": {}, "finish_reason": "tool_calls" if calls else "stop"})
        await stream.write(b"data: [DONE]\n\n")
        await self._linger()
        return stream

    async def _chunk(self, stream: web.StreamResponse, choice: dict[str, Any]) -> None:
        body = {"object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}
        await stream.write(b"data: " + json.dumps(body).encode() + b"\n\n")

    async def _serve_transcription(self, request: web.Request) -> web.Response:
        form = await request.post()
        upload: Any = form["file"]
        with wave.open(io.BytesIO(upload.file.read())) as sound:
            seconds = sound.getnframes() / sound.getframerate()
        self._note("/audio/transcriptions", {"model": form["model"], "language": form["language"], "seconds": seconds})
        await self._pace(request)
        return web.json_response({"text": self.caller_says})

    async def _serve_speech(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self._note("/audio/speech", body)
        return await self._stream_audio(request, body["input"], b"\x10\x10" * 2400)

    async def _serve_elevenlabs(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self._note("/text-to-speech", {**body, "voice": request.match_info["voice"], **request.query})
        return await self._stream_audio(request, body["text"], TONE)

    async def _stream_audio(self, request: web.Request, text: str, piece: bytes) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        for _ in text.split():
            await self._pace(request)
            await stream.write(piece)
            await self.holds.wait()
        await self._linger()
        return stream
