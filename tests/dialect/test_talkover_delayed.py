"""Delayed calls of TalkOver over a restart of the server: they are dialled in time, or ended before."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.dialect.conftest import Rig

from onhook.calls.causes import Outcome
from onhook.calls.proof import Method
from onhook.calls.states import State
from onhook.control.reconcile import Reconciler
from onhook.store.sqlite import SqliteStore
from onhook.testing.clock import ManualClock

pytestmark = pytest.mark.dialect

BODY = {
    "to": "+12025550101",
    "delay_seconds": 60,
    "payload": {"name": "Zoë"},
    "context": {"order": [7, None]},
    "is_testing": True,
}


class Server:
    """A server on one database, which can be started again; its clock stands still."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.clock = ManualClock()
        self.rig: Rig

    async def start(self) -> None:
        self.rig = rig = Rig(SqliteStore(self._path), self.clock)
        await rig.start()
        self.reconciler = Reconciler(rig.store, rig.engine, rig.clock, rig.live, rig.ending, rig.dialer, rig.timers)
        await self.reconciler.settle_earlier_life()

    async def stop(self) -> None:
        await self.rig.recorder.drained()
        await self.rig.store.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def url(self, rest: str) -> str:
        return f"/api/v1/agents/{self.rig.mine.agent_id}/{rest}"

    async def delayed_call(self) -> str:
        async with self.rig.client() as client:
            answer = await client.post(self.url("call"), json=BODY)
        assert answer.json()["data"]["status"] == "initiated"
        return str(answer.json()["data"]["id"])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    opened = Server(tmp_path / "onhook.db")
    await opened.start()
    yield opened
    await opened.stop()


async def test_a_delayed_call_is_dialled_at_its_time_by_the_next_life(server: Server) -> None:
    call_id = await server.delayed_call()
    await server.restart()
    server.clock.advance(59.9)
    await server.reconciler.sweep()
    waiting = await server.rig.settled(call_id)
    server.clock.advance(0.1)
    await server.reconciler.sweep()
    dialled = await server.rig.settled(call_id)

    assert waiting.state is State.SCHEDULED
    assert dialled.state is State.RINGING
    assert list(server.rig.engine.legs) == [call_id]
    details = dialled.details
    assert (details.payload, details.context, details.is_testing) == (BODY["payload"], BODY["context"], True)


async def test_a_delayed_call_whose_time_passed_while_the_server_was_down_is_dialled_at_once(server: Server) -> None:
    call_id = await server.delayed_call()
    server.clock.advance(120)
    await server.restart()
    await server.reconciler.sweep()

    assert (await server.rig.settled(call_id)).state is State.RINGING


async def test_a_delayed_call_is_ended_after_a_restart_and_never_dialled(server: Server) -> None:
    call_id = await server.delayed_call()
    await server.restart()
    async with server.rig.client() as client:
        active = await client.get(server.url("active-call/%2B12025550101"))
        answer = await client.post(server.url("end-call"), json={"call_sid": call_id})
        again = await client.post(server.url("end-call"), json={"call_sid": call_id})
    await server.restart()
    server.clock.advance(120)
    await server.reconciler.sweep()
    ended = await server.rig.settled(call_id)

    assert [one["status"] for one in active.json()["data"]] == ["initiated"]
    assert (answer.status_code, answer.headers["Onhook-Proof"]) == (200, "confirmed")
    assert answer.json()["data"]["ended_reason"] == "ended_by_api"
    assert (again.status_code, again.json()["code"]) == (409, "CALL_NOT_ACTIVE")
    assert (ended.state, ended.outcome, ended.dialed_at) == (State.ENDED, Outcome.CANCELED, None)
    assert ended.proof_so_far.method is Method.NONE
    assert server.rig.engine.legs == {}
