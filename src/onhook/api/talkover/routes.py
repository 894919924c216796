"""All routes of the TalkOver API."""

from fastapi import APIRouter

from onhook.api.talkover import agent_settings, agents, calls, numbers, webhooks
from onhook.api.talkover.schemas import Health

public = APIRouter(prefix="/api/v1", tags=["health"])


@public.get("/health")
async def health() -> Health:
    """Say that the server answers; needs no token."""
    return Health()


ROUTERS = (calls.router, agents.router, agent_settings.router, numbers.router, webhooks.router, public)
"""All routes of the TalkOver API."""
