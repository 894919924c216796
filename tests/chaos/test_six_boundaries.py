"""kill -9 at six boundaries of the end path: every stop that was recorded is carried out, and each call ends once."""

import asyncio
import contextlib
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.chaos.carrier import GatedCarrier, packets
from tests.chaos.dying_node import ENOUGH_FOR_A_SLICE, Boundary
from tests.chaos.receiver import HEALTHY, Receiver, running_receiver
from tests.chaos.server import Server, running_server, until

from onhook.api.native.payloads import wants
from onhook.calls.call import Dialect
from onhook.control.end import SLICE
from onhook.provision import DEFAULT_ENVIRONMENT
from onhook.store.outbox import WebhookEndpoint
from onhook.store.secrets import SecretBox, load_or_create_key
from onhook.store.sqlite import SqliteStore
from onhook.supervisor import free_port

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0
FREE_WITHIN_S = 2.0
"""From the moment when the next life is ready to the moment when nothing rings or talks at the far end."""
ENDED_WITHIN_S = 10.0
"""A 487 to a CANCEL of the life before is repeated every 4 s (timer G); nothing else proves that end.

Had that life taken the 487, and not come to write it down, the end would be reported as unconfirmed, after 64*T1."""
IN_BULK, AT_ONCE = 150, 10


class Lives:
    """The lives of one node: the one that dies at a boundary, and the next, on the same directory and ports."""

    def __init__(self, directory: Path, carrier: GatedCarrier, receiver: Receiver) -> None:
        self.directory = directory
        self.carrier = carrier
        self.receiver = receiver
        self._environment = {
            "ONHOOK_WEBHOOK_ALLOW_PRIVATE": "true",
            "ONHOOK_SIP_BIND": f"127.0.0.1:{free_port('127.0.0.1', socket.SOCK_DGRAM)}",
            "PYTHONPATH": str(ROOT),
        }

    @contextlib.asynccontextmanager
    async def dying_at(self, boundary: Boundary) -> AsyncIterator[Server]:
        """Run a node that dies at the boundary, and make sure that it has died of nothing else."""
        async with self._running("tests.chaos.dying_node", boundary) as one:
            yield one
            async with asyncio.timeout(LIMIT_S):
                assert await one.process.wait() == -signal.SIGKILL, one.log

    @contextlib.asynccontextmanager
    async def next(self) -> AsyncIterator[Server]:
        """Run the product's node; when it is ready nothing rings or talks any more, soon."""
        async with self._running("onhook.node") as one:
            await self.carrier.free(FREE_WITHIN_S)
            yield one

    def next_with_fast_timers(self) -> AbstractAsyncContextManager[Server]:
        """Run a node that gives up what is never answered after some seconds, and does not die."""
        return self._running("tests.chaos.dying_node", Boundary.NOWHERE)

    def _running(self, *command: str) -> AbstractAsyncContextManager[Server]:
        return running_server(self.directory, self.carrier.uri, command, environment=self._environment)

    def ends_told(self) -> Counter[str]:
        """Count the end events that webhooks have told, by call; one that was delivered twice counts once."""
        told = {(one.call_id, one.seq) for one in self.receiver.arrived[HEALTHY] if one.type == "call.ended"}
        return Counter(call_id for call_id, _ in told)

    async def assert_each_ended_once(self, server: Server, call_ids: list[str]) -> None:
        """Look at the records, at the webhooks and at the far end's own account."""
        for call_id in call_ids:
            call = await server.ended_once(call_id, ENDED_WITHIN_S)
            assert (call["proof_result"], call["outcome"] is None) == ("confirmed", False)
        await until(lambda: set(self.ends_told()) >= set(call_ids), LIMIT_S)
        assert self.ends_told() == Counter(call_ids)
        assert self.carrier.live_dialogs() == 0
        assert self.carrier.faults() == []


@pytest_asyncio.fixture
async def lives(tmp_path: Path, carrier: GatedCarrier) -> AsyncIterator[Lives]:
    async with running_receiver() as receiver:
        await _subscribe(tmp_path, receiver)
        yield Lives(tmp_path, carrier, receiver)


async def _subscribe(directory: Path, receiver: Receiver) -> None:
    """Have every event told to the receiver."""
    box, store = SecretBox(load_or_create_key(directory / "secret.key")), SqliteStore(directory / "onhook.db")
    await store.open()
    name, url, secret = HEALTHY, f"{receiver.url}/{HEALTHY}", box.encrypt(receiver.secret)
    native = Dialect.NATIVE
    await store.put(WebhookEndpoint(name, DEFAULT_ENVIRONMENT, native, name, url, 0, 0, wants=wants(), secret=secret))
    await store.close()


