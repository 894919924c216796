"""`Idempotency-Key` on our own API: one create, one object, the same answer."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.api.native.once import LEASE_MS
from onhook.clock import SystemClock
from onhook.store.idempotency import OnceRequest
from onhook.store.outbox import WebhookEndpoint
from onhook.store.queries import CallFilter
from onhook.store.store import Agent, ApiKey, Number, TrunkRecord
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

KEY = {"Idempotency-Key": "order-4711"}
TO = "+12025550101"


def creates(rig: Rig) -> dict[str, dict[str, Any]]:
    return {
        "/v1/calls": {"agent_id": rig.mine.agent_id, "to_number": TO},
        "/v1/agents": {"name": "Grace"},
        "/v1/numbers": {"number": "+12025550177", "trunk_id": rig.mine.trunk_id},
        "/v1/trunks": {"name": "t", "uri": "sip:127.0.0.1:5070", "password": "s3cret"},
        "/v1/keys": {"name": "k"},
        "/v1/webhooks": {"name": "w", "url": "https://example.com/hook"},
    }


async def test_every_create_is_carried_out_once_and_answered_twice(rig: Rig, client: httpx.AsyncClient) -> None:
    for number, (path, body) in enumerate(creates(rig).items()):
        key = {"Idempotency-Key": f"key-{number}"}
        first = await client.post(path, json=body, headers=key)
        second = await client.post(path, json=body, headers=key)

        assert (first.status_code, second.status_code) == (201, 201), first.text
        assert second.json() == first.json()
        assert second.headers["content-type"] == "application/json"
        assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    assert await rig.store.count_calls(CallFilter()) == 1


async def test_without_a_key_every_create_is_a_new_one(rig: Rig, client: httpx.AsyncClient) -> None:
    ids = {(await client.post("/v1/agents", json={"name": "Grace"})).json()["id"] for _ in range(2)}

    assert len(ids) == 2


async def test_a_key_belongs_to_its_request(rig: Rig, client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/agents", json={"name": "Grace"}, headers=KEY)).status_code == 201
    for path, body in (("/v1/agents", {"name": "Ada"}), ("/v1/keys", {"name": "Grace"})):
        answer = await client.post(path, json=body, headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_key_belongs_to_its_environment(rig: Rig, client: httpx.AsyncClient) -> None:
    mine = await client.post("/v1/agents", json={"name": "Grace"}, headers=KEY)
    async with rig.client(tenant=rig.other) as stranger:
        theirs = await stranger.post("/v1/agents", json={"name": "Ada"}, headers=KEY)

    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine.json()["id"]


async def test_a_refused_request_leaves_its_key_free(rig: Rig, client: httpx.AsyncClient) -> None:
    for body in ({"name": ""}, {"name": "x", "unknown": 1}):
        assert (await client.post("/v1/agents", json=body, headers=KEY)).status_code == 422
    emergency = {"agent_id": rig.mine.agent_id, "to_number": "+1911"}
    assert (await client.post("/v1/calls", json=emergency, headers=KEY)).status_code == 422

    assert (await client.post("/v1/agents", json={"name": "Grace"}, headers=KEY)).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "x" * 256])
async def test_a_key_is_visible_text(client: httpx.AsyncClient, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode())]
    answer = await client.post("/v1/agents", json={"name": "Grace"}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")


async def test_of_two_at_once_one_is_carried_out_and_the_other_told_to_wait(memory_rig: Rig) -> None:
    rig = memory_rig
    assert isinstance(rig.store, MemoryStore)
    rig.store.write_delay = 0.02
    async with rig.client() as client:
        body = {"agent_id": rig.mine.agent_id, "to_number": TO}
        answers = await asyncio.gather(*(client.post("/v1/calls", json=body, headers=KEY) for _ in range(2)))
        first, second = sorted(answers, key=lambda answer: answer.status_code)
        again = await client.post("/v1/calls", json=body, headers=KEY)

    assert (first.status_code, second.status_code, again.status_code) == (201, 409, 201)
    assert (second.json()["code"], second.headers["retry-after"]) == ("request_under_way", "1")
    assert again.json() == first.json()
    assert await rig.store.count_calls(CallFilter()) == 1


class LaterClock(SystemClock):
    """The machine's clock, moved on."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class ForgetfulStore(MemoryStore):
    """Dies before it can keep an answer."""

    dies = True

    async def finish_once(self, scope: str, key: str, status: int, answer: str) -> None:
        if self.dies:
            raise SystemError("killed")
        await super().finish_once(scope, key, status, answer)


@pytest.mark.parametrize("path", ["/v1/calls", "/v1/agents", "/v1/numbers", "/v1/trunks", "/v1/keys", "/v1/webhooks"])
async def test_a_request_cut_off_before_its_answer_makes_no_second_object(path: str) -> None:
    store, clock = ForgetfulStore(), LaterClock()
    rig = Rig(store, clock)
    await rig.start()
    body = creates(rig)[path]
    async with rig.client() as client:
        before = await objects(rig)
        assert (await client.post(path, json=body, headers=KEY)).status_code == 500
        store.dies = False
        assert (await client.post(path, json=body, headers=KEY)).status_code == 409
        clock.ahead_ms = LEASE_MS + 1
        again = await client.post(path, json=body, headers=KEY)
        await rig.recorder.drained()

    assert again.status_code == 201
    assert await objects(rig) == before + 1


async def objects(rig: Rig) -> int:
    store, environment_id = rig.store, rig.mine.environment_id
    return (
        len(await store.find(Agent, environment_id))
        + len(await store.find(Number, environment_id))
        + len(await store.find(TrunkRecord, environment_id))
        + len(await store.find(ApiKey, environment_id))
        + len(await store.find(WebhookEndpoint, environment_id))
        + await store.count_calls(CallFilter())
    )


async def test_what_is_kept_of_an_answer_cannot_be_read(rig: Rig, client: httpx.AsyncClient) -> None:
    created = await client.post("/v1/keys", json={"name": "k"}, headers=KEY)
    now = rig.clock.now_ms()
    wish = OnceRequest(f"native:{rig.mine.environment_id}", KEY["Idempotency-Key"], "", "", now, now + 1)
    held = (await rig.store.begin_once(wish, stale_before=0)).request

    assert held.answer is not None
    assert created.json()["token"] not in held.answer
    assert created.json()["token"] in rig.secrets.decrypt(held.answer)
    assert held.expires_at - held.begun_at == 86_400_000


async def test_a_number_that_is_taken_is_refused_each_time(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {"number": rig.mine.number, "trunk_id": rig.mine.trunk_id}
    answers = [await client.post("/v1/numbers", json=body, headers=KEY) for _ in range(2)]

    assert [answer.json()["code"] for answer in answers] == ["number_taken", "number_taken"]
    assert len(await rig.store.find(Number, rig.mine.environment_id)) == 1
