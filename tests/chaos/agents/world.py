"""All that agents talk to, on one loopback port: the providers of `Cloud`, and a bot that speaks Twilio Media Streams.

Shares no code with onhook.
"""

import base64
import json

from aiohttp import WSMsgType, web
from tests.providers.cloud import Cloud

VOICE_S = 2
VOICE = bytes([0x20, 0xA0] * 4000 * VOICE_S)
"""Two seconds of a loud tone, mu-law: what each word of a provider sounds like, and each sentence of the bot."""
BOT = "/bot"


class World(Cloud):
    """The providers and the bot; the bot speaks when the call begins, unless it is `shy`. Notes each event it hears."""

    def __init__(self, *, shy: bool = False) -> None:
        super().__init__()
        self._shy = shy

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [*super().routes(), web.get(BOT, self._serve_bot)]

    async def _serve_bot(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoclose=False)
        await socket.prepare(request)
        self._sockets.append((socket, request))
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            event = json.loads(message.data)
            self._note(event["event"], event)
            if event["event"] == "start" and not self._shy:
                await self._speak(socket, event["streamSid"])
        await self._linger()
        await socket.close()
        self.watch.gone(self._watched(request))
        return socket

    async def _speak(self, socket: web.WebSocketResponse, stream: str) -> None:
        payload = base64.b64encode(VOICE).decode()
        for _ in range(3):
            await socket.send_json({"event": "media", "streamSid": stream, "media": {"payload": payload}})
