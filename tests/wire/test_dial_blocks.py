"""Bulk stops and dial blocks on the wire, by the packet log of a far end that shares no code with our SIP engine."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.wire.node import NodeUnderTest, running_node
from tests.wire.peers.capture import Capture

from onhook.calls.causes import Outcome, Reason
from onhook.calls.proof import Method, Result
from onhook.calls.states import State
from onhook.control import end
from onhook.lines.sandbox.uas import Address, Request, Response

pytestmark = pytest.mark.wire

ANSWERS, RINGS, CHALLENGES = "+12025550100", "+12025550101", "+12025550115"
LIMIT_S = 20.0
LIVE = 40
WAITING = 6
ALL = {"selector": {"all": True}}


@pytest_asyncio.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NodeUnderTest]:
    monkeypatch.setattr(end, "COMMIT_LIMIT_S", LIMIT_S)  # A busy machine is none of what is tested here.
    async with running_node(tmp_path) as under_test, asyncio.timeout(90):
        yield under_test


async def create(node: NodeUnderTest, to: str = ANSWERS, **fields: Any) -> str:
    order = {"to_number": to, "agent_id": node.sandbox.agent_id, **fields}
    response = await node.client.post("/v1/calls", json=order)
    assert response.status_code == 201, response.text
    call_id: str = response.json()["call_id"]
    return call_id


async def live_calls(node: NodeUnderTest, count: int = LIVE, **fields: Any) -> list[str]:
    """Return the ids of calls that talk, one in four still rings."""
    rings = [place % 4 == 0 for place in range(count)]
    made = [await create(node, RINGS if ring else ANSWERS, **fields) for ring in rings]
    for call_id, ring in zip(made, rings, strict=True):
        await node.watcher.reached(call_id, "ringing" if ring else "answered")
    return made


async def stop_many(node: NodeUnderTest, **body: Any) -> dict[str, Any]:
    response = await node.client.post("/v1/stops", json=ALL | body)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def invited(node: NodeUnderTest) -> set[str]:
    """Return the branches of all INVITEs that the far end has ever seen."""
    return {branch for call in node.carrier.calls for branch in call.branches}


async def state_of(node: NodeUnderTest, call_id: str) -> dict[str, Any]:
    return await node.get(f"/v1/calls/{call_id}")


async def ends_of(node: NodeUnderTest, call_id: str) -> int:
    timeline = await node.get(f"/v1/calls/{call_id}/timeline")
    return [event["type"] for event in timeline["events"]].count("call.ended")


async def due(node: NodeUnderTest, call_id: str) -> None:
    """Wait until a scheduled call's moment has come."""
    call = await node.node.store.get_call(call_id, None)
    assert call is not None
    assert call.dial_at is not None
    await asyncio.sleep(max(0, call.dial_at + 1 - node.node.clock.now_ms()) / 1000)


def assert_complete(told: dict[str, Any]) -> None:
    """Every call of a ledger is over and proved: stopped, or its INVITE was kept back by the block."""
    assert len(told["items"]) == told["matched"]
    for item in told["items"]:
        ended = (item["first"], item["result"], item["cause"]["reason"])
        assert ended in ((True, "confirmed", "api_stop"), (False, "already_ended", "dial_blocked"))
        assert item["confirmed_at"] is not None


class Makers:
    """Clients that go on making calls, one after the other, whatever they are answered; `made` are the ids."""

    def __init__(self, node: NodeUnderTest, count: int = 3) -> None:
        self.made: list[str] = []
        self.refused = 0
        self._node = node
        self._stopping = False
        self._tasks = [asyncio.create_task(self._make()) for _ in range(count)]

    async def until(self, condition: Callable[["Makers"], bool]) -> None:
        """Wait until it has come to that."""
        async with asyncio.timeout(LIMIT_S):
            while not condition(self):  # noqa: ASYNC110 (whoever makes the calls is what is waited for)
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _make(self) -> None:
        order = {"to_number": ANSWERS, "agent_id": self._node.sandbox.agent_id, "metadata": {"made": "by a maker"}}
        while not self._stopping:
            response = await self._node.client.post("/v1/calls", json=order)
            if response.status_code == 201:
                self.made.append(response.json()["call_id"])
            else:
                assert (response.status_code, response.json()["code"]) == (429, "dialing_blocked")
                self.refused += 1
            await asyncio.sleep(0.005)


