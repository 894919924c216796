"""The whole HTTP interface as one ASGI application: a FastAPI app per dialect, chosen by the path."""

import functools
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from onhook import __version__
from onhook.api import openapi
from onhook.api.anunzi import routes as anunzi
from onhook.api.anunzi.errors import AnunziWording
from onhook.api.errors import Wording, error_response, install_errors
from onhook.api.limits import AllowanceHeaders, BodyLimit, RateLimit, StopReserve
from onhook.api.native import routes as native
from onhook.api.native.errors import NativeWording
from onhook.api.request_ids import RequestIds
from onhook.api.routing import CheckedRoute
from onhook.api.services import Services
from onhook.api.talkover import routes as talkover
from onhook.api.talkover.errors import TalkOverWording
from onhook.api.twilio import routes as twilio
from onhook.api.twilio.errors import TwilioWording

TALKOVER, ANUNZI, TWILIO, NATIVE = "talkover", "anunzi", "twilio", "native"

PREFIXES: dict[str, tuple[str, ...]] = {
    TALKOVER: ("/api/",),
    ANUNZI: tuple(anunzi.PREFIXES),
    TWILIO: (twilio.PREFIX,),
}
"""How the paths of a dialect begin; every other path speaks our own."""

WORDINGS: dict[str, Wording] = {
    TALKOVER: TalkOverWording(),
    ANUNZI: AnunziWording(),
    TWILIO: TwilioWording(),
    NATIVE: NativeWording(),
}

ROUTERS: dict[str, Sequence[APIRouter]] = {
    TALKOVER: talkover.ROUTERS,
    ANUNZI: anunzi.ROUTERS,
    TWILIO: twilio.ROUTERS,
    NATIVE: native.ROUTERS,
}

TITLES = {
    TALKOVER: "onhook: TalkOver API",
    ANUNZI: "onhook: Anunzi/Retell API",
    TWILIO: "onhook: Twilio's call resource, for bots",
    NATIVE: "onhook API",
}

TOKENS = {TWILIO: openapi.BASIC}
"""How requests are authorized where it is not by a bearer token."""


def create_app(services: Services) -> ASGIApp:
    """Build the application that serves all dialects with `services`."""
    apps: dict[str, ASGIApp] = {dialect: _dialect_app(dialect, services) for dialect in ROUTERS}
    if services.rate_limit_per_minute:
        apps[TALKOVER] = AllowanceHeaders(apps[TALKOVER])
    front = BodyLimit(_ByPath(apps), services.max_body_bytes)
    return RequestIds(StopReserve(front, services.max_connections, _refuse))


@functools.cache
def openapi_document(dialect: str) -> dict[str, Any]:
    """Return the OpenAPI document of a dialect; made when it is first asked for, for that takes 100 ms."""
    routes = [route.described() if isinstance(route, CheckedRoute) else route for route in _routes(dialect)]
    return openapi.document(_bare_app(dialect, routes), TOKENS.get(dialect, openapi.TOKEN))


def dialect_of(path: str) -> str:
    """Return the dialect that a path speaks."""
    for dialect, prefixes in PREFIXES.items():
        if path.startswith(prefixes):
            return dialect
    return NATIVE


def _routes(dialect: str) -> list[BaseRoute]:
    return [route for router in ROUTERS[dialect] for route in router.routes]


def _bare_app(dialect: str, routes: list[BaseRoute]) -> FastAPI:
    return FastAPI(
        title=TITLES[dialect],
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Asking the OpenTelemetry API at every request whether anybody listens costs 5 % of an end-call.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        routes=routes,
    )


def _dialect_app(dialect: str, services: Services) -> FastAPI:
    app = _bare_app(dialect, _routes(dialect))
    app.state.services = services
    per_minute = services.rate_limit_per_minute
    app.state.rate_limit = RateLimit(per_minute, services.clock) if per_minute else None
    install_errors(app, WORDINGS[dialect], ROUTERS[dialect])
    return app


class _ByPath:
    """Hands each request to its dialect's app; the OpenAPI documents are served here."""

    def __init__(self, apps: dict[str, ASGIApp]) -> None:
        self._apps = apps
        self._documents = {f"/openapi/{dialect}.json": dialect for dialect in apps}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"onhook speaks HTTP only, not {scope['type']}")
        path = scope["path"]
        if path in self._documents and scope["method"] == "GET":
            await JSONResponse(openapi_document(self._documents[path]))(scope, receive, send)
            return
        await self._apps[dialect_of(path)](scope, receive, send)


def _refuse(scope: Scope) -> ASGIApp:
    """Return the answer to a request that is one too many."""
    wording = WORDINGS[dialect_of(scope["path"])]
    error = wording.http_error(503, Request(scope)).with_headers({"Retry-After": "1"})
    return error_response(error, wording)
