"""kill -9 at random instants of a busy server: what was acknowledged holds, and no call is left behind."""

import asyncio
import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.chaos.carrier import GatedCarrier, packets
from tests.chaos.server import Server, running_server

from onhook.lines.sandbox import NUMBERS

pytestmark = pytest.mark.chaos

CRASHES = 4
"""One less than the quick deaths after which the supervisor gives up."""
CLIENTS = 6
EXCUSED = {
    "our re-INVITE was answered 481",
    "our re-INVITE was answered 500",
    "BYE came again without Authorization",
}
"""What a caller that was dead may do: refuse what came meanwhile, late or out of order; meet a challenge anew."""
SETTLED_WITHIN_S = 45
"""An INVITE that may never have left is given up 64*T1 = 32 s after the crash."""


@dataclass
class Acknowledged:
    """What the server has confirmed to its clients."""

    made: list[str] = field(default_factory=list)
    causes: dict[str, object] = field(default_factory=dict)


async def test_what_was_acknowledged_survives_and_every_call_ends_once(tmp_path: Path, carrier: GatedCarrier) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"to draw the same chances again: CHAOS_SEED={seed}")
    chance = random.Random(seed)
    acknowledged, over = Acknowledged(), asyncio.Event()
    async with running_server(tmp_path, carrier.uri) as server, asyncio.timeout(120):
        clients = [
            asyncio.create_task(_client(server, random.Random(chance.random()), acknowledged, over))
            for _ in range(CLIENTS)
        ]
        silent = await server.call("06")
        for _ in range(CRASHES):
            await asyncio.sleep(chance.uniform(0.2, 1.5))  # A random instant is what is tested.
            os.kill(server.node_pid, signal.SIGKILL)
            await server.ready()
        over.set()
        await asyncio.gather(*clients)
        calls = await _all_ended(server)
    assert set(acknowledged.made) <= calls.keys()
    assert {call_id: calls[call_id]["cause"] for call_id in acknowledged.causes} == acknowledged.causes
    assert {call.call_id for call in carrier.calls} <= {call["sip_call_id"] for call in calls.values()}
    assert [call for call in carrier.calls if call.live_dialogs] == []
    assert [(call.dialled, call.faults) for call in carrier.calls if set(call.faults) - EXCUSED] == []
    assert (calls[silent]["cause"]["reason"], calls[silent]["proof_result"]) == ("restart", "unconfirmed")
    assert [call for call in carrier.calls if call.number.digits == "06" and packets(call, "in", "CANCEL")] == []
    for call in calls.values():
        _assert_agreed(call, carrier)


async def _client(server: Server, chance: random.Random, acknowledged: Acknowledged, over: asyncio.Event) -> None:
    """Make calls and stop most of them, through every crash, until it is `over`."""
    while not over.is_set():
        try:
            call_id = await server.call(chance.choice(NUMBERS).digits, ring_timeout_ms=4000, max_duration_ms=3000)
            acknowledged.made.append(call_id)
            await asyncio.sleep(chance.choice([0, 0.05, 0.3, 0.6]))
            if chance.random() < 0.7:
                acknowledged.causes[call_id] = (await server.stop(call_id))["cause"]
        except httpx.TransportError:
            await asyncio.sleep(0.05)  # The node is dead; its port answers again soon.


async def _all_ended(server: Server) -> dict[str, dict[str, Any]]:
    """Wait until no call is left, look at every log, and return all calls by id."""
    items = (await server.client.get("/v1/calls", params={"limit": 1000})).json()["items"]
    assert len(items) < 1000
    async with asyncio.timeout(SETTLED_WITHIN_S):
        return {item["call_id"]: await server.ended_once(item["call_id"], SETTLED_WITHIN_S) for item in items}


def _assert_agreed(call: dict[str, Any], carrier: GatedCarrier) -> None:
    """Hold what is confirmed against what the far end saw."""
    far_end = carrier.call(call["sip_call_id"])
    match call["proof_result"], call["proof_method"]:
        case "confirmed", "bye" if far_end:
            assert "BYE" in packets(far_end, "in", "BYE")
        case "confirmed", "cancel" if far_end:
            assert "CANCEL" in packets(far_end, "in", "CANCEL")
        case "confirmed", "far_end_bye" if far_end:
            assert "BYE" in packets(far_end, "out", "BYE")
        case "confirmed", "rejected" if far_end:
            assert any(what >= "300" for what in packets(far_end, "out", "INVITE"))
        case "confirmed", method:
            assert (method, far_end) == ("none", None)
        case "unconfirmed", _:
            assert far_end is None or far_end.number.digits in ("06", "10") or far_end.dialogs == []
