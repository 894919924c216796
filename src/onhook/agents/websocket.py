"""A bot of yours behind a websocket. It speaks Twilio Media Streams; here is Twilio's side of that.

We connect to the bot, signed, and send it what Twilio would: `connected`, `start`, `media` each 20 ms, `dtmf`, `mark`,
`stop` (https://www.twilio.com/docs/voice/media-streams/websocket-messages). We take its `media` of any length, `mark`
and `clear`; other events are ignored. A connection that is lost is not made again: the bot would not know the call. A
bot that closes it in order has said all it wanted, so the call ends after its last words.

Twilio's protocol has no way to ask a bot for words, so of the cues only a farewell has an effect: the call ends after
what the bot has said already.
"""

import asyncio
import functools
import logging
import ssl
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, WebSocketException
from websockets.frames import CloseCode

from onhook.agents.agent import AgentError, CallMedia, QuietAgent
from onhook.agents.messages import CallInfo, Cue, CueKind
from onhook.agents.pace import Pace
from onhook.agents.send_queue import Outgoing, SendQueue
from onhook.agents.twilio import call_sid, new_stream_sid, websocket_signature

CLOSE_LIMIT_S = 0.4
"""How long a good-bye may take, `stop` message and close handshake together; less than `agent.STOP_LIMIT_S`."""
MAX_MESSAGE = 2**20
"""Bytes of one message of a bot; eighty seconds of audio."""
MAX_MARK = 256
"""Characters of a mark's name. Thousands may be queued, and all come back when what is queued is cleared."""
MAX_MALFORMED = 3
"""The bot whose messages cannot be read that many times is broken."""
PING_S = 15.0
"""How often we ask an idle connection whether the bot still lives, and how long it may take to say so."""
FRAME_MS = 20

_QUIET = logging.getLogger(f"{__name__}.wire")
_QUIET.setLevel(logging.WARNING)  # the library's debug log would show every message, parameters of the call included


class BotMedia(msgspec.Struct):
    """Audio to play: G.711 mu-law, 8 kHz, in base64."""

    payload: bytes


class BotMark(msgspec.Struct):
    """A place in what is played."""

    name: Annotated[str, msgspec.Meta(max_length=MAX_MARK)]


class BotMessage(msgspec.Struct):
    """What a bot sends; fields that we do not use are left out."""

    event: str
    media: BotMedia | None = None
    mark: BotMark | None = None


class StraightConnect(connect):
    """Connects, and follows no redirect: it was this URL that was allowed, not where it leads."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the refusal as it came."""
        return exc


