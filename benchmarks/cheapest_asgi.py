"""The floor: an ASGI application that does nothing, on uvicorn with uvloop and httptools, in its own process.

uvicorn is taken as it comes, without our guard against slow clients: what that costs is ours. Says its port first.
"""

import asyncio
import socket
import sys

import uvicorn
import uvloop
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

BODY = b'{"success":true}'


async def application(_scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Read the request, answer 200."""
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": BODY, "more_body": False})


async def main() -> None:
    """Serve until standard input ends."""
    server = uvicorn.Server(
        uvicorn.Config(
            application, http="httptools", ws="none", lifespan="off", loop="none", log_config=None, access_log=False
        )
    )
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    print(listening.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    uvloop.run(main())
