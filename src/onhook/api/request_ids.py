"""A name for each request: the client's own, or one of ours. It is on the answer, and in all that the request does."""

import re
import secrets

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-request-id"
GIVEN = re.compile(rb"[\x21-\x7e]{1,128}")
"""What a client's own may look like; anything else is replaced."""
REQUEST_ID = "onhook.request_id"
"""Where a request's scope holds its id."""


class RequestIds:
    """Gives every request its id, and writes it on every answer as `X-Request-Id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request_id = _given(scope) or f"req_{secrets.token_hex(12)}"
        scope[REQUEST_ID] = request_id
        header = (HEADER, request_id.encode())

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        await self._app(scope, receive, named)


def request_id_of(request: HTTPConnection) -> str:
    """Return the id of a request."""
    request_id: str = request.scope[REQUEST_ID]
    return request_id


def _given(scope: Scope) -> str | None:
    """Return the id that the client gave its request, if it is one."""
    value = next((value for name, value in scope.get("headers", ()) if name == HEADER), b"")
    return value.decode() if GIVEN.fullmatch(value) is not None else None
