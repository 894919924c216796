"""What a key may do: one scope for every route, 403 in each dialect's own shape, nothing given away that one lacks."""

import base64
import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute
from tests.dialect.conftest import Rig

from onhook.agents.twilio import account_sid
from onhook.api.app import ROUTERS, TWILIO, openapi_document
from onhook.api.routing import CheckedRoute
from onhook.api.scopes import ROUTES, SCOPES
from onhook.store.queries import CallFilter
from onhook.store.scopes import Scope
from onhook.store.secrets import hash_token
from onhook.store.store import ApiKey

pytestmark = pytest.mark.dialect

NOT_AUTHORIZED = "You are not authorized to perform this action."


def routes() -> Iterator[tuple[str, str, str]]:
    """Yield dialect, method and path of every route that wants a token."""
    for dialect, routers in ROUTERS.items():
        for router in routers:
            for route in router.routes:
                if isinstance(route, CheckedRoute):
                    for method in sorted(route.methods or ()):
                        yield dialect, method, route.path_format


ALL = list(routes())


async def token_with(rig: Rig, *scopes: Scope) -> str:
    """Return the token of a key that may do this and nothing else."""
    token = f"key_{'_'.join(scopes)}"
    key = ApiKey(
        f"apikey_{len(scopes)}_{'_'.join(scopes)}",
        rig.mine.environment_id,
        "limited",
        hash_token(token),
        token[-4:],
        0,
        scopes=tuple(scopes),
    )
    await rig.store.put(key)
    return token


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(rig: Rig, token: str) -> dict[str, str]:
    user = account_sid(rig.mine.environment_id)
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


async def ask(rig: Rig, dialect: str, method: str, path: str, token: str) -> httpx.Response:
    """Send a request to a route, with no body, and with an id where the path has a name."""
    url = re.sub(r"\{\w+\}", "x", path)
    async with rig.client() as client:
        return await client.request(method, url, headers=basic(rig, token) if dialect == TWILIO else bearer(token))


# --- the table


@pytest.mark.parametrize(("dialect", "method", "path"), ALL, ids=[" ".join(route[1:]) for route in ALL])
def test_every_route_has_its_scope(dialect: str, method: str, path: str) -> None:
    assert f"{method} {path}" in SCOPES, f"name it in onhook.api.scopes ({dialect})"


def test_no_scope_opens_a_route_that_is_not_there() -> None:
    assert set(SCOPES) - {f"{method} {path}" for _, method, path in ALL} == set()


def test_every_route_that_wants_no_scope_is_one_that_wants_no_key() -> None:
    unchecked = {
        route.path
        for routers in ROUTERS.values()
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and not isinstance(route, CheckedRoute)
    }
    assert unchecked == {"/healthz", "/readyz", "/metrics", "/api/v1/health"}


def test_a_scope_is_named_once_for_a_route() -> None:
    for named in ROUTES.values():
        assert len(named) == len(set(named))


@pytest.mark.parametrize("dialect", ROUTERS)
def test_the_openapi_document_names_the_scopes_and_the_403(dialect: str) -> None:
    paths = openapi_document(dialect)["paths"]
    for _, method, path in (route for route in ALL if route[0] == dialect):
        operation = paths[path][method.lower()]
        assert operation["security"] == [{"token": list(SCOPES[f"{method} {path}"])}]
        assert operation["responses"]["403"]["content"] == operation["responses"]["401"]["content"]


# --- each route


@pytest.mark.parametrize(("dialect", "method", "path"), ALL, ids=[" ".join(route[1:]) for route in ALL])
async def test_a_key_without_the_scope_is_refused_before_anything_is_looked_at(
    memory_rig: Rig, dialect: str, method: str, path: str
) -> None:
    for lacking in SCOPES[f"{method} {path}"]:
        token = await token_with(memory_rig, *(scope for scope in Scope if scope is not lacking))
        answer = await ask(memory_rig, dialect, method, path, token)
        assert answer.status_code == 403


@pytest.mark.parametrize(("dialect", "method", "path"), ALL, ids=[" ".join(route[1:]) for route in ALL])
async def test_a_key_with_the_scope_alone_is_let_in(memory_rig: Rig, dialect: str, method: str, path: str) -> None:
    token = await token_with(memory_rig, *SCOPES[f"{method} {path}"])
    answer = await ask(memory_rig, dialect, method, path, token)
    assert answer.status_code not in (401, 403, 500)


# --- the words


async def test_our_own_403_names_the_scope(memory_rig: Rig) -> None:
    token = await token_with(memory_rig, Scope.CALLS_READ)
    answer = await ask(memory_rig, "native", "POST", "/v1/calls/{call_id}/stop", token)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "code": "missing_scope",
        "detail": "This API key lacks the scope calls:stop.",
        "scope": "calls:stop",
    }


