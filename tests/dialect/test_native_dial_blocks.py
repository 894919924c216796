"""Our own API: dial blocks are put, listed and released."""

from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.store.records import DialBlock

pytestmark = pytest.mark.dialect

ALL = {"selector": {"all": True}}


async def blocks(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/v1/dial-blocks")).json()["items"]
    return found


async def test_a_block_is_put_listed_and_released(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {"selector": {"agent_ids": ["agent_mine"], "number_prefixes": ["+44"]}, "reason": "wrong list"}
    answer = await client.post("/v1/dial-blocks", json=body)
    block = answer.json()

    assert answer.status_code == 201
    assert (block["reason"], block["created_by"], block["bulk_id"]) == ("wrong list", "api_key:apikey_mine", None)
    assert (block["selector"]["agent_ids"], block["selector"]["number_prefixes"]) == (["agent_mine"], ["+44"])
    assert await blocks(client) == [block]
    released = await client.delete(f"/v1/dial-blocks/{block['id']}")
    again = await client.delete(f"/v1/dial-blocks/{block['id']}")
    assert (released.status_code, released.content) == (204, b"")
    assert (again.status_code, again.json()["code"]) == (404, "dial_block_not_found")
    assert await blocks(client) == []


async def test_a_bulk_stop_brings_its_block(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {"selector": {"agent_ids": ["agent_mine"], "states": ["ringing"]}, "block_dials": True, "reason": "enough"}
    told = (await client.post("/v1/stops", json=body)).json()
    (block,) = await blocks(client)

    assert (block["id"], block["bulk_id"], block["reason"]) == (told["dial_block_id"], told["id"], "enough")
    assert (block["selector"]["agent_ids"], block["selector"]["states"]) == (["agent_mine"], [])


@pytest.mark.parametrize(
    "selector", [{}, {"states": ["ringing"]}, {"older_than_ms": 5}, {"all": True, "trunk_ids": ["x"]}]
)
async def test_a_block_must_say_something_of_new_calls(client: httpx.AsyncClient, selector: dict[str, Any]) -> None:
    answer = await client.post("/v1/dial-blocks", json={"selector": selector})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "selector")
    assert await blocks(client) == []


async def test_another_tenants_block_is_not_there(rig: Rig, client: httpx.AsyncClient) -> None:
    block = (await client.post("/v1/dial-blocks", json=ALL)).json()
    async with rig.client(tenant=rig.other) as stranger:
        assert await blocks(stranger) == []
        assert (await stranger.delete(f"/v1/dial-blocks/{block['id']}")).status_code == 404
    assert await rig.store.get(DialBlock, block["id"], rig.mine.environment_id) is not None


async def test_a_block_that_is_put_twice_under_one_key_is_one(rig: Rig, client: httpx.AsyncClient) -> None:
    answers = [await client.post("/v1/dial-blocks", json=ALL, headers={"Idempotency-Key": "b"}) for _ in range(2)]

    assert answers[0].json() == answers[1].json()
    assert len(await blocks(client)) == 1
