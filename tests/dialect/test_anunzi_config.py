"""Anunzi/Retell: agents, their webhooks, phone numbers, and what is not provided."""

from typing import Any

import httpx
import msgspec
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.test_anunzi_calls import UNAUTHORIZED, UNKNOWN, create

from onhook.api.anunzi.not_provided import NOT_PROVIDED
from onhook.calls.call import EventType
from onhook.store.outbox import WebhookEndpoint
from onhook.store.store import Agent, TrunkRecord

pytestmark = pytest.mark.dialect

URL = "https://hooks.example.com/retell"
AGENT: dict[str, Any] = {
    "response_engine": {"type": "retell-llm", "llm_id": "llm_234sdertfsdsfsdf", "version": 0},
    "voice_id": "11labs-Adrian",
    "agent_name": "Jarvis",
    "language": "en-US",
    "max_call_duration_ms": 600_000,
    "ring_duration_ms": 20_000,
}
TRUNK: dict[str, Any] = {
    "phone_number": "+12025550177",
    "termination_uri": "someuri.pstn.example.com",
    "sip_trunk_auth_username": "user",
    "sip_trunk_auth_password": "s3cret",
}


async def created(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/create-agent", json=AGENT | changes)
    assert answer.status_code == 201, answer.text
    agent: dict[str, Any] = answer.json()
    return agent


async def imported(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/import-phone-number", json=TRUNK | changes)
    assert answer.status_code == 201, answer.text
    number: dict[str, Any] = answer.json()
    return number


async def endpoints(rig: Rig) -> list[WebhookEndpoint]:
    return await rig.store.find(WebhookEndpoint, rig.mine.environment_id)


# --- agents ------------------------------------------------------------------------------------------


async def test_an_agent_comes_back_as_it_was_given(client: httpx.AsyncClient) -> None:
    agent = await created(client)

    assert {name: agent[name] for name in AGENT} == AGENT
    assert (agent["version"], agent["is_published"]) == (0, True)
    assert (await client.get(f"/get-agent/{agent['agent_id']}")).json() == agent


async def test_an_agent_decides_how_long_its_calls_ring_and_last(rig: Rig, client: httpx.AsyncClient) -> None:
    agent = await created(client)
    call = await create(rig, client, "+12025550101", override_agent_id=agent["agent_id"])
    stored = await rig.store.get_call(call["call_id"], None)

    assert (call["agent_id"], call["agent_name"]) == (agent["agent_id"], "Jarvis")
    assert stored is not None
    assert (stored.max_duration_ms, stored.ring_timeout_ms) == (600_000, 20_000)


async def test_an_update_changes_what_is_given_and_counts_the_version(rig: Rig, client: httpx.AsyncClient) -> None:
    agent = await created(client)
    path = f"/update-agent/{agent['agent_id']}"
    answer = await client.patch(path, json={"agent_name": "Friday", "interruption_sensitivity": 0.5})

    changed = {"agent_name": "Friday", "interruption_sensitivity": 0.5, "version": 1}
    later = {"last_modification_timestamp": answer.json()["last_modification_timestamp"]}
    assert answer.json() == agent | changed | later
    call = await create(rig, client, override_agent_id=agent["agent_id"], override_agent_version=1)
    assert (call["agent_name"], call["agent_version"]) == ("Friday", 1)


async def test_an_agent_of_another_dialect_is_shown_and_keeps_its_settings(rig: Rig, client: httpx.AsyncClient) -> None:
    path = f"/update-agent/{rig.mine.agent_id}"
    shown = (await client.patch(path, json={"max_call_duration_ms": 60_000})).json()

    assert shown["response_engine"] == {"type": "custom-llm", "llm_websocket_url": "onhook:greeting"}
    assert (shown["voice_id"], shown["max_call_duration_ms"]) == ("onhook-greeting", 60_000)


async def test_an_agent_that_a_number_uses_is_not_deleted(rig: Rig, client: httpx.AsyncClient) -> None:
    agent = await created(client, webhook_url=URL)
    assert (await client.delete(f"/delete-agent/{rig.mine.agent_id}")).status_code == 400
    assert (await client.delete(f"/delete-agent/{agent['agent_id']}")).status_code == 204

    assert (await client.get(f"/get-agent/{agent['agent_id']}")).status_code == 422
    assert await endpoints(rig) == []


async def test_agents_are_listed_in_pages(rig: Rig, client: httpx.AsyncClient) -> None:
    made = {(await created(client, agent_name=f"A{number}"))["agent_id"] for number in range(3)}
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = (await client.post("/v2/list-agents", params=query)).json()
        seen += [one["agent_id"] for one in page["items"]]
        if not page["has_more"]:
            break
        query["pagination_key"] = page["pagination_key"]
    upward = (await client.post("/v2/list-agents", params={"sort_order": "ascending"})).json()["items"]
    whole = (await client.get("/list-agents")).json()

    assert set(seen) == made | {rig.mine.agent_id}
    assert [one["agent_id"] for one in whole] == seen == [one["agent_id"] for one in upward][::-1]
    assert upward[0]["channel"] == "voice"


@pytest.mark.parametrize(
    "change",
    [
        {"response_engine": None},
        {"response_engine": {"type": "own"}},
        {"voice_id": ""},
        {"agent_name": ""},
        {"max_call_duration_ms": 59_999},
        {"max_call_duration_ms": 7_200_001},
        {"ring_duration_ms": 4_999},
        {"ring_duration_ms": 300_001},
        {"webhook_url": "ftp://x"},
        {"webhook_url": "http://127.0.0.1/"},
        {"webhook_events": ["call_vanished"]},
        {"webhook_timeout_ms": 0},
    ],
)
async def test_an_agent_that_makes_no_sense_is_refused(
    rig: Rig, client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    answer = await client.post("/create-agent", json=AGENT | change)

    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    assert [one.id for one in await rig.store.find(Agent, rig.mine.environment_id)] == [rig.mine.agent_id]
    assert await endpoints(rig) == []


async def test_a_webhook_url_is_an_endpoint_of_the_agent(rig: Rig, client: httpx.AsyncClient) -> None:
    agent = await created(client, webhook_url=URL)
    (endpoint,) = await endpoints(rig)
    assert (endpoint.url, endpoint.agent_id, endpoint.timeout_s, endpoint.max_retries) == (
        URL,
        agent["agent_id"],
        10.0,
        3,
    )
    assert endpoint.wants == {
        EventType.ANSWERED: ("call_started",),
        EventType.ENDED: ("call_ended", "call_analyzed"),
    }

    path = f"/update-agent/{agent['agent_id']}"
    await client.patch(path, json={"webhook_events": ["call_ended"], "webhook_timeout_ms": 2500})
    (endpoint,) = await endpoints(rig)
    assert (endpoint.wants, endpoint.timeout_s) == ({EventType.ENDED: ("call_ended",)}, 2.5)
    assert (await client.patch(path, json={"webhook_url": None})).json().get("webhook_url") is None
    assert await endpoints(rig) == []


async def test_a_change_of_an_agent_leaves_its_webhooks_secret_and_keeps_it_off_until_a_url_is_given(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    path = f"/update-agent/{(await created(client, webhook_url=URL))['agent_id']}"
    (endpoint,) = await endpoints(rig)
    assert (await client.post(f"/v1/webhooks/{endpoint.id}/rotate-secret")).status_code == 200
    (endpoint,) = await endpoints(rig)
    off = msgspec.structs.replace(endpoint, enabled=False, status="disabled")  # as a 410 does
    await rig.store.put(off)

    await client.patch(path, json={"voice_id": "another"})
    (renewed,) = await endpoints(rig)
    assert renewed == msgspec.structs.replace(off, updated_at=renewed.updated_at)
    await client.patch(path, json={"webhook_url": URL})
    (renewed,) = await endpoints(rig)
    assert renewed == msgspec.structs.replace(endpoint, updated_at=renewed.updated_at)


# --- phone numbers -----------------------------------------------------------------------------------


async def test_a_number_is_imported_with_its_trunk_and_can_be_called_from(rig: Rig, client: httpx.AsyncClient) -> None:
    agent = await created(client)
    number = await imported(client, outbound_agents=[{"agent_id": agent["agent_id"], "weight": 1}])
    assert number == {
        "phone_number": "+12025550177",
        "phone_number_pretty": "+1 202-555-0177",
        "phone_number_type": "custom",
        "inbound_agents": [],
        "outbound_agents": [{"agent_id": agent["agent_id"], "weight": 1.0}],
        "sip_outbound_trunk_config": {
            "termination_uri": "someuri.pstn.example.com",
            "transport": "TCP",
            "auth_username": "user",
        },
        "last_modification_timestamp": number["last_modification_timestamp"],
    }
    assert (await client.get("/get-phone-number/+12025550177")).json() == number

    stored = next(one for one in await rig.store.find(TrunkRecord, rig.mine.environment_id) if one.username == "user")
    assert stored.uri == "sip:someuri.pstn.example.com;transport=tcp"
    assert rig.secrets.decrypt(stored.password or "") == "s3cret"
    call = await client.post("/v2/create-phone-call", json={"from_number": "+12025550177", "to_number": "+12025550101"})
    assert (call.status_code, call.json()["agent_id"]) == (201, agent["agent_id"])


async def test_a_number_is_bound_to_another_agent_and_deleted(rig: Rig, client: httpx.AsyncClient) -> None:
    await imported(client)
    path = "/update-phone-number/+12025550177"
    bound = [{"agent_id": rig.mine.agent_id, "weight": 1}]

    assert (await client.patch(path, json={"outbound_agents": bound})).json()["outbound_agents"] == bound
    assert (await client.patch(path, json={})).json()["outbound_agents"] == bound
    assert (await client.patch(path, json={"outbound_agents": None})).json()["outbound_agents"] == []
    assert (await client.delete("/delete-phone-number/+12025550177")).status_code == 204
    assert (await client.get("/get-phone-number/+12025550177")).json() == UNKNOWN


async def test_numbers_are_listed_in_pages(rig: Rig, client: httpx.AsyncClient) -> None:
    await imported(client)
    first = (await client.get("/v2/list-phone-numbers", params={"limit": 1})).json()
    second = (
        await client.get("/v2/list-phone-numbers", params={"limit": 1, "pagination_key": first["pagination_key"]})
    ).json()
    whole = (await client.get("/list-phone-numbers")).json()

    assert (first["has_more"], second["has_more"]) == (True, False)
    assert first["items"] + second["items"] == whole
    assert [one["phone_number"] for one in whole] == ["+12025550177", rig.mine.number]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"pagination_key": "x"}, {"sort_order": "up"}])
async def test_a_page_that_makes_no_sense_is_refused(client: httpx.AsyncClient, query: dict[str, Any]) -> None:
    for method, path in (("POST", "/v2/list-agents"), ("GET", "/v2/list-phone-numbers")):
        answer = await client.request(method, path, params=query)
        assert (answer.status_code, answer.json()["status"]) == (400, "error")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"phone_number": "12"}, 400),
        ({"phone_number": "+1"}, 400),
        ({"phone_number": "+12025550190"}, 400),
        ({"termination_uri": "a b"}, 400),
        ({"termination_uri": "x;transport=ws"}, 400),
        ({"transport": "TLS"}, 400),
        ({"sip_trunk_auth_password": "a\r\nb"}, 400),
        ({"inbound_agents": [{"agent_id": "agent_mine", "weight": 1}] * 2}, 400),
        ({"inbound_agents": [{"agent_id": "agent_other", "weight": 1}]}, 422),
        ({"inbound_webhook_url": "https://hooks.example.com"}, 400),
        ({"outbound_agents": [{"agent_id": "agent_mine", "weight": 0.5}]}, 400),
        ({"outbound_agents": [{"agent_id": "agent_mine", "weight": 1}] * 2}, 400),
        ({"outbound_agents": [{"agent_id": "agent_other", "weight": 1}]}, 422),
    ],
)
async def test_a_number_that_makes_no_sense_is_refused(
    rig: Rig, client: httpx.AsyncClient, change: dict[str, Any], status: int
) -> None:
    answer = await client.post("/import-phone-number", json=TRUNK | change)

    assert (answer.status_code, answer.json()["status"]) == (status, "error")
    assert [one.id for one in await rig.store.find(TrunkRecord, rig.mine.environment_id)] == [rig.mine.trunk_id]


