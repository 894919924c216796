"""All routes of our own API, and the server's health."""

from fastapi import APIRouter, Response
from starlette.requests import Request

from onhook.api.auth import services_of
from onhook.api.native import audit, calls, config, conversations, dial_blocks, events, metrics, stops, timers, webhooks
from onhook.api.native.schemas import Ready

public = APIRouter(tags=["health"])


@public.get("/healthz")
async def healthz() -> Ready:
    """Say that the process answers; needs no token."""
    return Ready(status="ok", components={})


@public.get("/readyz", responses={503: {"model": Ready}})
async def readyz(request: Request, response: Response) -> Ready:
    """Say whether every component is fit to take calls, if with limits; 503 names those that are not."""
    components = await services_of(request).readiness()
    if all(said == "ok" or said.startswith("limited: ") for said in components.values()):
        return Ready(status="ok", components=components)
    response.status_code = 503
    return Ready(status="not ready", components=components)


ROUTERS = (
    calls.router,
    timers.router,
    stops.router,
    dial_blocks.router,
    conversations.router,
    config.router,
    webhooks.router,
    events.router,
    audit.router,
    public,
    metrics.router,
)
