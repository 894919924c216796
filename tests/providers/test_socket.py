"""The websocket to a provider, apart from what is said on it."""

import asyncio
import contextlib
import time

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from onhook.agents.pace import BURST, PER_MESSAGE, RATE
from onhook.agents.providers.deadlines import USUAL
from onhook.agents.providers.websocket import ProviderSocket

pytestmark = [pytest.mark.contract, pytest.mark.timing]

FLOOD_S = 0.5


async def test_a_provider_that_floods_is_listened_to_at_a_bounded_rate() -> None:
    async def flood(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                for _ in range(50):
                    await socket.send("{}")
                await asyncio.sleep(0)  # a send that fits into the buffers gives nobody a turn

    taken: list[str | bytes] = []
    async with serve(flood, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        socket = ProviderSocket("the provider", USUAL, taken.append, pytest.fail)
        await socket.open(f"ws://127.0.0.1:{port}/", {})
        began = time.monotonic()
        await asyncio.sleep(FLOOD_S)
        count, passed = len(taken), time.monotonic() - began
        await socket.close()

    assert 0 < count < (2 * BURST + RATE * passed) / PER_MESSAGE
