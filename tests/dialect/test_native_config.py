"""Our own API: agents, numbers, trunks, keys, health."""

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.store.store import ApiKey, TrunkRecord

pytestmark = pytest.mark.dialect

TRUNK = {"name": "carrier", "uri": "sip:127.0.0.1:5070;transport=tcp", "username": "u", "password": "s3cret"}


async def test_agents_are_created_read_replaced_and_deleted(client: httpx.AsyncClient) -> None:
    created = await client.post("/v1/agents", json={"name": "Grace", "settings": {"voice": "alto"}})
    assert created.status_code == 201
    agent = created.json()
    assert (agent["label"], agent["published"], agent["version"]) == ("Grace", True, 0)

    url = f"/v1/agents/{agent['id']}"
    replaced = await client.put(url, json={"name": "Grace", "direction": "inbound", "published": False})
    assert (replaced.json()["version"], replaced.json()["direction"], replaced.json()["settings"]) == (1, "inbound", {})
    assert (await client.get(url)).json() == replaced.json()
    assert agent["id"] in {one["id"] for one in (await client.get("/v1/agents")).json()["items"]}
    assert (await client.delete(url)).status_code == 204
    assert (await client.get(url)).status_code == 404


async def test_a_trunk_never_shows_its_password(rig: Rig, client: httpx.AsyncClient) -> None:
    created = await client.post("/v1/trunks", json=TRUNK)
    assert created.status_code == 201
    trunk_id = created.json()["id"]
    listed = await client.get("/v1/trunks")
    without = {name: value for name, value in TRUNK.items() if name != "password"}
    replaced = await client.put(f"/v1/trunks/{trunk_id}", json=without | {"number_format": "plain"})

    for answer in (created, listed, replaced):
        assert "s3cret" not in answer.text
    assert (replaced.json()["has_password"], replaced.json()["number_format"]) == (True, "plain")
    stored = await rig.store.get(TrunkRecord, trunk_id, rig.mine.environment_id)
    assert stored is not None
    assert stored.password is not None
    assert "s3cret" not in stored.password
    assert rig.secrets.decrypt(stored.password) == "s3cret"
    assert (await client.delete(f"/v1/trunks/{trunk_id}")).status_code == 204


@pytest.mark.parametrize("uri", ["http://x", "sip:", "sip:a b", "sip:x;transport=ws", "sip:x\r\nVia: y", "sip:u@x"])
async def test_a_trunk_needs_a_sip_uri(client: httpx.AsyncClient, uri: str) -> None:
    answer = await client.post("/v1/trunks", json=TRUNK | {"uri": uri})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "uri")


@pytest.mark.parametrize("character", ["\0", "\r", "\n", "\t", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/agents", {}),
        ("/v1/trunks", TRUNK),
        ("/v1/keys", {}),
        ("/v1/webhooks", {"url": "https://hooks.example.com/"}),
    ],
)
async def test_a_name_has_no_control_characters(
    client: httpx.AsyncClient, path: str, body: dict[str, str], character: str
) -> None:
    refused = await client.post(path, json=body | {"name": f"a{character}b"})
    assert (refused.status_code, [one["field"] for one in refused.json()["errors"]]) == (422, ["name"])
    assert (await client.post(path, json=body | {"name": "Zoë & Ødegård 電話"})).status_code == 201


async def test_numbers_are_bound_to_an_agent_and_a_trunk(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {"number": "+1 (202) 555-0177", "trunk_id": rig.mine.trunk_id}
    created = await client.post("/v1/numbers", json=body)
    assert (created.status_code, created.json()["number"]) == (201, "+12025550177")

    url = f"/v1/numbers/{created.json()['id']}"
    bound = await client.put(url, json=body | {"agent_id": rig.mine.agent_id})
    assert bound.json()["agent_id"] == rig.mine.agent_id
    placed = await client.post("/v1/calls", json={"to_number": "+12025550101", "from_number": "+12025550177"})
    assert placed.status_code == 201
    assert (await client.delete(url)).status_code == 204


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"number": "hello"}, "number"),
        ({"number": "+12"}, "number"),
        ({"trunk_id": "trunk_other"}, "trunk_id"),
        ({"agent_id": "agent_other"}, "agent_id"),
    ],
)
async def test_a_number_is_checked(rig: Rig, client: httpx.AsyncClient, change: dict[str, str], field: str) -> None:
    body = {"number": "+12025550177", "trunk_id": rig.mine.trunk_id} | change
    answer = await client.post("/v1/numbers", json=body)

    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, [field])


