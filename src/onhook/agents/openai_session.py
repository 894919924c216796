"""A session of the OpenAI Realtime API: opened, configured, then events both ways."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from onhook.agents.openai_events import EventType, ServerEvent
from onhook.agents.providers.deadlines import Limits
from onhook.agents.providers.environment import OPENAI, ProviderError
from onhook.agents.providers.websocket import ProviderSocket


class RealtimeSession:
    """One session. Events that have a handler are read and handed over; `on_lost` is called at most once."""

    def __init__(
        self, limits: Limits, handlers: Mapping[str, Callable[[ServerEvent], None]], on_lost: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._handlers = handlers
        self._on_lost = on_lost
        self._socket = ProviderSocket(OPENAI.name, limits, self._take, self._lost)
        self._settled = asyncio.Event()  # the configuration is accepted, or refused for the reason below
        self._refusal: str | None = None  # or why it was lost

    async def open(self, model: str, configuration: Mapping[str, Any]) -> None:
        """Connect, and return once the configuration is accepted. Raises `ProviderError`."""
        key, url = OPENAI.key(), OPENAI.websocket_url(f"/realtime?model={quote(model)}")
        try:
            async with asyncio.timeout(self._limits.connect):
                await self._socket.open(url, {"Authorization": f"Bearer {key}"})
                self.send({"type": "session.update", "session": configuration})
                await self._settled.wait()
        except TimeoutError as error:
            self._socket.abort()
            raise ProviderError(f"{OPENAI.name} did not accept the session in time") from error
        if self._refusal is not None:
            raise ProviderError(self._refusal)

    def send(self, event: Mapping[str, Any]) -> None:
        """Queue an event; bytes in it become base64."""
        self._socket.send(msgspec.json.encode(event).decode())

    def add(self, item: dict[str, Any]) -> None:
        """Add an item to the conversation."""
        self.send({"type": "conversation.item.create", "item": item})

    def tell(self, text: str) -> None:
        """Tell the model something that the caller has not said."""
        content = [{"type": "input_text", "text": text}]
        self.add({"type": "message", "role": "system", "content": content})

    async def close(self) -> None:
        """Close within the limit; nothing is left when it returns."""
        self._give_up()
        await self._socket.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._give_up()
        self._socket.abort()

    def _take(self, message: str | bytes) -> None:
        try:
            kind = msgspec.json.decode(message, type=EventType).type
            if kind == "session.updated":
                self._settled.set()
            elif kind in self._handlers:
                self._read(kind, msgspec.json.decode(message, type=ServerEvent))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderError(f"{OPENAI.name} sent what is no event") from error

    def _read(self, kind: str, event: ServerEvent) -> None:
        if self._settled.is_set():
            self._handlers[kind](event)
        elif event.error is not None:
            self._refuse(f"{OPENAI.name} refused the session: {event.error}")

    def _lost(self, error: str) -> None:
        if self._settled.is_set():
            self._on_lost(error)
        self._refuse(error)

    def _give_up(self) -> None:
        if not self._settled.is_set():
            self._refuse(f"{OPENAI.name}: stopped while starting")

    def _refuse(self, reason: str) -> None:
        self._refusal = reason
        self._settled.set()
