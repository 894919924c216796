"""kill -9 under load, ten times: every event that was committed arrives at every receiver that lives, in order."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from tests.chaos.carrier import GatedCarrier
from tests.chaos.receiver import FLAKY, HANGING, HEALTHY, Receiver, running_receiver
from tests.chaos.server import Server, running_server

from onhook.api.native.payloads import wants
from onhook.calls.call import Dialect
from onhook.provision import DEFAULT_ENVIRONMENT
from onhook.store.outbox import WebhookEndpoint
from onhook.store.secrets import SecretBox, load_or_create_key
from onhook.store.sqlite import SqliteStore
from onhook.store.sqlite_migrate import connect_reader
from onhook.supervisor import free_port
from onhook.webhooks.retries import NATIVE_RETRIES

pytestmark = pytest.mark.chaos

KILLS = 10
CLIENTS = 4
NUMBERS = ("02", "03", "05", "00")
"""Busy, declined, unknown, and one that talks until its maximum duration."""
ARRIVED_WITHIN_S = 60
POLL_S = 0.1


async def test_no_committed_event_is_lost_and_first_attempts_keep_their_order(
    tmp_path: Path, carrier: GatedCarrier
) -> None:
    chance = random.Random(11)
    async with running_receiver() as receiver, asyncio.timeout(240):
        await _endpoints(tmp_path, receiver)
        environment = {
            "ONHOOK_WEBHOOK_ALLOW_PRIVATE": "true",
            "ONHOOK_SIP_BIND": f"127.0.0.1:{free_port('127.0.0.1', socket.SOCK_DGRAM)}",
        }
        under_way: Counter[str] = Counter()
        for _ in range(KILLS):
            async with running_server(tmp_path, carrier.uri, ["onhook.node"], environment=environment) as server:
                under_way += await _killed_under_load(server, chance)
        async with running_server(tmp_path, carrier.uri, ["onhook.node"], environment=environment):
            committed = _committed(tmp_path)
            await _all_through(tmp_path)
        _assert_delivered(receiver, committed, under_way)
        for name in (HEALTHY, FLAKY):
            assert receiver.accepted[name].keys() <= _committed(tmp_path), "what is told has happened"


async def _endpoints(directory: Path, receiver: Receiver) -> None:
    box, store = SecretBox(load_or_create_key(directory / "secret.key")), SqliteStore(directory / "onhook.db")
    await store.open()
    for name in (HEALTHY, FLAKY, HANGING):
        endpoint = WebhookEndpoint(
            id=name,
            environment_id=DEFAULT_ENVIRONMENT,
            dialect=Dialect.NATIVE,
            name=name,
            url=f"{receiver.url}/{name}",
            created_at=0,
            updated_at=0,
            wants=wants(),
            secret=box.encrypt(receiver.secret),
            max_retries=NATIVE_RETRIES,
        )
        await store.put(endpoint)
    await store.close()


async def _killed_under_load(server: Server, chance: random.Random) -> Counter[str]:
    """Make calls for a moment, then kill the node; return how many deliveries it had under way, by endpoint."""
    clients = [asyncio.create_task(_client(server, number)) for number in NUMBERS[:CLIENTS]]
    await asyncio.sleep(chance.uniform(0.3, 1.2))  # A random instant is what is tested.
    os.kill(server.node_pid, signal.SIGSTOP)
    under_way = _unfinished(server.directory, "state = 'inflight'")
    os.kill(server.node_pid, signal.SIGKILL)
    await server.process.wait()
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return under_way


async def _client(server: Server, number: str) -> None:
    with contextlib.suppress(httpx.HTTPError):
        while True:
            await server.call(number, max_duration_ms=1000)


async def _all_through(directory: Path) -> None:
    """Wait until the two receivers that live have what is theirs."""
    deadline = time.monotonic() + ARRIVED_WITHIN_S
    while True:
        left = _unfinished(directory, "state IN ('due', 'inflight')")
        if not left[HEALTHY] and not left[FLAKY]:
            return
        assert time.monotonic() < deadline, left
        await asyncio.sleep(POLL_S)


def _assert_delivered(receiver: Receiver, committed: set[tuple[str, int]], under_way: Mapping[str, int]) -> None:
    assert len(committed) > 100
    for name in (HEALTHY, FLAKY):
        accepted = receiver.accepted[name]
        assert committed - accepted.keys() == set(), f"lost on the way to {name}"
        assert [seqs for seqs in receiver.firsts(name).values() if seqs != sorted(seqs)] == []
        assert accepted.total() - len(accepted) <= under_way[name], "only what was under way comes twice"
    assert receiver.arrived[HANGING], "the receiver that hangs was tried"


def _committed(directory: Path) -> set[tuple[str, int]]:
    return {(str(call_id), int(seq)) for call_id, seq in _rows(directory, "SELECT call_id, seq FROM call_events")}


def _unfinished(directory: Path, condition: str) -> Counter[str]:
    rows = _rows(directory, f"SELECT endpoint_id, count(*) FROM deliveries WHERE {condition} GROUP BY endpoint_id")
    return Counter({str(endpoint_id): int(count) for endpoint_id, count in rows})


def _rows(directory: Path, sql: str) -> list[tuple[str, ...]]:
    db = connect_reader(directory / "onhook.db")
    try:
        return [tuple(row) for row in db.execute(sql)]
    finally:
        db.close()
