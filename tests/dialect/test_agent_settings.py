"""What the three APIs take as an agent, and what is refused: when it is made, or before it is dialled."""

from typing import Any

import httpx
import msgspec
import pytest
from tests.dialect.conftest import Rig

from onhook.agents.definition import AgentDefinition
from onhook.agents.reading import definition_of
from onhook.store.store import Agent

pytestmark = pytest.mark.dialect

TALKOVER_AGENT = {
    "label": "Ines",
    "name": "Ines",
    "language": "pt-BR",
    "interrupt_sensitivity": "high",
    "endpointing_sensitivity": "auto",
    "ivr_navigation_mode": "off",
    "conversation_speed": 1.2,
    "initial_message_delay": 1,
    "ask_if_human_present_on_idle": True,
    "idle_time_seconds": 9,
    "llm_temperature": 0.3,
    "enable_recording": True,
    "direction": "outbound",
    "who_speaks_first": "user",
    "initial_message": "Olá {{name}}",
}
RETELL_AGENT: dict[str, Any] = {"response_engine": {"type": "retell-llm", "llm_id": "x"}, "voice_id": "v"}


async def stored(rig: Rig, agent_id: str) -> Agent:
    agent = await rig.store.get(Agent, agent_id, rig.mine.environment_id)
    assert agent is not None
    return agent


async def definition(rig: Rig, agent_id: str) -> AgentDefinition:
    return definition_of(await stored(rig, agent_id), None)


async def test_a_talkover_agent_is_of_the_servers_kind_and_says_what_it_was_given(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    agent_id = (await client.post("/api/v1/agents", json=TALKOVER_AGENT)).json()["data"]["id"]
    made = await definition(rig, agent_id)
    assert (made.kind, made.language, made.initial_message) == ("scripted", "pt-BR", "Olá {{name}}")
    assert (made.idle.after_ms, made.record, made.agent_speaks_first) == (9000, True, False)

    voice = {"voice_id": "ines", "conversation_speed": 1.5, "who_speaks_first": "agent"}
    assert (await client.put(f"/api/v1/agents/{agent_id}/voice", json=voice)).status_code == 200
    knowledge = {
        "description": "Be kind.",
        "initial_message": "Bom dia!",
        "interrupt_sensitivity": "low",
        "ask_if_human_present_on_idle": False,
        "llm_temperature": 1,
        "initial_message_delay": 0,
    }
    assert (await client.put(f"/api/v1/agents/{agent_id}/knowledge", json=knowledge)).status_code == 200
    made = await definition(rig, agent_id)
    assert (made.voice, made.speed, made.prompt, made.initial_message) == ("ines", 1.5, "Be kind.", "Bom dia!")
    assert (made.sensitivity, made.idle.ask, made.idle.after_ms) == ("low", False, 9000)


async def test_a_retell_agent_is_of_the_servers_kind_and_keeps_what_it_was_given(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    given = {"voice_speed": 1.5, "language": "es-419", "voicemail_option": {"action": {"type": "hangup"}}}
    created = (await client.post("/create-agent", json=RETELL_AGENT | given)).json()
    assert {name: created[name] for name in given} == given
    made = await definition(rig, created["agent_id"])
    assert (made.kind, made.speed, made.language, made.machine) == ("scripted", 1.5, "es-419", "hang_up")


@pytest.mark.parametrize(
    "change",
    [
        {"voice_speed": 3},
        {"voice_speed": "fast"},
        {"interruption_sensitivity": 1.5},
        {"begin_message_delay_ms": 6000},
        {"reminder_max_count": -1},
        {"end_call_after_silence_ms": 5},
        {"language": 5},
        {"voicemail_option": {}},
        {"data_storage_setting": "nothing"},
        {"script": {"states": 5}},
        {"options": "x"},
    ],
)
async def test_retell_refuses_settings_that_mean_nothing(
    rig: Rig, client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    answer = await client.post("/create-agent", json=RETELL_AGENT | change)
    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    agent_id = (await client.post("/create-agent", json=RETELL_AGENT)).json()["agent_id"]
    assert (await client.patch(f"/update-agent/{agent_id}", json=change)).status_code == 400
    assert (await stored(rig, agent_id)).version == 0


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"kind": "telepathy"}, "kind", None),
        ({"settings": {"prompts": ""}}, "settings.prompts", "There is no such setting."),
        ({"settings": {"idle": {"after": 1}}}, "settings.idle.after", "There is no such setting."),
        ({"settings": {"conversation_speed": 1}}, "settings.conversation_speed", "There is no such setting."),
        ({"settings": {"speed": 9}}, "settings.speed", "must be between 0.1 and 4"),
        ({"settings": {"record": "yes"}}, "settings.record", "Expected `bool`, got `str`"),
        ({"kind": "websocket"}, "settings.url", "a websocket agent needs the URL of its bot"),
        ({"kind": "websocket", "settings": {"url": "wss://x.example"}}, "settings.url", None),
    ],
)
async def test_our_own_api_names_the_field_that_is_wrong(
    rig: Rig, client: httpx.AsyncClient, change: dict[str, Any], field: str, message: str | None
) -> None:
    for method, path in (("POST", "/v1/agents"), ("PUT", f"/v1/agents/{rig.mine.agent_id}")):
        answer = await client.request(method, path, json={"name": "Ada"} | change)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
        (error,) = answer.json()["errors"]
        assert error["field"] == field
        assert message in (None, error["message"])
    assert (await stored(rig, rig.mine.agent_id)).version == 0


