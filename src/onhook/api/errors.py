"""Errors in the words of the dialect, whoever raised them; no framework's own body ever leaves.

Each dialect brings a `Wording`. `install_errors` sends through it what routing, parsing, validation, the
store and plain bugs raise. An endpoint's own errors are `ApiError`, with the body ready.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from onhook.api.request_ids import request_id_of
from onhook.api.scopes import MissingScopeError
from onhook.store.scopes import Scope
from onhook.store.store import StoreError

logger = logging.getLogger(__name__)

CLOSE = {"Connection": "close"}


class ApiError(Exception):
    """An endpoint's answer that is not a success: status, JSON body, headers."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = dict(body)
        self.headers = dict(headers or {})

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Add headers to the answer."""
        self.headers.update(headers)
        return self


class Wording(Protocol):
    """How a dialect words the failures that no endpoint words itself."""

    media_type: str

    def http_error(self, status: int, request: Request, allowed: Sequence[str] = ()) -> ApiError:
        """Word a bare HTTP status: 400 (not JSON), 401, 404, 405, 413, 415, 500, 503."""
        ...

    def missing_scope(self, request: Request, scope: Scope) -> ApiError:
        """Word that the key may not do this."""
        ...

    def invalid(self, request: Request, errors: Sequence[ErrorDetails]) -> ApiError:
        """Word what is wrong with the fields of a request."""
        ...

    def storage_failed(self, request: Request) -> ApiError:
        """Word that nothing could be recorded, or read."""
        ...


def error_response(error: ApiError, wording: Wording) -> Response:
    """Turn an error into its response; 401 and 413 carry the headers that HTTP asks for."""
    headers = dict(error.headers)
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    if error.status == 413:
        headers |= CLOSE  # the rest of the body is not going to be read
    return Response(msgspec.json.encode(error.body), error.status, headers, media_type=wording.media_type)


def install_errors(app: FastAPI, wording: Wording, routers: Sequence[APIRouter]) -> None:
    """Make every failure in `app` answer in `wording`; `routers` tell which methods a path allows."""

    def respond(error: ApiError) -> Response:
        return error_response(error, wording)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        if isinstance(error, MissingScopeError):
            return respond(wording.missing_scope(request, error.scope))
        if error.status_code != 405:
            return respond(wording.http_error(error.status_code, request))
        allowed = allowed_methods(routers, request)
        answer = wording.http_error(405, request, allowed)
        answer.headers["Allow"] = ", ".join(allowed)
        return respond(answer)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        errors: Sequence[ErrorDetails] = error.errors()
        if any(one["type"] == "json_invalid" for one in errors):
            return respond(wording.http_error(400, request))
        return respond(wording.invalid(request, errors))

    @app.exception_handler(StoreError)
    async def on_store(request: Request, error: StoreError) -> Response:
        # The route, not the path: that may hold a phone number.
        route, request_id = request.scope["route"].path, request_id_of(request)
        logger.error("%s %s: storage failed: %s (request %s)", request.method, route, error, request_id)
        return respond(wording.storage_failed(request))

    @app.exception_handler(ApiError)
    async def on_api(_request: Request, error: ApiError) -> Response:
        return respond(error)

    @app.exception_handler(Exception)
    async def on_bug(request: Request, _error: Exception) -> Response:
        return respond(wording.http_error(500, request))


def allowed_methods(routers: Sequence[APIRouter], request: Request) -> list[str]:
    """Return the methods that some route offers for the request's path, sorted."""
    found: set[str] = set()
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.path_regex.match(request.url.path):
                found |= route.methods or set()
    return sorted(found)
