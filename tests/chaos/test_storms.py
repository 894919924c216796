"""Storms of stops: however many ask at once, each call ends once and everybody gets the answer of their API."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.chaos.carrier import GatedCarrier, packets
from tests.chaos.server import AGENT, Server, running_server

pytestmark = pytest.mark.chaos

APIS = ("talkover", "retell", "native")


@pytest.fixture
async def server(tmp_path: Path, carrier: GatedCarrier) -> AsyncIterator[Server]:
    async with running_server(tmp_path, carrier.uri) as server:
        yield server


@pytest.fixture
async def keys(server: Server) -> dict[str, dict[str, Any]]:
    """A key for each API, so that the cause tells whose stop has won."""
    return {api: (await server.client.post("/v1/keys", json={"name": api})).json() for api in APIS}


async def stop_by(server: Server, api: str, key: dict[str, Any], call_id: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key['token']}"}
    match api:
        case "talkover":
            path = f"/api/v1/agents/{AGENT}/end-call"
            return await server.client.post(path, json={"call_sid": call_id}, headers=headers)
        case "retell":
            return await server.client.post(f"/v2/stop-call/{call_id}", headers=headers)
        case _:
            return await server.client.post(f"/v1/calls/{call_id}/stop", headers=headers)


@pytest.mark.parametrize(("digits", "state"), [("00", "answered"), ("01", "ringing"), ("07", "dialing")])
async def test_300_stops_of_one_call_at_once(
    digits: str, state: str, server: Server, carrier: GatedCarrier, keys: dict[str, dict[str, Any]]
) -> None:
    call_id = await server.call(digits)
    await server.until_state(call_id, state)
    asked = [api for _ in range(100) for api in APIS]
    answers = await asyncio.gather(*(stop_by(server, api, keys[api], call_id) for api in asked))
    call = await server.ended_once(call_id)
    winner = next(api for api in APIS if call["cause"]["initiator"] == f"api_key:{keys[api]['id']}")
    seen = Counter((api, answer.status_code) for api, answer in zip(asked, answers, strict=True))
    won = int(winner == "talkover")
    assert seen == Counter(
        {("talkover", 200): won, ("talkover", 409): 100 - won, ("retell", 204): 100, ("native", 200): 100}
    )
    for api, answer in zip(asked, answers, strict=True):
        assert api != "native" or answer.json()["cause"] == call["cause"]
    assert (await server.events(call_id)).count("call.stop_requested") == 1
    assert carrier.live_dialogs() == 0
    assert carrier.faults() == []


async def test_of_100_talkover_stops_at_once_exactly_one_is_told_200(
    server: Server, carrier: GatedCarrier, keys: dict[str, dict[str, Any]]
) -> None:
    call_id = await server.call("00")
    await server.until_state(call_id, "answered")
    stops = (stop_by(server, "talkover", keys["talkover"], call_id) for _ in range(100))
    assert Counter(answer.status_code for answer in await asyncio.gather(*stops)) == {200: 1, 409: 99}
    await server.ended_once(call_id)
    (far_end,) = carrier.calls
    assert packets(far_end, "in", "BYE") == ["BYE"]
    assert carrier.faults() == []


async def test_100_clients_stop_200_calls_while_others_are_made(
    server: Server, carrier: GatedCarrier, keys: dict[str, dict[str, Any]]
) -> None:
    live = [await server.call("00" if place % 4 == 0 else "01") for place in range(200)]
    await carrier.until(lambda: carrier.live_dialogs() == 200, 10)
    making = asyncio.create_task(_make(server, 50))

    async def one_client(place: int) -> None:
        api = APIS[place % len(APIS)]
        for call_id in (live[2 * place], live[2 * place + 1], live[(2 * place + 2) % 200]):
            answer = await stop_by(server, api, keys[api], call_id)
            assert answer.status_code in (200, 204, 409), answer.text

    await asyncio.gather(*(one_client(place) for place in range(100)))
    made = await making
    for call_id in live:
        call = await server.ended_once(call_id)
        assert (call["cause"]["reason"], call["proof_result"]) == ("api_stop", "confirmed")
    assert carrier.live_dialogs() == len(made)
    for call_id in made:
        await server.stop(call_id)
        await server.ended_once(call_id)
    assert carrier.live_dialogs() == 0
    assert carrier.faults() == []


async def _make(server: Server, count: int) -> list[str]:
    """Make calls one after the other, and wait until each rings."""
    made = [await server.call("01") for _ in range(count)]
    for call_id in made:
        await server.until_state(call_id, "ringing")
    return made
