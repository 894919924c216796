"""300 calls to every number of the sandbox, stopped at random: none rings or talks on, each ends once, provably."""

import asyncio
import gc
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.chaos.carrier import packets
from tests.wire.node import NodeUnderTest, running_node

from onhook.calls.call import Call, EventType
from onhook.calls.proof import Method, Result
from onhook.calls.states import State
from onhook.lines.sandbox import NUMBERS, SandboxCall

pytestmark = pytest.mark.chaos

CALLS = 300
AT_A_TIME = 80
LIMIT_S = 60
STOPS = ("talkover", "retell", "native")
SHORT_LIMITS = {"ring_timeout_ms": 2500, "max_duration_ms": 1500}

Verdict = tuple[Result, Method]


@dataclass(frozen=True)
class Plan:
    """One call: whom it dials, and its stops as (seconds after the call was made, API)."""

    digits: str
    stops: tuple[tuple[float, str], ...]


def plans(seed: int) -> list[Plan]:
    """Make up the run. A call in six is left alone; of the stopped ones a third is stopped more than once."""
    chance = random.Random(seed)
    return [Plan(NUMBERS[place % len(NUMBERS)].digits, _stops(chance)) for place in range(CALLS)]


def _stops(chance: random.Random) -> tuple[tuple[float, str], ...]:
    if chance.random() < 1 / 6:
        return ()
    # Before the INVITE left, before the first 1xx, while it rings, around the answer, long after it.
    first = chance.choice([0.0, chance.uniform(0, 0.05), chance.uniform(0, 0.5), chance.uniform(0, 2.0)])
    repeats = chance.choice([0, 0, 1, 3])
    again = [first + chance.choice([0.0, chance.uniform(0, 0.3)]) for _ in range(repeats)]
    return tuple((after_s, chance.choice(STOPS)) for after_s in [first, *again])


async def test_no_call_of_a_random_run_becomes_a_ghost(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"to repeat this run: CHAOS_SEED={seed}")
    async with running_node(tmp_path, t1=0.1) as under_test, asyncio.timeout(LIMIT_S):
        await _run(under_test, Plan("00", ((0.5, "native"),)), asyncio.Semaphore())
        await _quiet(under_test)
        before = _holdings()
        at_a_time = asyncio.Semaphore(AT_A_TIME)
        made = await asyncio.gather(*(_run(under_test, plan, at_a_time) for plan in plans(seed)))
        await _quiet(under_test)
        assert under_test.node.engine.live_legs() == 0
        assert under_test.carrier.live_dialogs() == 0
        assert [(call.dialled, call.faults) for call in under_test.carrier.calls if call.faults] == []
        assert [problem for call_id in made for problem in await _problems(under_test, call_id)] == []
        assert _holdings() == before


async def _run(under_test: NodeUnderTest, plan: Plan, at_a_time: asyncio.Semaphore) -> str:
    """Place one call, stop it as planned, and wait for its end."""
    async with at_a_time:
        body = {"to_number": f"+120255501{plan.digits}", "agent_id": under_test.sandbox.agent_id, **SHORT_LIMITS}
        response = await under_test.client.post("/v1/calls", json=body)
        assert response.status_code == 201, response.text
        call_id: str = response.json()["call_id"]
        await asyncio.gather(*(_stop(under_test, call_id, after_s, api) for after_s, api in plan.stops))
        await under_test.watcher.reached(call_id, "ended")
        return call_id


async def _stop(under_test: NodeUnderTest, call_id: str, after_s: float, api: str) -> None:
    await asyncio.sleep(after_s)  # A random instant is what is tested, so there is no event to wait for.
    client = under_test.client
    match api:
        case "talkover":
            path = f"/api/v1/agents/{under_test.sandbox.agent_id}/end-call"
            status = (await client.post(path, json={"call_sid": call_id})).status_code
            assert status in (200, 409)
        case "retell":
            assert (await client.post(f"/v2/stop-call/{call_id}")).status_code == 204
        case _:
            assert (await client.post(f"/v1/calls/{call_id}/stop")).status_code == 200


async def _quiet(under_test: NodeUnderTest) -> None:
    """Wait until the engine watches for nothing late any more and no task of a call is left."""
    await under_test.all_ended()
    while under_test.node.engine.remembered_legs():  # noqa: ASYNC110 (the watch ends by a clock; nobody is told)
        await asyncio.sleep(0.05)
    await under_test.all_ended()


def _holdings() -> tuple[int, int]:
    """Count the tasks and the open files, sockets among them, of this process."""
    gc.collect()
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))


async def _problems(under_test: NodeUnderTest, call_id: str) -> list[str]:
    """Return what is wrong with the record of one call, held against the far end's packets."""
    call = await under_test.node.store.get_call(call_id, None)
    assert call is not None
    events = await under_test.node.store.events(call_id)
    far_end = under_test.carrier.call(call.sip_call_id)
    found = []
    if call.state is not State.ENDED:
        found.append(f"is {call.state}")
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        found.append("its log has a gap")
    ends = [event.type for event in events].count(EventType.ENDED)
    if ends != 1:
        found.append(f"has {ends} ends")
    verdicts = _verdicts(far_end)
    if _verdict(call) not in verdicts:
        found.append(f"says {_verdict(call)}, the far end {verdicts}")
    return [f"{call.to_number}: {problem}" for problem in found]


def _verdict(call: Call) -> Verdict:
    proof = call.proof_so_far
    return proof.result, proof.method


def _verdicts(far_end: SandboxCall | None) -> set[Verdict]:
    """Return what the store may say of a call, judged by the far end's own log."""
    if far_end is None:
        return {(Result.CONFIRMED, Method.NONE)}
    finals = [int(what) for what in packets(far_end, "out", "INVITE") if what.isdigit() and int(what) >= 200]
    if not finals:
        return {(Result.UNCONFIRMED, Method.TIMEOUT)}
    if 200 in finals:
        return _verdicts_of_dialogs(far_end)
    return {(Result.CONFIRMED, Method.CANCEL if packets(far_end, "in", "CANCEL") else Method.REJECTED)}


def _verdicts_of_dialogs(far_end: SandboxCall) -> set[Verdict]:
    """Return what may be said of an accepted call: our BYE, or theirs, or two that crossed."""
    found: set[Verdict] = set()
    if "BYE" in packets(far_end, "in", "BYE"):
        answers = set(packets(far_end, "out", "BYE")) & {"200", "481"}
        found.add((Result.CONFIRMED if answers else Result.UNCONFIRMED, Method.BYE))
    if "BYE" in packets(far_end, "out", "BYE"):
        found.add((Result.CONFIRMED, Method.FAR_END_BYE))
    return found
