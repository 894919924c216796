"""What can be changed of TalkOver's agents, deleting them, and their phone numbers."""

from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig

from onhook.calls.call import Dialect, EventType
from onhook.calls.states import State
from onhook.store.outbox import WebhookEndpoint
from onhook.store.queries import CallFilter, Page
from onhook.store.store import Agent, Number

pytestmark = pytest.mark.dialect

KNOWLEDGE: dict[str, Any] = {
    "description": "Answers the phone",
    "interrupt_sensitivity": "high",
    "ask_if_human_present_on_idle": True,
    "llm_temperature": 0.2,
    "initial_message_delay": 3,
}
VOICE: dict[str, Any] = {"voice_id": "voice_1", "conversation_speed": 1.2, "who_speaks_first": "user"}
CALLING: dict[str, Any] = {"direction": "outbound"}
SETTINGS = {"knowledge": KNOWLEDGE, "voice": VOICE, "calling": CALLING}
NO_AGENT = {"success": False, "message": "Agent not found"}


def url(rig: Rig, rest: str = "", agent_id: str | None = None) -> str:
    return f"/api/v1/agents/{agent_id or rig.mine.agent_id}{rest}"


async def agent_of(rig: Rig) -> Agent:
    agent = await rig.store.get(Agent, rig.mine.agent_id, rig.mine.environment_id)
    assert agent is not None
    return agent


# --- knowledge, voice, calling -----------------------------------------------------------------------