async def test_our_own_agent_is_of_the_kind_it_names_and_keeps_it(rig: Rig, client: httpx.AsyncClient) -> None:
    default = (await client.post("/v1/agents", json={"name": "Ada"})).json()
    assert default["kind"] == "scripted"
    settings = {"initial_message": "Hi {{name}}", "idle": {"after_ms": 5000}}
    echo = (await client.post("/v1/agents", json={"name": "Ada", "kind": "echo", "settings": settings})).json()
    assert (echo["kind"], echo["settings"]) == ("echo", settings)
    replaced = await client.put(f"/v1/agents/{echo['id']}", json={"name": "Ben"})
    assert (replaced.json()["kind"], replaced.json()["settings"]) == ("echo", {})
    assert (await stored(rig, rig.mine.agent_id)).kind == "greeting"


async def test_an_agent_of_another_api_can_be_sent_back_as_it_was_read(rig: Rig, client: httpx.AsyncClient) -> None:
    agent_id = (await client.post("/api/v1/agents", json=TALKOVER_AGENT)).json()["data"]["id"]
    held = (await client.get(f"/v1/agents/{agent_id}")).json()
    writable = {name: held[name] for name in ("name", "label", "direction", "published", "kind", "settings")}
    assert (await client.put(f"/v1/agents/{agent_id}", json=writable | {"name": "Zoë"})).status_code == 200
    assert (await definition(rig, agent_id)).language == "pt-BR"


async def test_an_agent_that_cannot_be_put_on_a_call_is_refused_before_it_is_dialled(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    broken = msgspec.structs.replace(await stored(rig, rig.mine.agent_id), kind="websocket")
    await rig.store.put(broken)
    why = "The agent cannot be put on a call: url: a websocket agent needs the URL of its bot"
    to = "+12025550100"

    native = await client.post("/v1/calls", json={"agent_id": broken.id, "to_number": to})
    assert (native.status_code, native.json()["code"], native.json()["detail"]) == (422, "agent_invalid", why)
    talkover = await client.post(f"/api/v1/agents/{broken.id}/call", json={"to": to})
    error = {"code": "AGENT_INACTIVE", "message": why, "details": {"agent_id": broken.id}}
    assert (talkover.status_code, talkover.json()) == (400, {"error": error})
    retell = await client.post("/v2/create-phone-call", json={"from_number": rig.mine.number, "to_number": to})
    assert (retell.status_code, retell.json()) == (400, {"status": "error", "message": why})
    assert rig.engine.legs == {}


async def test_a_native_call_brings_what_fills_the_agents_texts(rig: Rig, client: httpx.AsyncClient) -> None:
    order = {"agent_id": rig.mine.agent_id, "to_number": "+12025550100", "variables": {"name": "Bo"}}
    call = await rig.settled((await client.post("/v1/calls", json=order)).json()["call_id"])
    assert call.details.dynamic_variables == {"name": "Bo"}
    for wrong in ({"name": 5}, {f"v{number}": "" for number in range(101)}):
        assert (await client.post("/v1/calls", json=order | {"variables": wrong})).status_code == 422
