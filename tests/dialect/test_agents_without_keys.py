"""Agents that could not speak for want of a key: made freely, and refused before anybody is rung."""

import httpx
import msgspec
import pytest
from tests.dialect.conftest import Rig

from onhook.agents.reading import BotUrls
from onhook.calls.call import Dialect, Direction
from onhook.store.store import Agent, ApiKey, Number

pytestmark = pytest.mark.dialect

TO = "+12025550100"
UNSIGNED = "this environment has no key that signs"
KEYLESS = [
    pytest.param("openai_realtime", {}, "OPENAI_API_KEY is not set", id="realtime"),
    pytest.param("chain", {}, "OPENAI_API_KEY is not set", id="chain"),
    pytest.param("chain", {"options": {"stt": "deepgram"}}, "DEEPGRAM_API_KEY is not set", id="ear"),
    pytest.param("chain", {"options": {"tts": "elevenlabs"}}, "ELEVENLABS_API_KEY is not set", id="voice"),
    pytest.param("websocket", {"url": "ws://127.0.0.1:9/bot"}, UNSIGNED, id="bot"),
]


@pytest.fixture(autouse=True)
def no_keys(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in ("OPENAI", "DEEPGRAM", "ELEVENLABS"):
        monkeypatch.delenv(f"{provider}_API_KEY", raising=False)
    rig.bot_urls = BotUrls(allow_private=True)


async def becomes(rig: Rig, kind: str, settings: dict[str, object]) -> Agent:
    """Make the tenant's agent one of another kind."""
    agent = await rig.store.get(Agent, rig.mine.agent_id, rig.mine.environment_id)
    assert agent is not None
    changed = msgspec.structs.replace(agent, kind=kind, settings=settings, dialect=Dialect.NATIVE)
    await rig.store.put(changed)
    return changed


@pytest.mark.parametrize(("kind", "settings", "why"), KEYLESS)
async def test_an_agent_without_its_key_is_refused_before_it_is_dialled_in_each_api(
    rig: Rig, client: httpx.AsyncClient, kind: str, settings: dict[str, object], why: str
) -> None:
    agent = await becomes(rig, kind, settings)

    native = await client.post("/v1/calls", json={"agent_id": agent.id, "to_number": TO})
    assert (native.status_code, native.json()["code"]) == (422, "agent_invalid")
    assert why in native.json()["detail"]
    talkover = await client.post(f"/api/v1/agents/{agent.id}/call", json={"to": TO})
    assert (talkover.status_code, talkover.json()["error"]["code"]) == (400, "AGENT_INACTIVE")
    assert why in talkover.json()["error"]["message"]
    retell = await client.post("/v2/create-phone-call", json={"from_number": rig.mine.number, "to_number": TO})
    assert retell.status_code == 400
    assert why in retell.json()["message"]
    assert rig.engine.legs == {}


@pytest.mark.parametrize(("kind", "settings", "why"), KEYLESS)
async def test_an_agent_can_be_made_before_its_key_is_there(
    rig: Rig, client: httpx.AsyncClient, kind: str, settings: dict[str, object], why: str
) -> None:
    made = await client.post("/v1/agents", json={"name": "Ada", "kind": kind, "settings": settings})
    assert made.status_code == 201, (made.text, why)


async def test_an_agent_whose_keys_are_there_is_dialled(
    rig: Rig, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await becomes(rig, "chain", {})
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert (await client.post("/v1/calls", json={"agent_id": agent.id, "to_number": TO})).status_code == 201
    await becomes(rig, "websocket", {"url": "ws://127.0.0.1:9/bot"})
    secret = rig.secrets.encrypt("key_signs")
    await rig.store.put(ApiKey("apikey_s", rig.mine.environment_id, "bot", "hash", "igns", 1, secret=secret))
    assert (await client.post("/v1/calls", json={"agent_id": agent.id, "to_number": TO})).status_code == 201


async def test_a_signing_key_that_cannot_be_read_is_as_good_as_none(rig: Rig, client: httpx.AsyncClient) -> None:
    agent = await becomes(rig, "websocket", {"url": "ws://127.0.0.1:9/bot"})
    await rig.store.put(ApiKey("apikey_s", rig.mine.environment_id, "bot", "hash", "igns", 1, secret="damaged"))
    refused = await client.post("/v1/calls", json={"agent_id": agent.id, "to_number": TO})
    assert (refused.status_code, refused.json()["code"]) == (422, "agent_invalid")
    assert "damaged" in refused.json()["detail"]


async def test_an_agent_without_its_key_takes_no_call_that_was_to_be_registered(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    agent = await becomes(rig, "chain", {})
    await rig.store.put(msgspec.structs.replace(agent, direction=Direction.INBOUND))
    refused = await client.post("/v2/register-phone-call", json={"agent_id": agent.id})
    assert refused.status_code == 400
    assert "OPENAI_API_KEY is not set" in refused.json()["message"]


@pytest.mark.parametrize(("kind", "settings", "why"), KEYLESS)
async def test_a_far_end_that_calls_an_agent_without_its_key_is_told_that_nobody_is_there(
    rig: Rig, kind: str, settings: dict[str, object], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.peers.refresh()
    agent = await becomes(rig, kind, settings)
    number = await rig.store.get(Number, rig.mine.number_id, rig.mine.environment_id)
    assert number is not None
    await rig.store.put(msgspec.structs.replace(number, inbound_agent_id=agent.id))
    rig.engine.call_in("+12025550177", rig.mine.number)
    await rig.inbound.decided()
    assert [status for _, status in rig.engine.refusals] == [480]
    assert why in caplog.text
