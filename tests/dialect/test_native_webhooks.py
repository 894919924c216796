"""Our own API's webhooks: their life, what a receiver gets, and sending again."""

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook
from tests.dialect.conftest import Rig
from tests.unit.courier_bench import status

from onhook.calls.call import Dialect, EventType
from onhook.store.outbox import WebhookEndpoint
from onhook.webhooks.transport import Answer, Request

pytestmark = pytest.mark.dialect

URL = "https://hooks.example.com/onhook"
HOOK: dict[str, Any] = {"name": "CRM", "url": URL, "events": ["call.created", "call.ended"]}
ITEM_ENDPOINTS = [
    ("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/rotate-secret"), ("POST", "/test"), ("GET", "/attempts"),
    ("GET", "/attempts/x"), ("POST", "/attempts/x/retry"), ("POST", "/replay"),
]  # fmt: skip


async def created(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json=HOOK | changes)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def delivered(rig: Rig, count: int) -> list[dict[str, Any]]:
    """Let the courier work until it has sent `count` requests; return their bodies."""
    enough, answer = asyncio.Event(), rig.transport.script

    def counted(request: Request) -> Answer | None:
        if len(rig.transport.sent) >= count:
            enough.set()
        return answer(request)

    rig.transport.script = counted
    await rig.courier.start()
    async with asyncio.timeout(10):
        await enough.wait()
    await rig.courier.close()
    rig.transport.script = answer
    assert len(rig.transport.sent) == count
    return [json.loads(one.body) for one in rig.transport.sent]


async def ended_call(rig: Rig, client: httpx.AsyncClient) -> str:
    call = await rig.call()
    assert (await client.post(f"/v1/calls/{call.id}/stop")).status_code == 200
    await rig.settled(call.id)
    return call.id


# --- the webhook itself ------------------------------------------------------------------------------


async def test_a_webhook_is_created_read_replaced_and_deleted(client: httpx.AsyncClient) -> None:
    hook = await created(client, headers={"X-Team": "ops"}, hold_s=5)
    secret = hook.pop("secret")
    assert secret.startswith("whsec_")
    assert (hook["dialect"], hook["status"], hook["enabled"]) == ("native", "active", True)
    url = f"/v1/webhooks/{hook['id']}"
    assert (await client.get(url)).json() == hook
    assert (await client.get("/v1/webhooks")).json() == {"items": [hook]}

    replaced = await client.put(url, json={"name": "CRM 2", "url": URL, "enabled": False})
    assert replaced.status_code == 200
    assert (replaced.json()["name"], replaced.json()["status"]) == ("CRM 2", "disabled")
    assert set(replaced.json()["events"]) == {one.value for one in EventType}
    assert secret not in (await client.get("/v1/webhooks")).text
    assert (await client.delete(url)).status_code == 204
    assert (await client.get(url)).status_code == 404


