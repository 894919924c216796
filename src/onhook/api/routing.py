"""The order of checks that all endpoints share: token, scope, content type, JSON, fields; only then the endpoint."""

import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ClassVar

import msgspec
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from onhook.api.auth import authenticate
from onhook.api.scopes import require, scopes_for
from onhook.api.services import Caller

MAX_DEPTH = 64
"""How deep objects and lists may nest; what is deeper could not be written out again."""


class CallerRequest(Request):
    """A request of a known caller. Its body must be JSON by RFC 8259: no NaN, no lone surrogates, no endless nesting.

    Endpoints take it as their first parameter, and find in `caller` who asks. `nonce` is 32 hexadecimal digits
    that the ids of what the request creates are made from; a request that is sent again has the same.
    """

    def __init__(self, request: Request, caller: Caller) -> None:
        super().__init__(request.scope, request.receive)
        self.caller = caller
        self.nonce = secrets.token_hex(16)

    async def json(self) -> Any:
        """Parse the body. Raises `msgspec.DecodeError`."""
        body = await self.body()
        parsed = msgspec.json.decode(body)
        if body.count(b"{") + body.count(b"[") > MAX_DEPTH and not _shallow(parsed):
            raise msgspec.DecodeError(f"nested more than {MAX_DEPTH} deep")
        return parsed


class CheckedRoute(APIRoute):
    """A route that checks token and scope before anything else, and the content type before it reads the body."""

    request_class: ClassVar[type[CallerRequest]] = CallerRequest

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        responses: dict[int | str, dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(path, endpoint, **options)
        self._described = partial(APIRoute, path, endpoint, responses=responses, **options)

    def described(self) -> APIRoute:
        """Return the route for the OpenAPI document, with its further `responses`.

        Their schemas are a tenth of a server's start, and nothing else needs them.
        """
        return self._described()

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the checks."""
        handle = super().get_route_handler()
        needed = scopes_for(self.methods or (), self.path_format)

        async def checked(request: Request) -> Response:
            caller = await self.caller_of(request)
            require(caller.key, needed)
            if self.body_field is not None and (self.body_field.field_info.is_required() or has_body(request)):
                require_json(request)
            return await self.answer(handle, self.request_class(request, caller))

        return checked

    async def caller_of(self, request: Request) -> Caller:
        """Return who sends a request, or raise the HTTP error 401."""
        return await authenticate(request)

    async def answer(
        self, handle: Callable[[Request], Coroutine[Any, Any, Response]], request: CallerRequest
    ) -> Response:
        """Answer a request that has passed the checks; `handle` parses it and calls the endpoint."""
        return await handle(request)


def _shallow(parsed: object) -> bool:
    """Say whether a JSON value nests at most `MAX_DEPTH` deep."""
    level = [parsed]
    for _ in range(MAX_DEPTH + 1):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [value for values in inner for value in values]
        if not level:
            return True
    return False


def has_body(request: Request) -> bool:
    """Say whether the request's headers announce a body."""
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def require_json(request: Request) -> None:
    """Raise the HTTP error 415 unless the request says that its body is JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise HTTPException(415)