async def test_a_number_that_is_taken_and_things_in_use_are_conflicts(rig: Rig, client: httpx.AsyncClient) -> None:
    taken = await client.post("/v1/numbers", json={"number": rig.mine.number, "trunk_id": rig.mine.trunk_id})
    trunk = await client.delete(f"/v1/trunks/{rig.mine.trunk_id}")
    agent = await client.delete(f"/v1/agents/{rig.mine.agent_id}")

    assert [one.status_code for one in (taken, trunk, agent)] == [409] * 3
    assert [one.json()["code"] for one in (taken, trunk, agent)] == ["number_taken", "trunk_in_use", "agent_in_use"]


@pytest.mark.parametrize("prefix", ["key_", "talq_"])
async def test_a_key_shows_its_token_once_works_everywhere_and_ends_when_revoked(
    rig: Rig, client: httpx.AsyncClient, prefix: str
) -> None:
    created = await client.post("/v1/keys", json={"name": "ci", "prefix": prefix})
    assert created.status_code == 201
    token = created.json()["token"]
    assert token.startswith(prefix)
    listed = await client.get("/v1/keys")
    assert token not in listed.text
    assert created.json()["id"] in {one["id"] for one in listed.json()["items"]}

    bearer = {"Authorization": f"Bearer {token}"}
    urls = ("/api/v1/calls", "/v2/get-call/x", "/v1/calls")
    assert [(await client.get(url, headers=bearer)).status_code for url in urls] == [200, 422, 200]
    assert (await client.delete(f"/v1/keys/{created.json()['id']}")).status_code == 204
    assert [(await client.get(url, headers=bearer)).status_code for url in urls] == [401] * 3
    assert (await client.delete(f"/v1/keys/{created.json()['id']}")).status_code == 204


async def test_only_a_signing_key_keeps_its_token_and_only_encrypted(rig: Rig, client: httpx.AsyncClient) -> None:
    plain = (await client.post("/v1/keys", json={"name": "plain"})).json()
    signing = (await client.post("/v1/keys", json={"name": "signing", "signs_webhooks": True})).json()
    records = [await rig.store.get(ApiKey, one["id"], rig.mine.environment_id) for one in (plain, signing)]

    secrets = [one.secret for one in records if one is not None]
    assert secrets[0] is None
    assert secrets[1] is not None
    assert rig.secrets.decrypt(secrets[1]) == signing["token"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/agents/agent_other"),
        ("PUT", "/v1/agents/agent_other"),
        ("DELETE", "/v1/agents/agent_other"),
        ("PUT", "/v1/numbers/num_other"),
        ("DELETE", "/v1/numbers/num_other"),
        ("PUT", "/v1/trunks/trunk_other"),
        ("DELETE", "/v1/trunks/trunk_other"),
        ("DELETE", "/v1/keys/apikey_other"),
    ],
)
async def test_another_environments_things_do_not_exist(
    rig: Rig, client: httpx.AsyncClient, method: str, path: str
) -> None:
    bodies = {
        "agents": {"name": "x"},
        "numbers": {"number": "+12025550177", "trunk_id": rig.mine.trunk_id},
        "trunks": TRUNK,
    }
    body = bodies.get(path.split("/")[2]) if method == "PUT" else None
    answer = await client.request(method, path, json=body)

    assert answer.status_code == 404
    async with rig.client(tenant=rig.other) as owner:
        assert len((await owner.get("/v1/agents")).json()["items"]) == 1
        assert (await owner.get("/v1/keys")).json()["items"][0]["revoked_at"] is None


async def test_lists_show_only_the_callers_environment(rig: Rig, client: httpx.AsyncClient) -> None:
    for kind, mine in (
        ("agents", "agent_mine"),
        ("numbers", "num_mine"),
        ("trunks", "trunk_mine"),
        ("keys", "apikey_mine"),
    ):
        assert [one["id"] for one in (await client.get(f"/v1/{kind}")).json()["items"]] == [mine]


async def test_readiness_names_what_is_wrong(rig: Rig, client: httpx.AsyncClient) -> None:
    no_token = {"Authorization": ""}
    assert (await client.get("/healthz", headers=no_token)).status_code == 200
    assert (await client.get("/readyz", headers=no_token)).json() == {"status": "ok", "components": rig.ready}
    rig.ready["sip"] = "port 5060 is taken"
    answer = await client.get("/readyz", headers=no_token)

    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "components": {"store": "ok", "sip": "port 5060 is taken"}}
