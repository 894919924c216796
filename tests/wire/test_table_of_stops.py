"""The table of stops: each way to stop a call, in each state, as three APIs and the webhooks of two tell it."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from tests.wire.node import NodeUnderTest, running_node
from tests.wire.test_webhooks_of_ends import Receiver, all_delivered, receiving, subscribe

from onhook.agents.messages import CallInfo, Cue, CueKind, HangUp, Play, Started, ToAgent
from onhook.agents.port import AgentListener
from onhook.testing.agents import FakeSession

pytestmark = pytest.mark.wire

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "stops.md"
T1 = 0.1
"""64*T1 is 6.4 s: a BYE that is never answered takes no longer."""
VOICE = b"\x10\x90" * 80
"""20 ms of what an agent says."""
SHORT, LONG = "Thanks for calling.", "There is so much more to say. " * 15
SAID_MS = 300
"""How much of a farewell is heard before a stop that comes while it is said."""
GRACEFUL = {"mode": "graceful", "farewell": SHORT, "deadline_ms": 3000}
FAREWELL = {"mode": "graceful", "farewell": LONG, "deadline_ms": 20_000}
STOPS: dict[str, dict[str, Any]] = {
    "now": {"mode": "now"},
    "graceful": GRACEFUL,
    "overrun": GRACEFUL | {"farewell": LONG, "deadline_ms": 600},
}
"""The modes that are one request about one call."""


class StopRow(NamedTuple):
    """One row of the page."""

    number: str
    mode: str
    state: str
    answer: str
    outcome: str
    reason: str
    by: str
    farewell: str
    proof: str
    method: str
    talkover: str
    talkover_reason: str
    retell: str
    retell_reason: str
    talkover_webhooks: str
    retell_webhooks: str


class Speaker(FakeSession):
    """An agent that says a farewell when it is asked for one, 20 ms for each character, and hangs up."""

    def send(self, message: ToAgent) -> None:
        super().send(message)
        if isinstance(message, Cue) and message.kind is CueKind.FAREWELL and message.text is not None:
            self.say(Play(VOICE * len(message.text)), HangUp("", drain=True))


class Speakers:
    """Puts a `Speaker` on every call (an `AgentPort`)."""

    def start(self, call: CallInfo, listener: AgentListener) -> Speaker:
        listener.on_agent(Started())
        return Speaker(call, listener)

    def components(self) -> dict[str, str]:
        return {"agents": "ok"}


def rows() -> list[StopRow]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ..")]
    return [StopRow(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def test_every_mode_meets_every_state() -> None:
    states = {"scheduled", "dialing", "ringing", "answered", "farewell", "ending", "ended"}
    modes = {"now", "graceful", "bulk", "stop_at"}
    assert {(row.mode, row.state) for row in rows()} >= {(mode, state) for mode in modes for state in states}


async def test_every_stop_is_told_as_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onhook.control.end.COMMIT_LIMIT_S", 10)  # A slow disk is not what is looked at here.
    told = await _all_told(tmp_path)
    assert [one for one, row in zip(told, rows(), strict=True) if one != row] == []


async def _all_told(directory: Path) -> list[StopRow]:
    """Carry out every row, and return all as they came out."""
    async with receiving() as receiver, running_node(directory, t1=T1) as under_test, asyncio.timeout(90):
        await subscribe(under_test, receiver)
        order, at_a_time = await _order(under_test), asyncio.Semaphore(4)
        orders = [order | {"metadata": {"row": str(place)}} for place, _ in enumerate(rows())]
        stops = (_stopped(under_test, one, row, at_a_time) for one, row in zip(orders, rows(), strict=True))
        calls = await asyncio.gather(*stops)
        await under_test.all_ended()
        await all_delivered(under_test)
        assert under_test.carrier.live_dialogs() == 0
        assert [fault for call in under_test.carrier.calls for fault in call.faults] == []
        return [await _as_told(under_test, receiver, row, *call) for row, call in zip(rows(), calls, strict=True)]


async def _order(under_test: NodeUnderTest) -> dict[str, Any]:
    """Return what every call is placed with: an agent that can say a farewell, and its number."""
    under_test.node.agents = Speakers()
    body = {"name": "Ann", "kind": "scripted", "settings": {"initial_message": "Hello."}, "published": True}
    agent = (await under_test.client.post("/v1/agents", json=body)).json()
    (number,) = (await under_test.get("/v1/numbers"))["items"]
    return {"agent_id": agent["id"], "from_number": number["number"]}


async def _stopped(
    under_test: NodeUnderTest, order: dict[str, Any], row: StopRow, at_a_time: asyncio.Semaphore
) -> tuple[str, str]:
    """Place a call, stop it as the row says, wait for its end; return its id and what the stop was answered."""
    async with at_a_time:
        call_id = await _brought_into(under_test, order, row)
        answer = await _stop_by(under_test, row.mode, call_id, order["metadata"])
    await _over(under_test, call_id)
    return call_id, answer


async def _over(under_test: NodeUnderTest, call_id: str) -> None:
    """Wait until a call's end is written; a call that was never dialled has no leg that would tell."""
    for _ in range(200):
        call = await under_test.get(f"/v1/calls/{call_id}")
        if call["state"] == "ended":
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not over: {call}")