async def test_retells_403_has_the_shape_of_its_errors(memory_rig: Rig) -> None:
    token = await token_with(memory_rig, Scope.CALLS_READ)
    answer = await ask(memory_rig, "anunzi", "POST", "/v2/stop-call/{call_id}", token)
    assert answer.json() == {"status": "error", "message": "Forbidden: this API key lacks the scope calls:stop."}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/agents/{agent_id}/end-call", {"success": False, "message": NOT_AUTHORIZED}),
        ("GET", "/api/v1/agents/{agent_id}", {"success": False, "message": NOT_AUTHORIZED}),
        ("POST", "/api/v1/agents/{agent_id}/call", {"error": {"code": "FORBIDDEN", "message": NOT_AUTHORIZED}}),
        ("GET", "/api/v1/agents/{agent_id}/webhooks", {"message": NOT_AUTHORIZED}),
    ],
)
async def test_talkovers_403_has_its_documented_words_in_the_shape_of_each_endpoint(
    memory_rig: Rig, method: str, path: str, body: dict[str, object]
) -> None:
    token = await token_with(memory_rig, Scope.CALLS_READ)
    assert (await ask(memory_rig, "talkover", method, path, token)).json() == body


async def test_twilios_403_has_the_shape_of_its_errors(memory_rig: Rig) -> None:
    token = await token_with(memory_rig, Scope.CALLS_READ)
    path = "/2010-04-01/Accounts/{account_sid}/Calls/{call_sid}.json"
    body = (await ask(memory_rig, TWILIO, "POST", path, token)).json()
    assert (body["status"], body["code"]) == (403, 20403)
    assert body["message"] == "Permission denied: this API key lacks the scope calls:stop."


# --- what it is for


async def test_a_key_that_may_only_create_cannot_stop_and_one_that_may_only_stop_cannot_create(rig: Rig) -> None:
    body = {"to_number": "+12025550100", "agent_id": rig.mine.agent_id}
    creates, stops = await token_with(rig, Scope.CALLS_CREATE), await token_with(rig, Scope.CALLS_STOP)
    async with rig.client() as client:
        assert (await client.post("/v1/calls", json=body, headers=bearer(stops))).status_code == 403
        made = await client.post("/v1/calls", json=body, headers=bearer(creates))
        call_id = made.json()["call_id"]
        assert (await client.post(f"/v1/calls/{call_id}/stop", headers=bearer(creates))).status_code == 403
        assert (await client.get(f"/v1/calls/{call_id}")).json()["stop"] is None
        stopped = await client.post(f"/v1/calls/{call_id}/stop", headers=bearer(stops))
        assert stopped.json()["state"] in ("ending", "ended")
    assert await rig.store.count_calls(CallFilter(environment_id=rig.mine.environment_id)) == 1


async def test_a_deletion_needs_the_right_to_stop_and_the_right_to_delete(memory_rig: Rig) -> None:
    path = "/v2/delete-call/{call_id}"
    for scopes, status in (
        ((Scope.CALLS_STOP,), 403),
        ((Scope.ADMIN,), 403),
        ((Scope.CALLS_STOP, Scope.ADMIN), 422),
    ):
        token = await token_with(memory_rig, *scopes)
        assert (await ask(memory_rig, "anunzi", "DELETE", path, token)).status_code == status


# --- keys


async def test_a_key_is_made_with_scopes_and_lists_them(memory_rig: Rig) -> None:
    async with memory_rig.client() as client:
        made = await client.post(
            "/v1/keys", json={"name": "till", "scopes": ["calls:stop", "calls:read", "calls:stop"]}
        )
        assert made.json()["scopes"] == ["calls:read", "calls:stop"]
        limited = bearer(made.json()["token"])
        assert (await client.get("/v1/calls", headers=limited)).status_code == 200
        assert (await client.get("/v1/keys", headers=limited)).status_code == 403
        listed = {one["id"]: one["scopes"] for one in (await client.get("/v1/keys")).json()["items"]}
    assert listed[made.json()["id"]] == ["calls:read", "calls:stop"]
    assert listed[memory_rig.mine.key_id] == [scope.value for scope in Scope]


async def test_a_key_made_without_scopes_may_do_what_its_maker_may(memory_rig: Rig) -> None:
    limited = await token_with(memory_rig, Scope.ADMIN, Scope.CALLS_READ)
    async with memory_rig.client() as client:
        full = await client.post("/v1/keys", json={"name": "full"})
        heir = await client.post("/v1/keys", json={"name": "heir"}, headers=bearer(limited))
    assert full.json()["scopes"] == [scope.value for scope in Scope]
    assert sorted(heir.json()["scopes"]) == ["admin", "calls:read"]


async def test_nobody_gives_away_a_scope_that_he_has_not(memory_rig: Rig) -> None:
    limited = await token_with(memory_rig, Scope.ADMIN, Scope.CALLS_READ)
    async with memory_rig.client() as client:
        before = (await client.get("/v1/keys")).json()
        body = {"name": "more", "scopes": ["calls:read", "calls:stop"]}
        answer = await client.post("/v1/keys", json=body, headers=bearer(limited))
        assert (await client.get("/v1/keys")).json() == before
    assert (answer.status_code, answer.json()["scope"]) == (403, "calls:stop")


@pytest.mark.parametrize("scopes", [[], ["calls:write"], "admin", ["calls:read", None]])
async def test_scopes_that_do_not_exist_are_refused(memory_rig: Rig, scopes: object) -> None:
    async with memory_rig.client() as client:
        answer = await client.post("/v1/keys", json={"name": "odd", "scopes": scopes})
    assert answer.status_code == 422
