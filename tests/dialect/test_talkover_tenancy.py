"""For every endpoint of TalkOver: what belongs to another environment is unknown, and no status is undocumented."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from tests.dialect.conftest import Rig
from tests.dialect.test_talkover_agent_settings import CALLING, KNOWLEDGE, VOICE
from tests.dialect.test_talkover_agents import NEW_AGENT
from tests.dialect.test_talkover_webhooks import HOOK

from onhook.api.app import openapi_document
from onhook.api.talkover.routes import ROUTERS
from onhook.store.outbox import WebhookEndpoint
from onhook.store.queries import CallFilter, Page
from onhook.store.store import Agent, Number, Store
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

BODIES: dict[str, dict[str, Any]] = {
    "make_call": {"to": "+12025550100"},
    "end_call": {"call_sid": "{call}"},
    "create_agent": NEW_AGENT | {"phone_number_ids": ["{number}"]},
    "update_agent_knowledge": KNOWLEDGE,
    "update_agent_voice": VOICE,
    "update_agent_calling": CALLING,
    "create_webhook": HOOK,
    "update_webhook": {"name": "mine now"},
}
LISTS = {"list_calls", "list_agents", "list_phone_numbers"}
"""Endpoints that name nothing: they answer 200, with nothing of the other environment in it."""
INVALID = {"create_agent"}
"""Endpoints that name foreign things in a field: that field is invalid."""

ROUTES = {
    route.name: (min(route.methods), route.path)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.methods and route.name != "health"
}


class Theirs:
    """The other environment, with an agent, a call, a webhook and its log; `ids` fill the places in a path."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.ids: dict[str, str] = {}

    async def create(self) -> None:
        rig, agent_id = self.rig, self.rig.other.agent_id
        async with rig.client(tenant=rig.other) as client:
            hook = (await client.post(f"/api/v1/agents/{agent_id}/webhooks", json=HOOK)).json()["data"]["id"]
            await client.post(f"/api/v1/agents/{agent_id}/webhooks/{hook}/test")
            logs = (await client.get(f"/api/v1/agents/{agent_id}/webhooks/{hook}/logs")).json()
        call = await rig.call("+12025550100", tenant=rig.other)
        self.ids = {
            "agent_id": agent_id,
            "phone": call.to_number,
            "webhook_id": hook,
            "log_id": logs["data"][0]["id"],
            "call": call.id,
            "number": rig.other.number_id,
        }

    def filled(self, value: Any) -> Any:
        """Return a body with their ids in place of `{call}` and `{number}`."""
        match value:
            case dict():
                return {name: self.filled(one) for name, one in value.items()}
            case list():
                return [self.filled(one) for one in value]
            case str():
                return value.format(**self.ids)
            case _:
                return value


async def everything(store: Store) -> list[object]:
    """Return all that a request could change."""
    return [
        await store.find(Agent, None),
        await store.find(Number, None),
        endpoints := await store.find(WebhookEndpoint, None),
        await store.list_calls(CallFilter(), Page()),
        [await store.count_attempts(one.id, one.environment_id) for one in endpoints],
        await store.backlog(),
    ]


@pytest.fixture
async def theirs() -> AsyncIterator[Theirs]:
    rig = Rig(MemoryStore())
    await rig.start()
    built = Theirs(rig)
    await built.create()
    yield built
    await rig.recorder.drained()


async def ask(theirs: Theirs, name: str, headers: dict[str, str] | None = None) -> httpx.Response:
    method, path = ROUTES[name]
    body = theirs.filled(BODIES[name]) if name in BODIES else None
    async with theirs.rig.client() as client:
        return await client.request(method, path.format(**theirs.ids), json=body, headers=headers)


@pytest.mark.parametrize("name", sorted(ROUTES))
async def test_another_environments_objects_are_unknown_and_untouched(theirs: Theirs, name: str) -> None:
    before = await everything(theirs.rig.store)
    answer = await ask(theirs, name)

    expected = 200 if name in LISTS else 422 if name in INVALID else 404
    assert answer.status_code == expected, answer.text
    shown = [one for field, one in theirs.ids.items() if field not in ("phone", "agent_id") and one in answer.text]
    assert shown == []
    assert await everything(theirs.rig.store) == before
    assert len(theirs.rig.transport.sent) == 1


@pytest.mark.parametrize("name", sorted(ROUTES))
async def test_every_failure_of_an_endpoint_is_in_its_document(theirs: Theirs, name: str) -> None:
    method, path = ROUTES[name]
    operation = openapi_document("talkover")["paths"][path][method.lower()]
    with_body = "requestBody" in operation
    answers = [await ask(theirs, name, {"Authorization": "x"}), await ask(theirs, name)]
    if with_body:
        async with theirs.rig.client() as client:
            for kind in ("application/json", "text/plain"):
                url = path.format(**theirs.ids)
                answers.append(await client.request(method, url, content=b"{", headers={"Content-Type": kind}))

    assert [one.status_code for one in answers[2:]] == ([400, 415] if with_body else [])
    assert {str(one.status_code) for one in answers} | {"429"} - _never_limited(name) <= operation["responses"].keys()
    assert operation["security"]


def _never_limited(name: str) -> set[str]:
    return {"429"} if name == "end_call" else set()
