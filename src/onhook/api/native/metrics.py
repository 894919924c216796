"""What Prometheus reads."""

import secrets

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from onhook.api.auth import services_of
from onhook.api.native.errors import problem, problems

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse, responses=problems(401, 403))
async def metrics(request: Request) -> PlainTextResponse:
    """Return the server's metrics in Prometheus' text format; needs the metrics token, if one is set, and no other.

    Without one they are given only where the server listens on loopback.
    """
    services = services_of(request)
    if services.metrics is None:
        raise problem(403, "Set metrics_token: this server listens beyond its own machine.", code="metrics_closed")
    if services.metrics_token is not None and not _knows(request, services.metrics_token):
        detail = "Send the metrics token: `Authorization: Bearer <token>`."
        raise problem(401, detail).with_headers({"WWW-Authenticate": "Bearer"})
    return PlainTextResponse(await services.metrics(), media_type=CONTENT_TYPE)


def _knows(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and secrets.compare_digest(given.strip().encode(), token.encode())
