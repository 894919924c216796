"""TalkOver's agents and phone numbers."""

from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.calls.call import Dialect
from onhook.store.store import Agent

pytestmark = pytest.mark.dialect

NEW_AGENT: dict[str, Any] = {
    "label": "Reception",
    "name": "Grace",
    "language": "en-US",
    "interrupt_sensitivity": "low",
    "endpointing_sensitivity": "auto",
    "ivr_navigation_mode": "off",
    "conversation_speed": 1.1,
    "initial_message_delay": 0,
    "ask_if_human_present_on_idle": True,
    "idle_time_seconds": 20,
    "llm_temperature": 0.5,
    "enable_recording": False,
    "direction": "outbound",
    "who_speaks_first": "agent",
    "description": "Answers the phone",
    "max_call_duration_seconds": 90,
}


async def test_an_agent_is_created_as_a_draft_and_published_to_make_calls(rig: Rig, client: httpx.AsyncClient) -> None:
    created = await client.post("/api/v1/agents", json=NEW_AGENT | {"phone_number_ids": [rig.mine.number_id]})
    assert created.status_code == 201
    assert created.json()["message"] == "Agent created successfully"
    agent = created.json()["data"]
    assert (agent["current_status"], agent["conversation_speed"], agent["voice"]) == ("draft", 1.1, None)
    assert [one["number"] for one in agent["phone_numbers"]] == [rig.mine.number]

    url = f"/api/v1/agents/{agent['id']}"
    assert (await client.post(f"{url}/call", json={"to": "+12025550100"})).status_code == 400
    published = await client.post(f"{url}/publish")
    assert published.json()["message"] == "Agent published successfully"
    assert set(published.json()["data"]) == {"id", "name", "current_status", "is_ready_to_publish", "updated_at"}
    call = await client.post(f"{url}/call", json={"to": "+12025550101"})
    assert call.status_code == 200
    assert (await rig.settled(call.json()["data"]["id"])).max_duration_ms == 90_000
    unpublished = await client.post(f"{url}/unpublish")
    assert unpublished.json()["data"]["current_status"] == "draft"


async def test_an_agent_is_shown_as_its_page_says(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/api/v1/agents/{rig.mine.agent_id}")

    assert answer.status_code == 200
    assert set(answer.json()["data"]) == {
        *("id", "name", "label", "description", "language", "voice", "initial_message", "interrupt_sensitivity"),
        *("conversation_speed", "initial_message_delay", "ask_if_human_present_on_idle", "direction"),
        *("who_speaks_first", "current_status", "is_sandbox", "is_ready_to_publish", "created_at", "updated_at"),
        *("trainings", "actions", "phone_numbers"),
    }


async def test_another_dialects_agent_is_shown_with_defaults_for_what_it_has_not(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    settings = {
        "language": ["en-US", "es-ES"],
        "voice_id": 7,
        "conversation_speed": "fast",
        "initial_message_delay": [],
    }
    native = Agent(
        "agent_native", rig.mine.environment_id, Dialect.NATIVE, "bo", "Bo", 1, 1,
        settings=settings | {"ask_if_human_present_on_idle": "yes", "who_speaks_first": None},
    )  # fmt: skip
    await rig.store.put(native)
    answer = await client.get(f"/api/v1/agents/{native.id}")

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert (data["language"], data["voice"], data["conversation_speed"]) == ("en-US", None, 1.0)
    assert (data["initial_message_delay"], data["ask_if_human_present_on_idle"]) == (0, False)
    assert data["who_speaks_first"] == "agent"


async def test_agents_are_listed_and_filtered(rig: Rig, client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/agents", json=NEW_AGENT)

    async def names(**params: str) -> list[str]:
        return [one["name"] for one in (await client.get("/api/v1/agents", params=params)).json()["data"]]

    assert await names() == ["Grace", "ada"]
    assert await names(status="draft") == ["Grace"]
    assert await names(search="RECEPT") == ["Grace"]
    assert await names(direction="inbound") == []
    assert await names(per_page="1", page="2") == ["ada"]
    meta = (await client.get("/api/v1/agents", params={"per_page": 1})).json()["meta"]
    assert meta == {"current_page": 1, "per_page": 1, "total": 2, "last_page": 2}


async def test_a_new_agent_is_checked_field_by_field(client: httpx.AsyncClient) -> None:
    wrong = {
        "label": "x" * 256,
        "language": "tlh",
        "conversation_speed": 4,
        "idle_time_seconds": 61,
        "llm_temperature": "hot",
        "enable_recording": "maybe",
        "phone_number_ids": "all",
    }
    answer = await client.post("/api/v1/agents", json={**NEW_AGENT, **wrong, "name": ""})

    assert answer.status_code == 422
    assert answer.json()["errors"] == {
        "label": ["The label may not be greater than 255 characters."],
        "name": ["The name field is required."],
        "language": ["The selected language is invalid."],
        "conversation_speed": ["The conversation speed must be between 0.1 and 3.0."],
        "idle_time_seconds": ["The idle time seconds must be between 1 and 60."],
        "llm_temperature": ["The llm temperature must be a number."],
        "enable_recording": ["The enable recording field must be true or false."],
        "phone_number_ids": ["The phone number ids must be an array."],
    }


async def test_a_new_agent_cannot_take_a_number_of_another_environment(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/agents", json=NEW_AGENT | {"phone_number_ids": [rig.other.number_id]})

    assert answer.status_code == 422
    assert answer.json()["errors"] == {"phone_number_ids.0": ["The selected phone number ids.0 is invalid."]}


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("POST", "/publish"), ("POST", "/unpublish")])
async def test_an_agent_of_another_environment_is_not_found(
    rig: Rig, client: httpx.AsyncClient, method: str, rest: str
) -> None:
    answer = await client.request(method, f"/api/v1/agents/{rig.other.agent_id}{rest}")

    assert (answer.status_code, answer.json()) == (404, {"success": False, "message": "Agent not found"})


async def test_agents_word_a_missing_token_their_own_way(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/agents", headers={"Authorization": "Basic abc"})

    assert (answer.status_code, answer.json()) == (401, {"success": False, "message": "Unauthenticated."})


async def test_phone_numbers_are_listed(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/phone-numbers")

    (number,) = answer.json()["data"]
    assert (number["id"], number["number"], number["country_code"]) == (rig.mine.number_id, rig.mine.number, "US")
    assert (await client.get("/api/v1/phone-numbers", params={"search": "999"})).json()["data"] == []
