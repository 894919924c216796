"""Anunzi/Retell: update-call and delete-call."""

from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.test_anunzi_calls import BAD_REQUEST, UNKNOWN, create, get
from tests.dialect.test_anunzi_listing import ids

from onhook.api.anunzi import payloads
from onhook.calls.call import Dialect
from onhook.calls.states import State
from onhook.store.outbox import WebhookEndpoint
from onhook.store.queries import CallFilter

pytestmark = pytest.mark.dialect


async def update(client: httpx.AsyncClient, call_id: str, **change: Any) -> httpx.Response:
    return await client.patch(f"/v2/update-call/{call_id}", json=change)


# --- update ------------------------------------------------------------------------------------------


async def test_update_replaces_what_is_given_and_leaves_the_rest(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client, metadata={"a": 1}))["call_id"]
    before = await get(client, call_id)
    answer = await update(client, call_id, metadata={"b": None}, data_storage_setting="basic_attributes_only")

    assert answer.status_code == 200
    assert answer.json() == before | {"metadata": {"b": None}, "data_storage_setting": "basic_attributes_only"}
    assert (await update(client, call_id)).json() == answer.json() == await get(client, call_id)


async def test_custom_attributes_can_be_listed_by(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client))["call_id"]
    await create(rig, client)
    answer = await update(client, call_id, custom_attributes={"team": "north", "score": 4.5, "vip": True})

    assert answer.status_code == 200
    team = {"type": "string", "op": "eq", "value": "north", "key": "team"}
    score = {"type": "number", "op": "gt", "value": 4, "key": "score"}
    assert await ids(client, custom_attributes=[team, score]) == [call_id]


async def test_how_much_is_kept_only_ever_gets_less(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client))["call_id"]
    for setting, status in (
        ("everything", 200),
        ("everything_except_pii", 200),
        ("everything", 400),
        ("basic_attributes_only", 200),
        ("everything_except_pii", 400),
        ("basic_attributes_only", 200),
    ):
        assert (await update(client, call_id, data_storage_setting=setting)).status_code == status, setting


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": "x"},
        {"metadata": {"x": "y" * 51_200}},
        {"data_storage_setting": "nothing"},
        {"custom_attributes": {"a": None}},
        {"custom_attributes": {"a": [1]}},
        {"custom_attributes": "x"},
    ],
)
async def test_an_update_that_makes_no_sense_changes_nothing(
    rig: Rig, client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    call_id = (await create(rig, client, metadata={"a": 1}))["call_id"]
    before = await get(client, call_id)
    answer = await update(client, call_id, **change)

    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    assert await get(client, call_id) == before


async def test_metadata_of_50_kb_is_taken(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client))["call_id"]

    assert (await update(client, call_id, metadata={"x": "y" * 51_000})).status_code == 200


# --- delete ------------------------------------------------------------------------------------------


async def test_delete_ends_a_live_call_and_then_forgets_it(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client))["call_id"]
    answer = await client.delete(f"/v2/delete-call/{call_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Onhook-Proof"] == "confirmed"
    assert [one for one, _ in rig.engine.hangups] == [call_id]
    for gone in (
        await client.get(f"/v2/get-call/{call_id}"),
        await client.delete(f"/v2/delete-call/{call_id}"),
        await client.post(f"/v2/stop-call/{call_id}"),
        await update(client, call_id, metadata={}),
    ):
        assert (gone.status_code, gone.json()) == (422, UNKNOWN)
    assert await ids(client) == []
    assert await rig.store.count_calls(CallFilter()) == 0


async def test_a_call_that_is_over_is_deleted_as_it_is(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client, "+12025550102"))["call_id"]

    assert (await client.delete(f"/v2/delete-call/{call_id}")).status_code == 204
    assert (await client.get(f"/v1/calls/{call_id}")).status_code == 404


async def test_webhooks_of_a_deleted_call_still_go(rig: Rig, client: httpx.AsyncClient) -> None:
    await rig.store.put(
        WebhookEndpoint(
            id="hook_1",
            environment_id=rig.mine.environment_id,
            dialect=Dialect.ANUNZI,
            name="hook",
            url="https://example.com/hook",
            created_at=0,
            updated_at=0,
            wants=payloads.wants(),
        )
    )
    call_id = (await create(rig, client))["call_id"]
    await client.delete(f"/v2/delete-call/{call_id}")
    await rig.recorder.drained()
    assert await rig.store.erase_deleted_calls() == 0

    claims = await rig.store.claim(rig.clock.now_ms(), 10, 10, {})
    assert [claim.delivery.event for claim in claims] == ["call_started"]
    call = await rig.store.get_call(call_id, None)
    assert call is not None
    assert call.state is State.ENDED


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_an_unknown_and_a_foreign_call_look_alike(rig: Rig, client: httpx.AsyncClient, method: str) -> None:
    foreign = await rig.call(tenant=rig.other)
    path = "/v2/update-call" if method == "PATCH" else "/v2/delete-call"
    json: dict[str, Any] | None = {"metadata": {}} if method == "PATCH" else None
    for call_id in ("unknown", foreign.id):
        answer = await client.request(method, f"{path}/{call_id}", json=json)
        assert (answer.status_code, answer.json()) == (422, UNKNOWN)
    assert (await rig.settled(foreign.id)).state is State.ANSWERED


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("call_id", ["", "a%2Fb", "x" * 65, "a.b"])
async def test_a_malformed_id_is_a_bad_request(client: httpx.AsyncClient, method: str, call_id: str) -> None:
    path = "/v2/update-call" if method == "PATCH" else "/v2/delete-call"
    answer = await client.request(method, f"{path}/{call_id}", json={} if method == "PATCH" else None)

    assert (answer.status_code, answer.json()) == (400, BAD_REQUEST)