async def test_after_a_stop_with_a_block_no_invite_leaves_until_the_release(node: NodeUnderTest) -> None:
    live = await live_calls(node)
    waiting = [await create(node, delay_seconds=1) for _ in range(WAITING)]
    makers = Makers(node)
    await makers.until(lambda makers: len(makers.made) >= 5)
    told = await stop_many(node, block_dials=True, wait_ms=5000)
    branches = invited(node)
    began_before = list(makers.made)

    await makers.until(lambda makers: makers.refused >= 20)
    await due(node, waiting[-1])
    await node.node.reconciler.sweep()
    await makers.stop()
    await node.all_ended()
    assert invited(node) == branches
    assert makers.made == began_before

    assert told["held"] == WAITING
    assert_complete(told)
    stopped = {item["call_id"] for item in told["items"] if item["first"]}
    assert set(live) <= stopped
    for call_id in (*live, *makers.made):
        call = await state_of(node, call_id)
        reason = "api_stop" if call_id in stopped else "dial_blocked"
        assert (call["state"], call["cause"]["reason"], call["proof_result"]) == ("ended", reason, "confirmed")
        assert await ends_of(node, call_id) == 1
    assert [(await state_of(node, call_id))["state"] for call_id in waiting] == ["scheduled"] * WAITING
    assert node.carrier.live_dialogs() == 0
    assert [fault for call in node.carrier.calls for fault in call.faults] == []

    assert (await node.client.delete(f"/v1/dial-blocks/{told['dial_block_id']}")).status_code == 204
    for call_id in (*waiting, await create(node)):
        await node.watcher.reached(call_id, "answered")
    assert len(invited(node)) == len(branches) + WAITING + 1


async def test_a_capture_shows_no_invite_after_the_answer(
    node: NodeUnderTest, tcpdump_program: str, tmp_path: Path
) -> None:
    _, port = node.carrier.address
    async with Capture(tcpdump_program, port, tmp_path / "bulk.pcap") as capture:
        await live_calls(node, 12)
        makers = Makers(node)
        await makers.until(lambda makers: len(makers.made) >= 3)
        told = await stop_many(node, block_dials=True, wait_ms=5000)
        answered_at = time.time() * 1000
        await makers.until(lambda makers: makers.refused >= 20)
        await makers.stop()
        await node.all_ended()

    assert_complete(told)
    assert told["stopped"] >= 12
    assert capture.log.requests("INVITE")
    assert [packet for packet in capture.log.requests("INVITE") if packet.at > answered_at] == []
    byes = [packet for packet in capture.log.requests("BYE") if packet.at <= answered_at]
    assert len({packet.branch for packet in byes}) == len(
        [item for item in told["items"] if item["proof_method"] == "bye"]
    )