async def test_new_knowledge_is_shown_and_makes_the_agent_a_draft(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.put(url(rig, "/knowledge"), json=KNOWLEDGE | {"initial_message": "Hello there"})

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert answer.json() == {"success": True, "message": "Agent knowledge updated successfully", "data": data}
    shown = KNOWLEDGE | {"initial_message": "Hello there", "current_status": "draft"}
    del shown["llm_temperature"]
    assert {name: data[name] for name in shown} == shown
    assert (await client.get(url(rig))).json()["data"] == data
    refused = await client.post(url(rig, "/call"), json={"to": "+12025550100"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "AGENT_INACTIVE")
    await client.post(url(rig, "/publish"))
    assert (await client.post(url(rig, "/call"), json={"to": "+12025550101"})).status_code == 200


async def test_a_new_voice_is_shown_and_makes_the_agent_a_draft(rig: Rig, client: httpx.AsyncClient) -> None:
    more = {"ambient_background": "cafe", "similarity": 0.7, "stability": 1.0, "language": "es-ES"}
    answer = await client.put(url(rig, "/voice"), json=VOICE | more)

    assert (answer.status_code, answer.json()["message"]) == (200, "Agent voice updated successfully")
    data = answer.json()["data"]
    assert data["voice"] == {
        "id": "voice_1",
        "name": "voice_1",
        "label": "voice_1",
        "stability": 1.0,
        "similarity_boost": 0.7,
        "ambient_background": "cafe",
        "template": {"id": "voice_1", "name": "voice_1"},
    }
    assert (data["language"], data["conversation_speed"], data["who_speaks_first"]) == ("es-ES", 1.2, "user")
    assert data["current_status"] == "draft"
    assert (await agent_of(rig)).settings["ambient_volume"] == 1.0


async def test_new_calling_settings_bind_and_free_numbers(rig: Rig, client: httpx.AsyncClient) -> None:
    env = rig.mine.environment_id
    await rig.store.put(Number("num_new", env, "+12025550192", rig.mine.trunk_id, 1_700_000_000_000))
    answer = await client.put(url(rig, "/calling"), json=CALLING | {"phone_number_ids": ["num_new"]})

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert answer.json() == {"success": True, "message": "Agent calling settings updated successfully", "data": data}
    assert set(data) == {"id", "name", "direction", "current_status", "phone_numbers", "updated_at"}
    assert (data["direction"], data["current_status"]) == ("outbound", "draft")
    assert [one["number"] for one in data["phone_numbers"]] == ["+12025550192"]
    bound = {one.id: one.agent_id for one in await rig.store.find(Number, env)}
    assert bound == {"num_new": rig.mine.agent_id, rig.mine.number_id: None}
    await client.post(url(rig, "/publish"))
    call = await rig.call("+12025550101")
    assert call.from_number == "+12025550192"


async def test_calling_settings_without_numbers_leave_them(rig: Rig, client: httpx.AsyncClient) -> None:
    data = (await client.put(url(rig, "/calling"), json=CALLING)).json()["data"]

    assert [one["id"] for one in data["phone_numbers"]] == [rig.mine.number_id]


async def test_an_inbound_agent_does_not_call_out(rig: Rig, client: httpx.AsyncClient) -> None:
    await client.put(url(rig, "/calling"), json={"direction": "inbound"})
    await client.post(url(rig, "/publish"))
    answer = await client.post(url(rig, "/call"), json={"to": "+12025550100"})

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "AGENT_INACTIVE"
    assert "inbound" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("page", "field", "value", "message"),
    [
        ("knowledge", "description", None, "The description field is required."),
        ("knowledge", "description", "  ", "The description field is required."),
        ("knowledge", "description", "Hey", "The description must be at least 5 characters."),
        ("knowledge", "initial_message", "Hey", "The initial message must be at least 5 characters."),
        ("knowledge", "initial_message", "x" * 256, "The initial message may not be greater than 255 characters."),
        ("knowledge", "interrupt_sensitivity", "none", "The selected interrupt sensitivity is invalid."),
        ("knowledge", "ask_if_human_present_on_idle", None, "The ask if human present on idle field is required."),
        ("knowledge", "llm_temperature", 2.1, "The llm temperature must be between 0 and 2."),
        ("knowledge", "initial_message_delay", 61, "The initial message delay must be between 0 and 60."),
        ("voice", "voice_id", "", "The voice id field is required."),
        ("voice", "conversation_speed", 1, "The conversation speed must be greater than 1."),
        ("voice", "conversation_speed", 2, "The conversation speed must be less than 2."),
        ("voice", "who_speaks_first", "nobody", "The selected who speaks first is invalid."),
        ("voice", "ambient_volume", 2.5, "The ambient volume must be between 0 and 2."),
        ("voice", "similarity", 0.4, "The similarity must be between 0.5 and 1.0."),
        ("voice", "stability", 1.1, "The stability must be between 0.5 and 1.0."),
        ("voice", "language", "tlh", "The selected language is invalid."),
        ("calling", "direction", "sideways", "The selected direction is invalid."),
        ("calling", "phone_number_ids", "all", "The phone number ids must be an array."),
    ],
)
async def test_settings_are_checked_field_by_field(
    memory_rig: Rig, page: str, field: str, value: object, message: str
) -> None:
    rig = memory_rig
    before = await agent_of(rig)
    async with rig.client() as client:
        answer = await client.put(url(rig, f"/{page}"), json=SETTINGS[page] | {field: value})

    assert answer.status_code == 422
    assert answer.json() == {
        "success": False,
        "message": "The given data was invalid.",
        "errors": {field: [message]},
    }
    assert await agent_of(rig) == before


async def test_numbers_of_another_environment_cannot_be_bound(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.put(url(rig, "/calling"), json=CALLING | {"phone_number_ids": [rig.other.number_id]})

    assert answer.status_code == 422
    assert answer.json()["errors"] == {"phone_number_ids.0": ["The selected phone number ids.0 is invalid."]}


# --- deletion ----------------------------------------------------------------------------------------


async def test_an_agent_is_deleted_with_its_calls_and_webhooks_and_frees_its_numbers(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    env = rig.mine.environment_id
    calls = [await rig.call("+12025550102") for _ in range(3)]
    await client.post(
        url(rig, "/webhooks"),
        json={"name": "a", "webhook_url": "https://example.com/", "events": ["event_phone_call_ended"]},
    )
    await client.post(url(rig, "/unpublish"))
    answer = await client.delete(url(rig))

    assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Agent deleted successfully"})
    assert (await client.get(url(rig))).status_code == 404
    assert (await client.get("/api/v1/calls")).json()["pagination"]["total"] == 0
    assert [await rig.store.get_call(call.id, env) for call in calls] == [None] * 3
    assert await rig.store.find(WebhookEndpoint, env) == []
    assert [one.agent_id for one in await rig.store.find(Number, env)] == [None]
    again = await client.delete(url(rig))
    assert (again.status_code, again.json()) == (404, NO_AGENT)


async def test_history_of_more_than_a_page_is_deleted_and_others_keep_theirs(memory_rig: Rig) -> None:
    rig = memory_rig
    for _ in range(101):
        await rig.call("+12025550102")
    theirs = await rig.call("+12025550102", tenant=rig.other)
    async with rig.client() as client:
        await client.post(url(rig, "/unpublish"))
        assert (await client.delete(url(rig))).status_code == 200

    assert [call.id for call in await rig.store.list_calls(CallFilter(), Page())] == [theirs.id]


@pytest.mark.parametrize("to", ["+12025550100", "+12025550101"])
async def test_an_agent_with_a_live_call_is_not_deleted(rig: Rig, client: httpx.AsyncClient, to: str) -> None:
    call = await rig.call(to)
    for _ in range(2):
        answer = await client.delete(url(rig))
        assert answer.status_code == 409
        assert answer.json() == {
            "success": False,
            "message": "Cannot delete agent while it has active calls.",
            "code": "AGENT_HAS_ACTIVE_CALLS",
        }
        await client.post(url(rig, "/unpublish"))
    await client.post(url(rig, "/end-call"), json={"call_sid": call.id})
    assert (await client.delete(url(rig))).status_code == 200


async def test_a_published_agent_is_not_deleted(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.delete(url(rig))

    assert (answer.status_code, answer.json()["code"]) == (409, "AGENT_IS_PUBLISHED")
    assert (await client.get(url(rig))).status_code == 200


async def test_a_call_that_is_still_ending_settles_after_its_agent_is_deleted(rig: Rig) -> None:
    call = await rig.call("+12025550100")
    rig.engine.settles = False
    async with rig.client(rig.app(stop_wait_ms=0)) as client:
        await client.post(url(rig, "/end-call"), json={"call_sid": call.id})
        await client.post(url(rig, "/unpublish"))
        assert (await client.delete(url(rig))).status_code == 200
    rig.engine.settle(call.id)

    assert (await rig.settled(call.id)).state is State.ENDED


async def test_other_agents_webhooks_stay(rig: Rig, client: httpx.AsyncClient) -> None:
    hook = WebhookEndpoint(
        "hook_1", rig.mine.environment_id, Dialect.NATIVE, "all", "https://example.com/", 1, 1,
        wants={EventType.ENDED: ("call.ended",)},
    )  # fmt: skip
    await rig.store.put(hook)
    await client.post(url(rig, "/unpublish"))
    await client.delete(url(rig))

    assert await rig.store.find(WebhookEndpoint, rig.mine.environment_id) == [hook]


# --- who may, and phone numbers ----------------------------------------------------------------------

CHANGES = [("DELETE", "", None), *(("PUT", f"/{page}", body) for page, body in SETTINGS.items())]


@pytest.mark.parametrize(("method", "rest", "body"), CHANGES)
async def test_an_agent_of_another_environment_is_not_found(
    memory_rig: Rig, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    rig = memory_rig
    async with rig.client() as client:
        answer = await client.request(method, url(rig, rest, rig.other.agent_id), json=body)

    assert (answer.status_code, answer.json()) == (404, NO_AGENT)


@pytest.mark.parametrize(("method", "rest", "body"), CHANGES)
async def test_agents_word_a_missing_token_their_own_way(
    memory_rig: Rig, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    async with memory_rig.client() as client:
        answer = await client.request(method, url(memory_rig, rest), json=body, headers={"Authorization": ""})

    assert (answer.status_code, answer.json()) == (401, {"success": False, "message": "Unauthenticated."})


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({}, 1),
        ({"type": "voice", "has_voice": "true", "has_whatsapp": "false"}, 1),
        ({"search": "550190"}, 1),
        ({"type": "sms"}, 0),
        ({"has_voice": "0"}, 0),
        ({"has_whatsapp": "1"}, 0),
        ({"search": "999"}, 0),
    ],
)
async def test_phone_numbers_are_filtered(memory_rig: Rig, params: dict[str, str], count: int) -> None:
    async with memory_rig.client() as client:
        answer = await client.get("/api/v1/phone-numbers", params=params)

    assert [one["id"] for one in answer.json()["data"]] == [memory_rig.mine.number_id] * count


async def test_a_phone_number_filter_is_checked(memory_rig: Rig) -> None:
    async with memory_rig.client() as client:
        answer = await client.get("/api/v1/phone-numbers", params={"type": "pigeon", "has_voice": "perhaps"})

    assert answer.status_code == 422
    assert answer.json()["errors"] == {
        "type": ["The selected type is invalid."],
        "has_voice": ["The has voice field must be true or false."],
    }
