"""kill -9 and the audit log: what was answered is in it, and no crash looks like tampering."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.chaos.carrier import GatedCarrier
from tests.chaos.server import Server, running_server, server_environment, until

from onhook.audit.heads import Heads
from onhook.provision import DEFAULT_ENVIRONMENT

pytestmark = pytest.mark.chaos

CRASHES = 2
CLIENTS = 4


async def onhook(directory: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command beside the server; return its exit code and its document."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "onhook",
        "audit",
        *arguments,
        "--json",
        env=server_environment(directory, "sip:127.0.0.1:1"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    document: dict[str, Any] = json.loads(output)
    return process.returncode, document


def sealed(directory: Path) -> int:
    """Return how many entries have a seal."""
    with closing(sqlite3.connect(f"file:{directory / 'onhook.db'}?mode=ro", uri=True)) as db:
        (count,) = db.execute("SELECT coalesce(max(number), 0) FROM audit_seals").fetchone()
        return int(count)


def covered(directory: Path) -> int:
    """Return how many entries the newest checkpoint covers."""
    newest = Heads(directory / "audit").newest(DEFAULT_ENVIRONMENT)
    return newest.number if newest is not None else -1


async def make_agent(server: Server, name: str) -> None:
    """Create an agent by a request with an id."""
    answer = await server.client.post("/v1/agents", json={"name": name}, headers={"X-Request-Id": name})
    assert answer.status_code == 201, answer.text


async def test_a_node_killed_between_seal_and_checkpoint_leaves_an_intact_log(
    tmp_path: Path, carrier: GatedCarrier
) -> None:
    history = tmp_path / "audit" / f"{DEFAULT_ENVIRONMENT}.heads"
    async with running_server(tmp_path, carrier.uri) as server:
        await make_agent(server, "before")
        await until(lambda: covered(tmp_path) == sealed(tmp_path) > 0, 5)
        before = covered(tmp_path)
        aside = history.rename(tmp_path / "aside")
        history.mkdir()  # No checkpoint can be made.
        await make_agent(server, "meanwhile")
        await until(lambda: sealed(tmp_path) > before, 5)
        os.kill(server.node_pid, signal.SIGKILL)
        history.rmdir()
        aside.rename(history)
        code, document = await onhook(tmp_path, "verify")
        assert (code, document["reports"][0]["findings"]) == (0, [])
        await server.ready()
        await until(lambda: covered(tmp_path) == sealed(tmp_path), 5)
        assert (await onhook(tmp_path, "verify"))[0] == 0
    assert "the audit log is not sealed to its end" in server.log


async def test_no_crash_looks_like_tampering_and_what_was_answered_is_in_the_log(
    tmp_path: Path, carrier: GatedCarrier
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"to draw the same chances again: CHAOS_SEED={seed}")
    chance = random.Random(seed)
    answered: list[str] = []
    over = asyncio.Event()
    async with running_server(tmp_path, carrier.uri) as server, asyncio.timeout(60):
        clients = [asyncio.create_task(_client(server, f"client{number}", answered, over)) for number in range(CLIENTS)]
        for _ in range(CRASHES):
            await asyncio.sleep(chance.uniform(0.2, 1.5))  # A random instant is what is tested.
            os.kill(server.node_pid, signal.SIGKILL)
            code, document = await onhook(tmp_path, "verify")  # While the next node starts and writes.
            assert (code, document["reports"][0]["findings"]) == (0, [])
            await server.ready()
        over.set()
        await asyncio.gather(*clients)
        await until(lambda: covered(tmp_path) == sealed(tmp_path), 5)
    code, document = await onhook(tmp_path, "verify")
    (report,) = document["reports"]
    assert (code, report["findings"], report["waiting"], report["checkpoints_from"]) == (0, [], 0, 0)
    assert report["checkpoint"] == report["sealed"] >= len(answered) > 0
    _, listed = await onhook(tmp_path, "list", "--action", "agent.create", "--limit", "100000")
    entries = [entry["request_id"] for entry in listed["items"]]
    assert set(answered) <= set(entries)
    assert len(entries) == len(set(entries))


async def _client(server: Server, name: str, answered: list[str], over: asyncio.Event) -> None:
    """Create agents, through every crash, until it is `over`."""
    number = 0
    while not over.is_set():
        number += 1
        request_id = f"{name}-{number}"
        try:
            await make_agent(server, request_id)
            answered.append(request_id)
        except httpx.TransportError:
            await asyncio.sleep(0.05)  # The node is dead; its port answers again soon.
