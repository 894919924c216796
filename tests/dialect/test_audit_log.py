"""Who did what: every change that a key makes, through any dialect, is in its environment's audit log."""

import base64
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.agents.twilio import account_sid, call_sid
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

API = Path(__file__).parents[2] / "src" / "onhook" / "api"
SECRETS = ("s3cr3t-password", "+12025550198")
HOOK = {"name": "CRM", "url": "https://hooks.example.com/onhook"}
TRUNK = {"name": "carrier", "uri": "sip:sip.example.net:5060;transport=udp", "password": "s3cr3t-password"}


async def told(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return the whole log."""
    answer = await client.get("/v1/audit")
    assert answer.status_code == 200
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def actions(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    return [(one["action"], one["target"]) for one in await told(client)]


async def sent(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Send a request that succeeds; return its answer's body."""
    answer = await client.request(method, path, json=body) if body is not None else await client.request(method, path)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found


# --- configuration


Act = Callable[[httpx.AsyncClient, Rig], Awaitable[list[tuple[str, str]]]]
"""Does something, and returns what the log is to say of it."""


async def native_agents(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    agent = (await sent(client, "POST", "/v1/agents", {"name": "Ada"}))["id"]
    await sent(client, "PUT", f"/v1/agents/{agent}", {"name": "Bea"})
    await sent(client, "DELETE", f"/v1/agents/{agent}")
    return [("agent.create", agent), ("agent.update", agent), ("agent.delete", agent)]


async def native_numbers(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    body = {"number": "+12025550198", "trunk_id": rig.mine.trunk_id}
    number = (await sent(client, "POST", "/v1/numbers", body))["id"]
    await sent(client, "PUT", f"/v1/numbers/{number}", body | {"agent_id": rig.mine.agent_id})
    await sent(client, "DELETE", f"/v1/numbers/{number}")
    return [("number.create", number), ("number.update", number), ("number.delete", number)]


async def native_trunks(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    trunk = (await sent(client, "POST", "/v1/trunks", TRUNK))["id"]
    await sent(client, "PUT", f"/v1/trunks/{trunk}", TRUNK | {"password": "s3cr3t-password"})
    await sent(client, "DELETE", f"/v1/trunks/{trunk}")
    return [("trunk.create", trunk), ("trunk.update", trunk), ("trunk.delete", trunk)]


async def native_keys(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    key = (await sent(client, "POST", "/v1/keys", {"name": "till", "signs_webhooks": True}))["id"]
    await sent(client, "DELETE", f"/v1/keys/{key}")
    await sent(client, "DELETE", f"/v1/keys/{key}")  # changes nothing any more
    return [("key.create", key), ("key.revoke", key)]


async def native_webhooks(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    hook = (await sent(client, "POST", "/v1/webhooks", HOOK))["id"]
    await sent(client, "PUT", f"/v1/webhooks/{hook}", HOOK)
    await sent(client, "POST", f"/v1/webhooks/{hook}/rotate-secret", {})
    await sent(client, "DELETE", f"/v1/webhooks/{hook}")
    done = ("create", "update", "update", "delete")
    return [(f"webhook.{verb}", hook) for verb in done]


async def native_dial_blocks(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    block = (await sent(client, "POST", "/v1/dial-blocks", {"selector": {"all": True}}))["id"]
    await sent(client, "DELETE", f"/v1/dial-blocks/{block}")
    return [("dial_block.create", block), ("dial_block.release", block)]


async def talkover_agents(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    agent, number = rig.mine.agent_id, rig.mine.number_id
    await sent(client, "POST", f"/api/v1/agents/{agent}/unpublish")
    await sent(client, "PUT", f"/api/v1/agents/{agent}/calling", {"direction": "outbound", "phone_number_ids": []})
    await sent(client, "DELETE", f"/api/v1/agents/{agent}")
    return [("agent.update", agent), ("number.update", number), ("agent.update", agent), ("agent.delete", agent)]


async def talkover_webhooks(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    path = f"/api/v1/agents/{rig.mine.agent_id}/webhooks"
    body = {"name": "CRM", "webhook_url": HOOK["url"], "events": ["event_phone_call_ended"]}
    hook = (await sent(client, "POST", path, body))["data"]["id"]
    await sent(client, "PATCH", f"{path}/{hook}/toggle")
    await sent(client, "DELETE", f"{path}/{hook}")
    return [("webhook.create", hook), ("webhook.update", hook), ("webhook.delete", hook)]


async def retell_agents(client: httpx.AsyncClient, rig: Rig) -> list[tuple[str, str]]:
    body = {"response_engine": {"type": "custom-llm", "llm_websocket_url": "wss://x.example"}, "voice_id": "v"}
    made = await sent(client, "POST", "/create-agent", body | {"webhook_url": HOOK["url"]})
    agent, hook = made["agent_id"], f"hook_{made['agent_id']}"
    await sent(client, "PATCH", f"/update-agent/{agent}", {"webhook_url": None})
    await sent(client, "DELETE", f"/delete-agent/{agent}")
    return [
        *(("agent.create", agent), ("webhook.create", hook)),
        *(("agent.update", agent), ("webhook.delete", hook)),
        ("agent.delete", agent),
    ]


CHANGES: list[Act] = [
    *(native_agents, native_numbers, native_trunks, native_keys, native_webhooks, native_dial_blocks),
    *(talkover_agents, talkover_webhooks, retell_agents),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_change_of_configuration_is_told_by_action_and_id_and_holds_no_secret(rig: Rig, change: Act) -> None:
    async with rig.client() as client:
        expected = await change(client, rig)
        entries = await told(client)
    assert [(one["action"], one["target"]) for one in entries] == expected
    assert {one["actor"] for one in entries} == {f"api_key:{rig.mine.key_id}"}
    assert all(one["request_id"].startswith("req_") for one in entries)
    assert not any(secret in str(entries) for secret in (*SECRETS, HOOK["url"]))


async def test_reading_leaves_no_entry_and_neither_does_what_was_refused(memory_rig: Rig) -> None:
    async with memory_rig.client() as client:
        for path in ("/v1/calls", "/v1/agents", "/v1/keys", "/api/v1/agents", "/v2/list-phone-numbers"):
            await sent(client, "GET", path)
        assert (await client.post("/v1/agents", json={"name": ""})).status_code == 422
        assert (await client.delete("/v1/agents/none")).status_code == 404
        assert (await client.post("/v1/calls", json={"to_number": "911"})).status_code == 422
        assert await told(client) == []


def test_no_endpoint_changes_a_record_behind_the_audit_logs_back() -> None:
    sources = [path for path in API.rglob("*.py") if path.name != "services.py"]
    assert len(sources) > 20
    behind = re.compile(r"\.store\.(put|delete)\(")
    assert [path.name for path in sources if behind.search(path.read_text())] == [], "use Caller.put and Caller.delete"


# --- calls


async def test_a_bulk_stop_is_told_with_each_of_its_calls(rig: Rig) -> None:
    calls = [(await rig.call()).id for _ in range(2)]
    async with rig.client() as client:
        start = (await told(client))[-1]["seq"]
        body = {"selector": {"all": True}, "reason": "enough", "block_dials": True}
        answer = await client.post("/v1/stops", json=body, headers={"X-Request-Id": "bulk-1"})
        entries = (await client.get("/v1/audit", params={"after": start})).json()["items"]
    bulk = answer.json()
    assert sorted((one["action"], one["target"]) for one in entries) == sorted(
        [
            ("dial_block.create", bulk["dial_block_id"]),
            ("bulk_stop.create", bulk["id"]),
            *(("call.stop", call_id) for call_id in calls),
        ]
    )
    assert {(one["request_id"], one["reason"]) for one in entries} == {("bulk-1", "enough")}
    assert {one["data"]["bulk_id"] for one in entries if one["action"] == "call.stop"} == {bulk["id"]}


async def test_a_stop_that_was_scheduled_and_taken_back_is_told(rig: Rig) -> None:
    call = await rig.call()
    async with rig.client() as client:
        await sent(client, "PUT", f"/v1/calls/{call.id}/stop-at", {"after_ms": 60_000, "reason": "closing time"})
        await sent(client, "DELETE", f"/v1/calls/{call.id}/stop-at")
        done = await actions(client)
    assert done[1:] == [("call.stop_scheduled", call.id), ("call.stop_unscheduled", call.id)]


async def test_a_hang_up_by_twilios_verb_is_told_as_the_keys_stop(rig: Rig) -> None:
    call = await rig.call("+12025550101")  # rings
    account = account_sid(rig.mine.environment_id)
    token = base64.b64encode(f"{account}:{rig.mine.token}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "X-Request-Id": "bot-1"}
    async with rig.client() as client:
        path = f"/2010-04-01/Accounts/{account}/Calls/{call_sid(call.id)}.json"
        answer = await client.post(path, data={"Status": "completed"}, headers=headers)
        assert answer.status_code == 200, answer.text
        *_, entry = await told(client)
    assert (entry["action"], entry["target"], entry["request_id"]) == ("call.stop", call.id, "bot-1")
    assert entry["actor"] == f"api_key:{rig.mine.key_id}"


async def test_a_deleted_call_is_told_as_stopped_and_deleted(rig: Rig) -> None:
    call = await rig.call()
    async with rig.client() as client:
        await sent(client, "DELETE", f"/v2/delete-call/{call.id}")
        assert await actions(client) == [("call.create", call.id), ("call.stop", call.id), ("call.delete", call.id)]


class Shelf:
    """Recordings of all calls, in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, call_id: str) -> Path | None:
        path = self._directory / f"{call_id}.wav"
        return path if path.exists() else None

    def delete(self, call_id: str) -> bool:
        (self._directory / f"{call_id}.wav").unlink()
        return True


async def test_who_fetched_a_recording_and_who_deleted_it_is_told(memory_rig: Rig, tmp_path: Path) -> None:
    memory_rig.recordings = Shelf(tmp_path)
    call = await memory_rig.call()
    path = f"/v1/calls/{call.id}/recording"
    async with memory_rig.client() as client:
        await sent(client, "POST", f"/v1/calls/{call.id}/stop")
        await memory_rig.settled(call.id)
        assert (await client.get(path)).status_code == 404
        assert (await client.delete(path)).status_code == 404
        (tmp_path / f"{call.id}.wav").write_bytes(b"RIFF")
        assert (await client.get(path)).content == b"RIFF"
        assert (await client.delete(path)).status_code == 204
        done = await actions(client)
    assert done[2:] == [("recording.fetch", call.id), ("recording.delete", call.id)]


async def test_a_recording_is_not_given_out_nor_deleted_where_that_cannot_be_told(
    memory_rig: Rig, tmp_path: Path
) -> None:
    assert isinstance(memory_rig.store, MemoryStore)
    memory_rig.recordings = Shelf(tmp_path)
    call = await memory_rig.call()
    path = f"/v1/calls/{call.id}/recording"
    (tmp_path / f"{call.id}.wav").write_bytes(b"RIFF")
    async with memory_rig.client() as client:
        await sent(client, "POST", f"/v1/calls/{call.id}/stop")
        await memory_rig.settled(call.id)
        memory_rig.store.fail_writes = True
        assert (await client.get(path)).status_code == 503
        assert (await client.delete(path)).status_code == 503
        memory_rig.store.fail_writes = False
        assert (await client.get(path)).content == b"RIFF"


# --- reading it


async def test_the_log_is_read_page_by_page_and_each_environment_sees_its_own(rig: Rig) -> None:
    async with rig.client() as client, rig.client(tenant=rig.other) as other:
        for number in range(5):
            await sent(client, "POST", "/v1/agents", {"name": f"agent {number}"})
            await sent(other, "POST", "/v1/agents", {"name": f"agent {number}"})
        whole = await told(client)
        pages: list[dict[str, Any]] = []
        after = 0
        while items := (page := await sent(client, "GET", f"/v1/audit?limit=2&after={after}"))["items"]:
            pages += items
            after = page["next"]
        assert pages == whole
        assert len(whole) == len(await told(other)) == 5
        assert after == whole[-1]["seq"] == (await sent(client, "GET", f"/v1/audit?after={after}"))["next"]
        assert not {one["target"] for one in whole} & {one["target"] for one in await told(other)}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "after=x", "until=1"])
async def test_a_page_that_cannot_be_is_refused(memory_rig: Rig, query: str) -> None:
    async with memory_rig.client() as client:
        assert (await client.get(f"/v1/audit?{query}")).status_code == 422
