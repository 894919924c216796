"""All routes of the Anunzi/Retell API."""

from fastapi.routing import APIRoute

from onhook.api.anunzi import agents, batch, calls, lists, not_provided, numbers, registering

ROUTERS = (
    calls.router,
    registering.router,
    lists.router,
    batch.router,
    agents.router,
    numbers.router,
    not_provided.router,
)

VERSIONS = ("/v2/", "/v3/")
"""What most paths begin with; the rest stand at the root."""

PREFIXES = (
    *VERSIONS,
    *sorted(
        {
            route.path.partition("{")[0]
            for router in ROUTERS
            for route in router.routes
            if isinstance(route, APIRoute) and not route.path.startswith(VERSIONS)
        }
    ),
)
"""What paths of this dialect begin with."""