# --- what belongs to others, and what is not there ---------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/get-agent/{agent}"),
        ("PATCH", "/update-agent/{agent}"),
        ("DELETE", "/delete-agent/{agent}"),
        ("GET", "/get-phone-number/{number}"),
        ("PATCH", "/update-phone-number/{number}"),
        ("DELETE", "/delete-phone-number/{number}"),
    ],
)
async def test_what_another_environment_has_is_unknown(
    rig: Rig, client: httpx.AsyncClient, method: str, path: str
) -> None:
    for agent, number in ((rig.other.agent_id, rig.other.number), ("nobody", "+12025550000")):
        url = path.format(agent=agent, number=number)
        answer = await client.request(method, url, json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()) == (422, UNKNOWN)
    for lists in ("/list-agents", "/list-phone-numbers"):
        assert rig.other.agent_id not in (await client.get(lists)).text
        assert rig.other.number not in (await client.get(lists)).text


@pytest.mark.parametrize(("method", "path", "what"), NOT_PROVIDED)
async def test_what_is_not_provided_says_so(client: httpx.AsyncClient, method: str, path: str, what: str) -> None:
    url = path.partition("{")[0] + ("call_1" if "{" in path else "")
    answer = await client.request(method, url, content=b"{", headers={"Content-Type": "application/json"})
    stranger = await client.request(method, url, headers={"Authorization": "Bearer wrong"})

    assert answer.status_code == 400
    assert answer.json() == {"status": "error", "message": f"{what} not provided by this server."}
    assert (stranger.status_code, stranger.json()) == (401, UNAUTHORIZED)


async def test_paths_at_the_root_speak_the_dialect_too(client: httpx.AsyncClient) -> None:
    for method, path, status in (("GET", "/create-agent", 405), ("GET", "/get-agent/a/b", 404)):
        answer = await client.request(method, path)
        assert (answer.status_code, set(answer.json())) == (status, {"status", "message"})