class WebsocketAgent(QuietAgent):
    """One connection to a bot."""

    def __init__(self) -> None:
        self._call: CallInfo
        self._media: CallMedia
        self._socket: ClientConnection | None = None
        self._stream_sid = new_stream_sid()
        self._sequence = 0
        self._chunk = 0
        self._malformed = 0
        self._queue = SendQueue()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        """Connect and tell the bot of the call. Raises `AgentError` when it cannot be reached or refuses."""
        self._call, self._media = call, media
        try:
            self._socket = socket = await self._connect()
            await socket.send(_text({"event": "connected", "protocol": "Call", "version": "1.0.0"}), text=True)
            await self._send(socket, Outgoing("start", {"start": self._introduction()}))
        except (OSError, WebSocketException) as error:
            raise AgentError(f"the bot cannot be reached: {error}") from error
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write(socket)), loop.create_task(self._read(socket))]

    def on_audio(self, mulaw: bytes) -> None:
        """Send 20 ms of the caller's voice."""
        timestamp = self._chunk * FRAME_MS
        self._chunk += 1
        media = {"track": "inbound", "chunk": str(self._chunk), "timestamp": str(timestamp), "payload": mulaw}
        self._put(Outgoing("media", {"media": media}, is_audio=True))

    def on_dtmf(self, digit: str) -> None:
        """Send a key of the caller."""
        self._put(Outgoing("dtmf", {"dtmf": {"track": "inbound_track", "digit": digit}}))

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Echo a mark; Twilio's echo does not tell whether the audio was heard or cleared."""
        self._put(Outgoing("mark", {"mark": {"name": name}}))

    def on_cue(self, cue: Cue) -> None:
        """End the call when a farewell is wanted; nothing else can be asked of a bot."""
        if cue.kind is CueKind.FAREWELL:
            self._media.hang_up("a farewell cannot be asked of a bot")

    async def stop(self, reason: str) -> None:
        """Say that the call is over, and close. A bot that does not answer that in `CLOSE_LIMIT_S` is cut off."""
        self._is_over = True
        if self._socket is not None:
            await self._good_bye(self._socket)
        self.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def kill(self) -> None:
        """Cut the connection."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            self._socket.transport.abort()

    async def _connect(self) -> ClientConnection:
        definition, secrets = self._call.definition, self._call.secrets
        url = definition.url or ""
        return await StraightConnect(
            url,
            additional_headers={"X-Twilio-Signature": websocket_signature(secrets["auth_token"], url)},
            ssl=_tls() if url.startswith("wss:") else None,
            user_agent_header="onhook",
            compression=None,
            proxy=None,
            open_timeout=definition.start_timeout_ms / 1000,
            close_timeout=CLOSE_LIMIT_S,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            max_size=MAX_MESSAGE,
            logger=_QUIET,
        )

    def _introduction(self) -> dict[str, Any]:
        """Return what the bot is told of the call. An agent's own parameters win over the call's variables."""
        return {
            "streamSid": self._stream_sid,
            "accountSid": self._call.secrets["account_sid"],
            "callSid": call_sid(self._call.call_id),
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {**self._call.variables, **self._call.definition.parameters},
        }

    def _put(self, message: Outgoing) -> None:
        if not self._queue.put(message):
            self._broken("the bot does not read what it is sent")

    async def _send(self, socket: ClientConnection, message: Outgoing) -> None:
        """Send a message, numbered. Waits while the bot does not read; raises `ConnectionClosed`."""
        self._sequence += 1
        envelope = {"event": message.event, "sequenceNumber": str(self._sequence), "streamSid": self._stream_sid}
        await socket.send(_text({**envelope, **message.body}), text=True)

    async def _write(self, socket: ClientConnection) -> None:
        """Send what is queued until the call is over, or the connection lost, which `_read` reports."""
        try:
            while not self._is_over:
                await self._send(socket, await self._queue.get())
        except ConnectionClosed:
            return

    async def _read(self, socket: ClientConnection) -> None:
        """Take what the bot sends, until it closes the connection, loses it or is given up.

        Goes on while we close: an answer to that comes behind all else that the bot has sent.
        """
        pace = Pace()
        try:
            async for message in socket:
                self._take(message)
                if not self._is_over:
                    await pace.spend(len(message))
        except ConnectionClosedError as error:
            self._broken(f"the connection to the bot was lost: {error}")
        else:
            if not self._is_over:
                self._media.hang_up("the bot closed its connection")

    def _take(self, message: str | bytes) -> None:
        if self._is_over:
            return
        try:
            told = msgspec.json.decode(message, type=BotMessage)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._malformed += 1
            if self._malformed >= MAX_MALFORMED:
                self._broken("the bot sends what is no Media Streams message")
            return
        match told:
            case BotMessage("media", media=BotMedia(payload)):
                self._media.play(payload)
            case BotMessage("mark", mark=BotMark(name)):
                self._media.mark(name)
            case BotMessage("clear"):
                self._media.clear()

    def _broken(self, error: str) -> None:
        """Report, once, that the bot is of no use any more, and cut it off."""
        if not self._is_over:
            self._media.fail(error)
            self.kill()

    async def _good_bye(self, socket: ClientConnection) -> None:
        over = {"accountSid": self._call.secrets["account_sid"], "callSid": call_sid(self._call.call_id)}
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._send(socket, Outgoing("stop", {"stop": over}))
                await socket.close(CloseCode.NORMAL_CLOSURE)
        except (TimeoutError, ConnectionClosed):
            return  # `kill` follows


def _text(message: Mapping[str, Any]) -> bytes:
    """Encode a message; bytes in it become base64."""
    return msgspec.json.encode(message)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one context of all connections: to read the certificates takes 20 ms."""
    return ssl.create_default_context()