async def test_secrets_are_kept_encrypted(rig: Rig, client: httpx.AsyncClient) -> None:
    hook = await created(client)
    stored = await rig.store.get(WebhookEndpoint, hook["id"], rig.mine.environment_id)

    assert stored is not None
    assert stored.secret is not None
    assert rig.secrets.decrypt(stored.secret) == hook["secret"] != stored.secret


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "no url"}, "url"),
        ({"url": "http://127.0.0.1/x"}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/x"}, "url"),
        ({"url": "http://localhost/x"}, "url"),
        ({"agent_id": "nobody"}, "agent_id"),
        ({"events": []}, "events"),
        ({"events": ["call.unknown"]}, "events.0"),
        ({"headers": {"X-A": "b\r\nX-B: c"}}, "headers.X-A"),
        ({"headers": {"X A": "b"}}, "headers.X A.[key]"),
        ({"hold_s": 61}, "hold_s"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_a_webhook_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    answer = await client.post("/v1/webhooks", json=HOOK | change)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text
    assert (await client.get("/v1/webhooks")).json() == {"items": []}


async def test_another_environments_agent_is_refused(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/webhooks", json=HOOK | {"agent_id": rig.other.agent_id})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "agent_id")


@pytest.mark.parametrize(("method", "rest"), ITEM_ENDPOINTS)
async def test_another_environments_webhook_is_unknown(rig: Rig, method: str, rest: str) -> None:
    async with rig.client(tenant=rig.other) as stranger, rig.client() as client:
        hook = await created(stranger)
        theirs = await client.request(method, f"/v1/webhooks/{hook['id']}{rest}", json=HOOK if method == "PUT" else {})
        unknown = await client.request(method, f"/v1/webhooks/nobody{rest}", json=HOOK if method == "PUT" else {})

        assert (theirs.status_code, theirs.json()["code"]) == (404, "webhook_not_found")
        assert theirs.json() == unknown.json()
        assert (await client.get("/v1/webhooks")).json() == {"items": []}
        assert (await stranger.get(f"/v1/webhooks/{hook['id']}")).status_code == 200
    assert rig.transport.sent == []


async def test_a_webhook_of_another_dialect_is_shown_and_not_replaced(rig: Rig, client: httpx.AsyncClient) -> None:
    path = f"/api/v1/agents/{rig.mine.agent_id}/webhooks"
    body = {"name": "T", "webhook_url": URL, "events": ["event_phone_call_ended"]}
    made = (await client.post(path, json=body)).json()["data"]
    (shown,) = (await client.get("/v1/webhooks")).json()["items"]
    answer = await client.put(f"/v1/webhooks/{shown['id']}", json=HOOK)

    assert (shown["id"], shown["dialect"], shown["events"]) == (made["id"], "talkover", ["event_phone_call_ended"])
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_of_another_dialect")


# --- deliveries --------------------------------------------------------------------------------------


async def test_a_receiver_gets_the_events_it_wants_in_order_and_signed(rig: Rig, client: httpx.AsyncClient) -> None:
    hook = await created(client, headers={"X-Team": "ops"})
    call_id = await ended_call(rig, client)
    first, last = await delivered(rig, 2)
    end = (await client.get(f"/v1/calls/{call_id}")).json()

    assert (first["type"], last["type"]) == ("call.created", "call.ended")
    assert set(last) == {"type", "timestamp", "call_id", "seq", "data", "call"}
    assert last["call"]["ended_at"] == end["ended_at"]
    assert last["call"]["cause"] == end["cause"]
    assert first["seq"] == 1 < last["seq"]
    assert first["call"]["ended_at"] is None
    for request in rig.transport.sent:
        assert request.headers["X-Team"] == "ops"
        assert Webhook(hook["secret"]).verify(request.body, request.headers)


async def test_a_webhook_of_one_agent_gets_only_its_calls(rig: Rig, client: httpx.AsyncClient) -> None:
    other = (await client.post("/v1/agents", json={"name": "Grace"})).json()["id"]
    await created(client, agent_id=other)
    await created(client, agent_id=rig.mine.agent_id, events=["call.created"])
    call = await rig.call()

    (only,) = await delivered(rig, 1)
    assert only["call_id"] == call.id


async def test_both_secrets_sign_while_one_is_replaced(rig: Rig, client: httpx.AsyncClient) -> None:
    hook = await created(client, events=["call.created"])
    rotated = await client.post(f"/v1/webhooks/{hook['id']}/rotate-secret", json={"overlap_hours": 1})
    assert rotated.status_code == 200
    await rig.call()
    await delivered(rig, 1)

    (request,) = rig.transport.sent
    assert rotated.json()["secret"] != hook["secret"]
    for secret in (hook["secret"], rotated.json()["secret"]):
        assert Webhook(secret).verify(request.body, request.headers)


async def test_an_old_secret_can_be_dropped_at_once(rig: Rig, client: httpx.AsyncClient) -> None:
    hook = await created(client, events=["call.created"])
    await client.post(f"/v1/webhooks/{hook['id']}/rotate-secret", json={"overlap_hours": 0})
    await rig.call()
    await delivered(rig, 1)

    assert len(rig.transport.sent[0].headers["webhook-signature"].split()) == 1


async def test_a_test_is_sent_at_once_signed_and_listed(rig: Rig, client: httpx.AsyncClient) -> None:
    hook = await created(client)
    url = f"/v1/webhooks/{hook['id']}"
    good = await client.post(f"{url}/test")
    rig.transport.script = status(500)
    bad = await client.post(f"{url}/test")

    assert (good.status_code, good.json()["status"], good.json()["http_status"]) == (200, "success", 200)
    assert (bad.status_code, bad.json()["status"], bad.json()["error"]) == (200, "failed", "HTTP 500")
    body = Webhook(hook["secret"]).verify(rig.transport.sent[0].body, rig.transport.sent[0].headers)
    assert (body["type"], body["data"]) == ("webhook.test", {"webhook_id": hook["id"]})
    attempts = (await client.get(f"{url}/attempts")).json()
    assert [one["id"] for one in attempts["items"]] == [bad.json()["id"], good.json()["id"]]
    assert (await client.post(f"{url}/attempts/{good.json()['id']}/retry")).json()["code"] == "not_retriable"


async def test_attempts_are_paged_newest_first_and_read_one_by_one(rig: Rig, client: httpx.AsyncClient) -> None:
    hook = await created(client)
    await ended_call(rig, client)
    await delivered(rig, 2)
    url = f"/v1/webhooks/{hook['id']}/attempts"
    whole = (await client.get(url)).json()
    second = (await client.get(url, params={"limit": 1, "offset": 1})).json()

    assert [one["event"] for one in whole["items"]] == ["call.ended", "call.created"]
    assert (second["items"], second["total"]) == (whole["items"][1:], 2)
    assert (await client.get(f"{url}/{second['items'][0]['id']}")).json() == second["items"][0]
    assert (await client.get(f"{url}/nothing")).json()["code"] == "attempt_not_found"
    other = await created(client)
    foreign = await client.get(f"/v1/webhooks/{other['id']}/attempts/{second['items'][0]['id']}")
    assert foreign.status_code == 404


async def test_one_attempt_is_delivered_again_under_a_new_id(rig: Rig, client: httpx.AsyncClient) -> None:
    hook = await created(client, events=["call.created"])
    await rig.call()
    await delivered(rig, 1)
    url = f"/v1/webhooks/{hook['id']}"
    (attempt,) = (await client.get(f"{url}/attempts")).json()["items"]
    queued = await client.post(f"{url}/attempts/{attempt['id']}/retry")
    first, second = await delivered(rig, 2)

    assert queued.status_code == 202
    assert second == first
    ids = [request.headers["webhook-id"] for request in rig.transport.sent]
    assert ids == [attempt["delivery_id"], queued.json()["delivery_id"]]


async def test_a_range_is_replayed_by_call_event_and_time(rig: Rig, client: httpx.AsyncClient) -> None:
    first, second = await ended_call(rig, client), await ended_call(rig, client)
    hook = await created(client)  # after the fact: nothing was queued for it
    url = f"/v1/webhooks/{hook['id']}/replay"

    async def replay(**body: Any) -> int:
        answer = await client.post(url, json=body)
        assert answer.status_code == 202, answer.text
        queued: int = answer.json()["queued"]
        return queued

    assert await replay(call_id=first) == 2
    assert await replay(call_id=second, events=["call.ended"]) == 1
    assert await replay(until=1) == 0
    assert await replay(since=rig.clock.now_ms() + 60_000) == 0
    assert await replay() == 4
    bodies = await delivered(rig, 7)
    assert [one["type"] for one in bodies if one["call_id"] == first].count("call.ended") == 2


async def test_a_webhook_that_is_off_is_not_replayed_to(client: httpx.AsyncClient) -> None:
    hook = await created(client, enabled=False)
    answer = await client.post(f"/v1/webhooks/{hook['id']}/replay", json={})

    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_off")


async def test_another_environments_call_is_not_replayed(rig: Rig, client: httpx.AsyncClient) -> None:
    theirs = await rig.call(tenant=rig.other)
    hook = await created(client)

    assert (await client.post(f"/v1/webhooks/{hook['id']}/replay", json={"call_id": theirs.id})).json() == {"queued": 0}


async def test_a_webhook_that_was_given_up_works_again_once_it_is_switched_on(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    hook = await created(client)
    stored = await rig.store.get(WebhookEndpoint, hook["id"], rig.mine.environment_id)
    assert stored is not None
    assert stored.dialect is Dialect.NATIVE
    await rig.store.put(msgspec.structs.replace(stored, enabled=False, status="disabled"))
    replaced = await client.put(f"/v1/webhooks/{hook['id']}", json=HOOK)

    assert (replaced.json()["enabled"], replaced.json()["status"]) == (True, "active")
