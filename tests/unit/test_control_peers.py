"""Who may call us, and whose numbers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from onhook.calls.call import Dialect
from onhook.control import peers as peers_module
from onhook.control.peers import Peers, resolve
from onhook.control.routing import Route
from onhook.lines.engine import Incoming, Peer
from onhook.store.secrets import SecretError
from onhook.store.store import Agent, Environment, Number, StoreError, TrunkRecord
from onhook.testing.clock import ManualClock
from onhook.testing.store import MemoryStore
from tests.unit.inbound_bench import CALLER, OURS, InboundBench

pytestmark = pytest.mark.unit


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[InboundBench]:
    yield await InboundBench().open()


async def test_a_proven_account_says_whose_number_is_called(bench: InboundBench) -> None:
    now = bench.clock.now_ms()
    for environment, name in (("a", "t1"), ("b", "t2")):
        await _trunk(bench, name, environment, inbound_username=f"user_{environment}", inbound_password="secret")
    await bench.store.put(Agent("agent_b", "b", Dialect.NATIVE, "Bo", "Bo", now, now, published=True))
    await bench.store.put(Number("n2", "b", OURS, "t2", now, None, "agent_b"))
    peer = bench.peers.find("192.0.2.9")
    assert peer is not None
    assert peer.accounts == {"user_a": "secret", "user_b": "secret"}
    for account, agent_id in (("user_a", "agent1"), ("user_b", "agent_b")):
        incoming = Incoming("call_x", now, "x@far", CALLER, OURS, ("192.0.2.9", 5060), account=account)
        route = await bench.router.route(incoming)
        assert isinstance(route, Route)
        assert route.call.agent_id == agent_id


async def test_strangers_are_no_peers_and_nobody_is_before_the_trunks_are_read() -> None:
    bench = InboundBench(MemoryStore())
    assert bench.peers.find("192.0.2.9") is None
    await bench.open()
    assert bench.peers.find("192.0.2.10") is None
    assert bench.peers.find("::ffff:192.0.2.9") is not None


async def test_a_trunks_name_is_looked_up_again_and_stays_where_it_was_when_that_fails(bench: InboundBench) -> None:
    bench.hosts["sip.example.net"] = ["192.0.2.20", "2001:db8::20"]
    await _trunk(bench, "t1", "a", uri="sip:sip.example.net;transport=tcp")
    assert bench.peers.find("192.0.2.20") is not None
    assert bench.peers.find("2001:db8::20") is not None
    assert bench.peers.find("192.0.2.9") is None
    bench.hosts["sip.example.net"] = ["192.0.2.30"]
    await bench.peers.refresh()
    assert bench.peers.find("192.0.2.30") is None
    bench.clock.advance(60)
    await bench.peers.refresh()
    assert bench.peers.find("192.0.2.30") is not None
    del bench.hosts["sip.example.net"]
    bench.clock.advance(60)
    await bench.peers.refresh()
    assert bench.peers.find("192.0.2.30") is not None


async def test_what_one_trunk_asks_for_all_calls_from_its_address_must_bring(bench: InboundBench) -> None:
    await _trunk(bench, "t2", "a", inbound_username="ann", inbound_password="secret")
    assert bench.peers.find("192.0.2.9") == Peer({"ann": "secret"})
    assert await bench.peers.environments("192.0.2.9", "ann") == ["a"]
    assert bench.peers.trunk_id("192.0.2.9", "ann", "a") == "t2"
    assert bench.peers.trunk_id("192.0.2.9", "ann", "b") is None


async def test_a_user_name_at_an_address_is_of_the_trunk_that_had_it_first(bench: InboundBench) -> None:
    await _trunk(bench, "t1", "a", inbound_username="ann", inbound_password="secret")
    bench.clock.advance(1)
    await _trunk(bench, "t2", "b", inbound_username="ann", inbound_password="guess")
    assert bench.peers.find("192.0.2.9") == Peer({"ann": "secret"})
    assert await bench.peers.environments("192.0.2.9", "ann") == ["a"]
    assert bench.peers.trunk_id("192.0.2.9", "ann", "b") is None


async def test_a_trunk_whose_password_cannot_be_read_is_not_open_to_everybody() -> None:
    def locked(secret: str) -> str:
        raise SecretError("no key")

    store, clock = MemoryStore(), ManualClock()
    peers = Peers(store, clock, locked, resolve)
    record = TrunkRecord("t1", "a", "trunk", "sip:192.0.2.9", 1, inbound_username="ann", inbound_password="sealed")
    await store.put(record)
    await peers.refresh()
    assert peers.find("192.0.2.9") is None


async def test_a_network_that_is_allowed_may_call_the_numbers_of_all_environments() -> None:
    store, clock = MemoryStore(), ManualClock()
    peers = Peers(store, clock, lambda secret: secret, resolve, ("198.51.100.0/24", "2001:db8::/32"))
    await store.put(Environment("younger", "younger", 2))
    await store.put(Environment("older", "older", 1))
    assert peers.find("198.51.100.7") == peers.find("2001:db8::7") == Peer()
    assert peers.find("198.51.101.7") is None
    assert await peers.environments("198.51.100.7", None) == ["older", "younger"]


async def test_trunks_are_read_again_also_after_the_store_was_away(
    bench: InboundBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "REFRESH_S", 0.001)
    read, reads, enough = bench.store.find, 0, asyncio.Event()

    async def away_at_first(kind: type[TrunkRecord], environment_id: str | None) -> list[TrunkRecord]:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise StoreError("away")
        found = await read(kind, environment_id)
        if reads == 3:
            enough.set()
        return found

    monkeypatch.setattr(bench.store, "find", away_at_first)
    await bench.store.put(TrunkRecord("t1", "a", "trunk", "sip:192.0.2.77:5060", 1))
    watching = asyncio.create_task(bench.peers.run())
    async with asyncio.timeout(5):
        await enough.wait()
    watching.cancel()
    assert bench.peers.find("192.0.2.77") is not None


async def test_hosts_are_looked_up_as_the_machine_does() -> None:
    assert "127.0.0.1" in await resolve("127.0.0.1")


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("sip:192.0.2.9", "192.0.2.9"),
        ("sip:192.0.2.9:5060;transport=tcp", "192.0.2.9"),
        ("sip:[2001:db8::1]:5060", "2001:db8::1"),
    ],
)
async def test_the_host_of_a_trunk_is_found_in_its_uri(bench: InboundBench, uri: str, host: str) -> None:
    await _trunk(bench, "t1", "a", uri=uri)
    assert bench.peers.find(host) is not None


async def _trunk(bench: InboundBench, trunk_id: str, environment_id: str, **fields: Any) -> None:
    record = {"uri": "sip:192.0.2.9:5060;transport=udp"} | fields
    await bench.store.put(
        TrunkRecord(id=trunk_id, environment_id=environment_id, name="trunk", created_at=bench.clock.now_ms(), **record)
    )
    await bench.peers.refresh()