async def _post(server: Server, path: str, body: dict[str, Any]) -> None:
    """Ask for something that the node may die of before it answers."""
    with contextlib.suppress(httpx.TransportError):
        answer = await server.client.post(path, json=body | {"wait_ms": 0})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("boundary", "byes", "reason"),
    [
        (Boundary.BEFORE_STOP_COMMIT, 0, "restart"),
        (Boundary.BEFORE_WIRE, 0, "api_stop"),
        (Boundary.BEFORE_ANSWER, 1, "api_stop"),
        (Boundary.BEFORE_SETTLE_COMMIT, 1, "api_stop"),
        (Boundary.BEFORE_WEBHOOK, 1, "api_stop"),
    ],
    ids=str,
)
async def test_a_stop_cut_off_by_a_crash_is_completed_by_the_next_life(
    lives: Lives, boundary: Boundary, byes: int, reason: str
) -> None:
    async with lives.dying_at(boundary) as server:
        stopped, bystander = await server.call("00"), await server.call("01")
        await server.until_state(stopped, "answered")
        await server.until_state(bystander, "ringing")
        await _post(server, f"/v1/calls/{stopped}/stop", {"reason": "enough"})
    far_end = await lives.carrier.called("00")
    await lives.carrier.until(lambda: len(packets(far_end, "in", "BYE")) >= byes, LIMIT_S)
    assert len(packets(far_end, "in", "BYE")) == byes
    assert lives.ends_told() == Counter()
    async with lives.next() as server:
        await lives.assert_each_ended_once(server, [stopped, bystander])
        cause = (await server.get(stopped))["cause"]
        assert (cause["reason"], cause["text"]) == (reason, "enough" if reason == "api_stop" else None)
        assert cause["initiator"].startswith("api_key:" if reason == "api_stop" else "system")
        assert (await server.events(stopped)).count("call.stop_requested") == 1
        assert (await server.get(bystander))["cause"]["reason"] == "restart"


async def test_an_end_whose_only_answer_died_with_the_crash_is_reported_as_unconfirmed(lives: Lives) -> None:
    async with lives.dying_at(Boundary.BEFORE_SETTLE_COMMIT) as server:
        call_id = await server.call("01")
        await server.until_state(call_id, "ringing")
        await _post(server, f"/v1/calls/{call_id}/stop", {})
    assert packets(await lives.carrier.called("01"), "out", "INVITE")[-1] == "487"
    async with lives.next_with_fast_timers() as server:
        call = await server.ended_once(call_id, LIMIT_S)
        assert (call["proof_result"], call["proof_method"]) == ("unconfirmed", "cancel")
        assert (call["outcome"], call["cause"]["reason"]) == ("canceled", "api_stop")
        await until(lambda: lives.ends_told() == Counter([call_id]), LIMIT_S)
    assert lives.carrier.live_dialogs() == 0


async def test_a_bulk_stop_cut_off_amid_its_slices_is_completed_by_the_next_life(lives: Lives) -> None:
    assert SLICE < ENOUGH_FOR_A_SLICE < IN_BULK
    async with lives.dying_at(Boundary.AMID_BULK) as server:
        call_ids: list[str] = []
        for start in range(0, IN_BULK, AT_ONCE):
            digits = "00" if start == 0 else "01"
            call_ids += await asyncio.gather(*(server.call(digits) for _ in range(AT_ONCE)))
        for call_id in call_ids:
            await server.until_state(call_id, "answered" if call_id in call_ids[:AT_ONCE] else "ringing", LIMIT_S)
        lives.carrier.hold(departures=lambda message: message.what == "487")
        await _post(server, "/v1/stops", {"selector": {"all": True}, "reason": "a bad campaign"})
    lives.carrier.lose()
    async with lives.next() as server:
        await lives.assert_each_ended_once(server, call_ids)
        (bulk,) = (await server.client.get("/v1/stops")).json()["items"]
        ledger = (await server.client.get(f"/v1/stops/{bulk['id']}")).json()
        assert {line["call_id"] for line in ledger["items"]} == set(call_ids)
        causes = {(line["first"], line["result"], line["cause"]["text"]) for line in ledger["items"]}
        assert causes == {(True, "confirmed", "a bad campaign")}
