"""A pipecat bot, its serializer and transport unmodified, on calls of a whole node over SIP and RTP."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.wire.node import NodeUnderTest, running_node

from onhook.agents.twilio import account_sid, call_sid
from onhook.api.app import create_app
from onhook.api.http_server import HttpServer
from onhook.provision import DEFAULT_ENVIRONMENT, create_key

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".peers" / "pipecat" / "bin" / "python"
SCRIPT = ROOT / "tests" / "wire" / "peers" / "pipecat_bot.py"
LIMIT_S = 20.0
GONE_S = 0.6
PRESSES_1, TALKS_OVER = "+12025550124", "+12025550125"


class Bot:
    """The bot's process, and what it says of itself."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    async def said(self, event: str) -> dict[str, Any]:
        """Wait until the bot tells of an event; what it tells before that is passed over."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            async for line in self.process.stdout:
                told: dict[str, Any] = json.loads(line)
                if told["event"] == event:
                    return told
        raise AssertionError(f"the bot died before it said {event}")


@asynccontextmanager
async def bot_with(environment: dict[str, str], first_words_s: float) -> AsyncIterator[Bot]:
    """Run a bot."""
    if not PYTHON.exists() and os.environ.get("CI"):
        pytest.fail("pipecat is missing: CI must run tests/install-peers")
    if not PYTHON.exists():
        pytest.skip("pipecat is not installed (ONHOOK_TEST_APT=1 tests/install-peers)")
    process = await asyncio.create_subprocess_exec(
        PYTHON,
        SCRIPT,
        str(first_words_s),
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        bot = Bot(process)
        bot.url = f"ws://127.0.0.1:{(await bot.said('ready'))['port']}/bot"
        yield bot
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


class Site:
    """A node with a bot's agent, and its HTTP interface on a port."""

    def __init__(self, node: NodeUnderTest, bot: Bot) -> None:
        self.node = node
        self.bot = bot
        self.agent_id = ""

    async def create_agent(self) -> None:
        agent = {"name": "bot", "kind": "websocket", "settings": {"url": self.bot.url, "parameters": {"room": "7"}}}
        made = await self.node.client.post("/v1/agents", json=agent)
        assert made.status_code == 201, made.text
        self.agent_id = made.json()["id"]

    async def call(self, to: str) -> str:
        order = {"to_number": to, "agent_id": self.agent_id, "from_number": self.node.sandbox.from_number}
        made = await self.node.client.post("/v1/calls", json=order)
        assert made.status_code == 201, made.text
        call_id: str = made.json()["call_id"]
        return call_id


@asynccontextmanager
async def site(directory: Path, first_words_s: float) -> AsyncIterator[Site]:
    """Run a node and a bot that know each other by a key that signs."""
    async with running_node(directory) as under_test:
        node = under_test.node
        _, token = await create_key(node.store, node.clock, DEFAULT_ENVIRONMENT, "bot", kept_in=node.secrets)
        async with HttpServer(create_app(node.services()), "127.0.0.1", 0) as server:
            environment = {
                "TWILIO_ACCOUNT_SID": account_sid(DEFAULT_ENVIRONMENT),
                "TWILIO_AUTH_TOKEN": token,
                "TWILIO_BASE_URL": f"http://127.0.0.1:{server.port}",
            }
            async with bot_with(environment, first_words_s) as bot:
                opened = Site(under_test, bot)
                await opened.create_agent()
                yield opened


async def test_the_bot_talks_is_sent_a_key_says_goodbye_and_hangs_up_by_rest(tmp_path: Path) -> None:
    async with site(tmp_path, first_words_s=1.0) as opened:
        call_id = await opened.call(PRESSES_1)  # once it has heard the bot's first words
        met = await opened.bot.said("connected")
        key = await opened.bot.said("key")
        await opened.bot.said("finished")
        await opened.node.all_ended()
        call = await opened.node.get(f"/v1/calls/{call_id}")

    assert (met["provider"], met["call"], met["body"]["room"]) == ("twilio", call_sid(call_id), "7")
    assert key["digit"] == "1"
    assert call["cause"]["reason"] == "agent_hangup"
    assert call["proof_result"] == "confirmed"
    # A second of first words, the caller's second of thought, the goodbye; a caller who heard nothing would wait 15 s.
    assert 2_000 <= call["duration_ms"] < 12_000


async def test_the_bot_that_is_talked_over_clears_the_line_and_is_gone_after_our_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, first_words_s=30.0) as opened:
        engine, cleared = opened.node.node.engine, asyncio.Event()
        flush = engine.flush_audio

        def seen(call_id: str) -> int:
            cleared.set()
            return flush(call_id)

        monkeypatch.setattr(engine, "flush_audio", seen)
        call_id = await opened.call(TALKS_OVER)
        await opened.bot.said("interrupted")
        await asyncio.wait_for(cleared.wait(), LIMIT_S)
        assert engine.queued_ms(call_id) == 0
        began = time.monotonic()
        stopped = await opened.node.client.post(f"/v1/calls/{call_id}/stop", json={"wait_ms": 1000})
        await opened.bot.said("disconnected")
        gone_after = time.monotonic() - began
        await opened.bot.said("finished")
        await opened.node.all_ended()

    assert stopped.json()["stop"]["result"] == "confirmed"
    assert gone_after < GONE_S
