"""A bot behind a websocket that talks 55 % of the time: the far side of agents of kind `websocket`.

It sends Twilio Media Streams messages of 40 ms, in real time, and reads what it is sent without a look. Says its port
first, and serves until standard input ends.
"""

import asyncio
import contextlib
import itertools
import sys

import msgspec
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from onhook.lines.sandbox.talker import recording

MESSAGE_MS = 40
PERIOD_MS, TALK_MS = 8000, 4400


async def talk(socket: ServerConnection) -> None:
    """Talk for the life of a connection."""
    listening = asyncio.create_task(_listen(socket))
    loop = asyncio.get_running_loop()
    began = loop.time()
    with contextlib.suppress(ConnectionClosed):
        for number in itertools.count():
            if number * MESSAGE_MS % PERIOD_MS < TALK_MS:
                await socket.send(_messages()[number % len(_messages())], text=True)
            await asyncio.sleep(began + (number + 1) * MESSAGE_MS / 1000 - loop.time())
    await listening


async def _listen(socket: ServerConnection) -> None:
    async for _ in socket:
        pass


def _messages() -> list[bytes]:
    """Return `media` messages of a man who talks."""
    if not _made:
        frames = recording("machine")
        for first, second in zip(frames[::2], frames[1::2], strict=False):
            media = {"payload": first + second}
            _made.append(msgspec.json.encode({"event": "media", "streamSid": "MZ", "media": media}))
    return _made


_made: list[bytes] = []


async def main() -> None:
    """Serve until standard input ends."""
    async with serve(talk, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
