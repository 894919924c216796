"""A message on an answering machine, of a bot that cannot be asked for one, on a whole node over SIP and RTP."""

import asyncio
from pathlib import Path

import pytest
from tests.chaos.agents.world import BOT, World
from tests.speech import needs_espeak
from tests.wire.node import running_node

from onhook.calls.call import EventType
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Result
from onhook.provision import DEFAULT_ENVIRONMENT, create_key

pytestmark = [pytest.mark.wire, needs_espeak]

LIMIT_S = 45.0
MACHINE = "+12025550126"
GREETING_MS = 7_000
"""The machine speaks for so long, and beeps."""
MESSAGE = "This is the dental practice. Please call us back."


async def test_onhook_leaves_the_message_itself_after_the_beep(tmp_path: Path) -> None:
    world = World(shy=True)
    async with world.serving() as url, running_node(tmp_path, bots=(url.replace("http", "ws") + BOT,)) as site:
        node = site.node
        await create_key(node.store, node.clock, DEFAULT_ENVIRONMENT, "signs", kept_in=node.secrets)
        settings = {"url": url.replace("http", "ws") + BOT, "machine": "leave_message", "voicemail_message": MESSAGE}
        agent = {"name": "bot", "kind": "websocket", "settings": settings}
        made = await site.client.post("/v1/agents", json=agent)
        assert made.status_code == 201, made.text
        order = {"to_number": MACHINE, "agent_id": made.json()["id"], "from_number": site.sandbox.from_number}
        call_id = (await site.client.post("/v1/calls", json=order)).json()["call_id"]
        async with asyncio.timeout(LIMIT_S):
            await site.watcher.reached(call_id, "ended")

        logged = {event.type: event.data for event in await node.store.events(call_id)}
        turns = (await site.get(f"/v1/calls/{call_id}/transcript"))["turns"]
        call = await node.store.get_call(call_id, None)

    assert logged[EventType.ANSWERED_BY] == {"verdict": "machine"}
    assert EventType.VOICEMAIL_LEFT in logged
    ((said, began_ms),) = [(turn["text"], turn["start_ms"]) for turn in turns]
    assert said == MESSAGE
    assert began_ms > GREETING_MS
    assert [event for event, _ in world.received if event != "media"] == ["connected", "start", "stop"]
    assert call is not None
    assert call.cause == Cause("agent", Reason.VOICEMAIL)
    assert call.proof is not None
    assert call.proof.result is Result.CONFIRMED