async def _brought_into(under_test: NodeUnderTest, order: dict[str, Any], row: StopRow) -> str:
    """Place a call and bring it into the state of the row."""
    body = order | {"to_number": f"+1202555{row.number.replace('..', '01')}"}
    if row.state == "scheduled":
        body["delay_seconds"] = 600
    placed = await under_test.client.post("/v1/calls", json=body)
    assert placed.status_code == 201, placed.text
    call_id: str = placed.json()["call_id"]
    match row.state:
        case "dialing" | "ringing" | "answered" | "ended":
            await under_test.watcher.reached(call_id, row.state)
        case "farewell":
            await under_test.watcher.reached(call_id, "answered")
            await _talking(under_test, call_id)
            await _stop(under_test, call_id, FAREWELL)
            await asyncio.sleep(SAID_MS / 1000)  # Some of it is to be heard.
        case "ending":
            await under_test.watcher.reached(call_id, "answered")
            await _stop(under_test, call_id, {"mode": "now"})
    if row.state == "answered":
        await _talking(under_test, call_id)
    return call_id


async def _talking(under_test: NodeUnderTest, call_id: str) -> None:
    """Wait until the agent is on the call."""
    await under_test.node.conversations.settled()
    assert under_test.node.conversations.talks(call_id)


async def _stop_by(under_test: NodeUnderTest, mode: str, call_id: str, metadata: dict[str, Any]) -> str:
    """Stop a call in one of the modes; return the answer's status, of a bulk stop also how many it has stopped."""
    if mode == "bulk":
        body = {"selector": {"metadata": metadata}, "wait_ms": 0}
        answer = await under_test.client.post("/v1/stops", json=body)
        ledger = answer.json()
        return f"{answer.status_code}: {ledger['stopped']} of {ledger['matched']}"
    if mode == "stop_at":
        answer = await under_test.client.put(f"/v1/calls/{call_id}/stop-at", json={"after_ms": 50})
        return str(answer.status_code)
    return str((await _stop(under_test, call_id, STOPS[mode])).status_code)


async def _stop(under_test: NodeUnderTest, call_id: str, body: dict[str, Any]) -> httpx.Response:
    answer = await under_test.client.post(f"/v1/calls/{call_id}/stop", json=body | {"wait_ms": 0})
    assert answer.status_code < 422, answer.text
    return answer


async def _as_told(under_test: NodeUnderTest, receiver: Receiver, row: StopRow, call_id: str, answer: str) -> StopRow:
    """Return the row as it came out."""
    native = await under_test.get(f"/v1/calls/{call_id}")
    retell = await under_test.get(f"/v2/get-call/{call_id}")
    talkover = (await under_test.get(f"/api/v1/calls?search={call_id}"))["data"][0]
    events = [event["type"] for event in (await under_test.get(f"/v1/calls/{call_id}/timeline"))["events"]]
    assert events.count("call.ended") == 1
    ends = [body for body in receiver.told("talkover", call_id) if body["event"] == "event_phone_call_ended"]
    return StopRow(
        row.number,
        row.mode,
        row.state,
        answer,
        native["outcome"],
        native["cause"]["reason"],
        native["cause"]["initiator"].partition(":")[0],
        (native["stop"] or {}).get("farewell") or "-",
        native["proof_result"],
        native["proof_method"],
        talkover["status"],
        ends[0]["ended_reason"],
        retell["call_status"],
        retell["disconnection_reason"],
        _names(receiver, "talkover", call_id),
        _names(receiver, "anunzi", call_id),
    )


def _names(receiver: Receiver, dialect: str, call_id: str) -> str:
    """Return the names of a call's webhooks in their order, without what all of a dialect's names begin with."""
    prefix = {"talkover": "event_phone_call_", "anunzi": "call_"}[dialect]
    names = [body["event"] for body in receiver.told(dialect, call_id)]
    return " ".join(name.removeprefix(prefix) for name in names if name.startswith(prefix))