async def test_the_invite_of_a_call_made_before_the_block_does_not_leave(
    node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = node.node.store
    save, about_to_leave, go_on = store.save_snapshot, asyncio.Event(), asyncio.Event()

    async def held_back(call_id: str, snapshot: bytes, *, before_invite: bool) -> bool:
        about_to_leave.set()
        await go_on.wait()
        return await save(call_id, snapshot, before_invite=before_invite)

    monkeypatch.setattr(store, "save_snapshot", held_back)
    call_id = await create(node)
    await about_to_leave.wait()
    assert (await node.client.post("/v1/dial-blocks", json=ALL)).status_code == 201
    go_on.set()
    await node.watcher.reached(call_id, "ended")

    call = await store.get_call(call_id, None)
    assert call is not None
    assert call.cause is not None
    assert (call.state, call.outcome, call.cause.reason) == (State.ENDED, Outcome.CANCELED, Reason.DIAL_BLOCKED)
    assert (call.proof_so_far.method, call.proof_so_far.result) == (Method.NONE, Result.CONFIRMED)
    assert node.carrier.calls == []


async def test_a_challenge_is_not_met_behind_a_block(node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    transmit, challenged, go_on = node.carrier.transmit, asyncio.Event(), asyncio.Event()
    late: list[Awaitable[None]] = []

    async def later(message: Request | Response, to: Address) -> None:
        await go_on.wait()
        transmit(message, to)

    def gate(message: Request | Response, to: Address) -> None:
        if isinstance(message, Response) and message.status == 401:
            late.append(asyncio.create_task(later(message, to)))
            challenged.set()
        else:
            transmit(message, to)

    monkeypatch.setattr(node.carrier, "transmit", gate)
    call_id = await create(node, CHALLENGES)
    await challenged.wait()
    told = (await node.client.post("/v1/dial-blocks", json=ALL)).json()
    go_on.set()
    await asyncio.gather(*late)
    await node.watcher.reached(call_id, "ended")

    call = await state_of(node, call_id)
    assert (call["cause"]["reason"], call["outcome"], call["proof_result"]) == ("dial_blocked", "canceled", "confirmed")
    assert len(invited(node)) == 1
    assert (await node.client.delete(f"/v1/dial-blocks/{told['id']}")).status_code == 204


async def test_a_storm_of_stops_of_all_kinds_ends_each_call_once(node: NodeUnderTest) -> None:
    live = await live_calls(node, metadata={"list": "a"})
    makers = Makers(node, 2)
    listed = {"selector": {"metadata": {"list": "a"}}, "wait_ms": 2000}

    async def one_by_one(place: int) -> int:
        paths = (f"/v1/calls/{live[place % LIVE]}/stop", f"/v2/stop-call/{live[(place + 1) % LIVE]}")
        return [(await node.client.post(path)).status_code in (200, 204) for path in paths].count(True)

    async def in_bulk() -> dict[str, Any]:
        response = await node.client.post("/v1/stops", json=listed)
        told: dict[str, Any] = response.json()
        return told

    stops = [one_by_one(place) for place in range(LIVE)]
    asked = await asyncio.gather(asyncio.gather(*stops[:10]), *(in_bulk() for _ in range(10)), *stops[10:])
    await makers.stop()
    ledgers = [told for told in asked if isinstance(told, dict)]
    first_of = [item["call_id"] for told in ledgers for item in told["items"] if item["first"]]

    assert len(first_of) == len(set(first_of))
    for call_id in live:
        call = await node.node.store.get_call(call_id, None)
        assert call is not None
        assert call.stop is not None
        assert (call.state, call.stop.result) == (State.ENDED, Result.CONFIRMED)
        assert (call.stop.bulk_id is not None) == (call_id in first_of)
        assert await ends_of(node, call_id) == 1
    assert {item["result"] for told in ledgers for item in told["items"]} <= {"confirmed"}
    for call_id in makers.made:
        await node.watcher.reached(call_id, "answered")
    assert node.carrier.live_dialogs() == len(makers.made)
    told = await stop_many(node, wait_ms=5000)
    assert told["result"]["confirmed"] == len(makers.made) == told["stopped"]
    await node.all_ended()
    assert node.carrier.live_dialogs() == 0
    assert [fault for call in node.carrier.calls for fault in call.faults] == []


async def test_300_bulk_stops_of_one_call_are_one_stop(node: NodeUnderTest) -> None:
    (call_id,) = await live_calls(node, 1)
    told = await asyncio.gather(*(stop_many(node, wait_ms=2000) for _ in range(300)))

    assert sum(one["stopped"] for one in told) == 1
    assert await ends_of(node, call_id) == 1
    (far_end,) = node.carrier.calls
    assert [packet.what for packet in far_end.packets if packet.direction == "in"].count("CANCEL") == 1
