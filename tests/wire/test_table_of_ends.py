"""The table of ends: every sandbox number, left alone and stopped at each stage, in three APIs' words."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.wire.node import NodeUnderTest, running_node

from onhook.calls.call import Dialect
from onhook.control.place import PlaceOrder
from onhook.lines.sandbox.numbers import NUMBERS
from onhook.provision import DEFAULT_ENVIRONMENT

pytestmark = pytest.mark.wire

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ends.md"
T1 = 0.1
"""64*T1 is 6.4 s: the silent numbers take no longer."""
RING_TIMEOUT_MS = 8000
MAX_DURATION_MS = 2500
"""Long enough for number 16 to hold and resume; number 04 hangs up after 3 s and gets more."""


class End(NamedTuple):
    """One row of the page."""

    number: str
    moment: str
    outcome: str
    reason: str
    by: str
    proof: str
    method: str
    talkover: str
    retell: str
    retell_reason: str


def rows() -> list[End]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ..")]
    return [End(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def test_every_number_of_the_sandbox_is_in_the_table() -> None:
    assert {row.number.removeprefix("..") for row in rows()} == {number.digits for number in NUMBERS}


async def test_every_call_ends_as_the_table_says(tmp_path: Path) -> None:
    async with running_node(tmp_path, t1=T1) as under_test, asyncio.timeout(60):
        at_a_time = asyncio.Semaphore(4)
        ends = await asyncio.gather(*(_end_of(under_test, row, at_a_time) for row in rows()))
        assert [end for end, row in zip(ends, rows(), strict=True) if end != row] == []
        await under_test.all_ended()
        assert under_test.node.engine.live_legs() == 0
        assert under_test.carrier.live_dialogs() == 0
        assert [fault for call in under_test.carrier.calls for fault in call.faults] == []


async def _end_of(under_test: NodeUnderTest, row: End, at_a_time: asyncio.Semaphore) -> End:
    """Place one call, stop it when the row says so, and return the row as it came out.

    Few calls at a time are on their way to their stop: some numbers leave a moment open for 50 ms only.
    """
    async with at_a_time:
        call_id = await _placed_and_stopped(under_test, row)
    await under_test.watcher.reached(call_id, "ended")
    return await _as_it_came_out(under_test, row, call_id)


async def _placed_and_stopped(under_test: NodeUnderTest, row: End) -> str:
    call = await under_test.node.placer.place(
        PlaceOrder(
            environment_id=DEFAULT_ENVIRONMENT,
            dialect=Dialect.NATIVE,
            to_number=f"+1202555{row.number.replace('..', '01')}",
            agent_id=under_test.sandbox.agent_id,
            ring_timeout_ms=RING_TIMEOUT_MS,
            max_duration_ms=60_000 if row.number == "..04" else MAX_DURATION_MS,
        )
    )
    if row.moment != "-":
        await under_test.watcher.reached(call.id, row.moment)
        stop = await under_test.client.post(f"/v1/calls/{call.id}/stop", json={"wait_ms": 0})
        assert stop.status_code == 200, stop.text
    return call.id


async def _as_it_came_out(under_test: NodeUnderTest, row: End, call_id: str) -> End:
    native = await under_test.get(f"/v1/calls/{call_id}")
    retell = await under_test.get(f"/v2/get-call/{call_id}")
    talkover = await under_test.get(f"/api/v1/calls?search={call_id}")
    events = [event["type"] for event in (await under_test.get(f"/v1/calls/{call_id}/timeline"))["events"]]
    assert events.count("call.ended") == 1
    return End(
        row.number,
        row.moment,
        native["outcome"],
        native["cause"]["reason"],
        native["cause"]["initiator"].partition(":")[0],
        native["proof_result"],
        native["proof_method"],
        talkover["data"][0]["status"],
        retell["call_status"],
        retell["disconnection_reason"],
    )
