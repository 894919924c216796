"""Which scopes a key needs for which route, in every dialect; the one place that says so."""

from collections.abc import Iterable, Mapping

from starlette.exceptions import HTTPException

from onhook.store.scopes import Scope, allows
from onhook.store.store import ApiKey

ROUTES: Mapping[Scope, tuple[str, ...]] = {
    Scope.CALLS_READ: (
        "GET /v1/calls",
        "GET /v1/calls/{call_id}",
        "GET /v1/calls/{call_id}/timeline",
        "GET /v1/calls/{call_id}/transcript",
        "GET /v1/calls/{call_id}/recording",
        "GET /v1/events",
        "GET /v1/stops",
        "GET /v1/stops/{bulk_id}",
        "GET /v1/dial-blocks",
        "GET /api/v1/agents/{agent_id}/active-call/{phone}",
        "GET /api/v1/agents/{agent_id}/calls",
        "GET /api/v1/calls",
        "GET /v2/get-call/{call_id}",
        "POST /v2/list-calls",
        "POST /v3/list-calls",
        "GET /get-concurrency",
        "POST /v2/listen-live-call/{call_id}",
        "GET /2010-04-01/Accounts/{account_sid}/Calls/{call_sid}.json",
    ),
    Scope.CALLS_CREATE: (
        "POST /v1/calls",
        "POST /api/v1/agents/{agent_id}/call",
        "POST /v2/create-phone-call",
        "POST /v2/register-phone-call",
        "POST /create-batch-call",
        "POST /v2/create-web-call",
        "POST /v3/create-web-call",
        "PATCH /v2/update-call/{call_id}",
        "PATCH /v2/update-live-call/{call_id}",
        "POST /v2/take-over-live-call/{call_id}",
        "PUT /rerun-call-analysis/{call_id}",
    ),
    Scope.CALLS_STOP: (
        "POST /v1/calls/{call_id}/stop",
        "PUT /v1/calls/{call_id}/stop-at",
        "DELETE /v1/calls/{call_id}/stop-at",
        "POST /api/v1/agents/{agent_id}/end-call",
        "POST /v2/stop-call/{call_id}",
        "DELETE /v2/delete-call/{call_id}",
        "POST /2010-04-01/Accounts/{account_sid}/Calls/{call_sid}.json",
    ),
    Scope.CALLS_STOP_BULK: (
        "POST /v1/stops",
        "POST /v1/dial-blocks",
        "DELETE /v1/dial-blocks/{block_id}",
    ),
    Scope.ADMIN: (
        "DELETE /v1/calls/{call_id}/recording",
        "DELETE /v2/delete-call/{call_id}",
        "GET /v1/audit",
        *(f"{method} /v1/{kind}" for kind in ("agents", "numbers", "trunks", "keys") for method in ("GET", "POST")),
        "GET /v1/agents/{agent_id}",
        "PUT /v1/agents/{agent_id}",
        "DELETE /v1/agents/{agent_id}",
        "PUT /v1/numbers/{number_id}",
        "DELETE /v1/numbers/{number_id}",
        "PUT /v1/trunks/{trunk_id}",
        "DELETE /v1/trunks/{trunk_id}",
        "DELETE /v1/keys/{key_id}",
        "GET /v1/webhooks",
        "POST /v1/webhooks",
        "GET /v1/webhooks/{webhook_id}",
        "PUT /v1/webhooks/{webhook_id}",
        "DELETE /v1/webhooks/{webhook_id}",
        "POST /v1/webhooks/{webhook_id}/rotate-secret",
        "POST /v1/webhooks/{webhook_id}/test",
        "GET /v1/webhooks/{webhook_id}/attempts",
        "GET /v1/webhooks/{webhook_id}/attempts/{attempt_id}",
        "POST /v1/webhooks/{webhook_id}/attempts/{attempt_id}/retry",
        "POST /v1/webhooks/{webhook_id}/replay",
        "GET /api/v1/agents",
        "POST /api/v1/agents",
        "GET /api/v1/agents/{agent_id}",
        "DELETE /api/v1/agents/{agent_id}",
        "POST /api/v1/agents/{agent_id}/publish",
        "POST /api/v1/agents/{agent_id}/unpublish",
        "PUT /api/v1/agents/{agent_id}/knowledge",
        "PUT /api/v1/agents/{agent_id}/voice",
        "PUT /api/v1/agents/{agent_id}/calling",
        "GET /api/v1/phone-numbers",
        "GET /api/v1/agents/{agent_id}/webhooks",
        "POST /api/v1/agents/{agent_id}/webhooks",
        "GET /api/v1/agents/{agent_id}/webhooks/{webhook_id}",
        "PUT /api/v1/agents/{agent_id}/webhooks/{webhook_id}",
        "DELETE /api/v1/agents/{agent_id}/webhooks/{webhook_id}",
        "PATCH /api/v1/agents/{agent_id}/webhooks/{webhook_id}/toggle",
        "POST /api/v1/agents/{agent_id}/webhooks/{webhook_id}/test",
        "GET /api/v1/agents/{agent_id}/webhooks/{webhook_id}/logs",
        "POST /api/v1/agents/{agent_id}/webhooks/{webhook_id}/logs/{log_id}/retry",
        "POST /create-agent",
        "GET /get-agent/{agent_id}",
        "PATCH /update-agent/{agent_id}",
        "DELETE /delete-agent/{agent_id}",
        "GET /list-agents",
        "POST /v2/list-agents",
        "POST /create-phone-number",
        "POST /import-phone-number",
        "GET /get-phone-number/{phone_number}",
        "PATCH /update-phone-number/{phone_number}",
        "DELETE /delete-phone-number/{phone_number}",
        "GET /list-phone-numbers",
        "GET /v2/list-phone-numbers",
    ),
}
"""The routes that each scope opens; one that is named twice needs both. Whoever reads or changes what others' calls
depend on, or deletes what happened, needs `admin`."""

UNLISTED = (Scope.ADMIN,)
"""What a route needs that was forgotten here; a test finds it."""


def listed() -> dict[str, tuple[Scope, ...]]:
    """Return the scopes of each route, `METHOD /path/as/documented`."""
    found: dict[str, tuple[Scope, ...]] = {}
    for scope, routes in ROUTES.items():
        for route in routes:
            found[route] = (*found.get(route, ()), scope)
    return found


SCOPES = listed()


def scopes_for(methods: Iterable[str], path: str) -> tuple[Scope, ...]:
    """Return all scopes that a route needs; `path` is as the OpenAPI document has it."""
    needed = [scope for method in sorted(methods) for scope in SCOPES.get(f"{method} {path}", UNLISTED)]
    return tuple(dict.fromkeys(needed))


class MissingScopeError(HTTPException):
    """The key is good, but may not do this: 403."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(403)
        self.scope = scope


def require(key: ApiKey, needed: Iterable[Scope]) -> None:
    """Raise `MissingScopeError` for the first scope that a key has not."""
    for scope in needed:
        if not allows(key, scope):
            raise MissingScopeError(scope)
