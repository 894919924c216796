"""From the request to end a call to the BYE at the far end, with an agent on the call, over a call without one.

The server, its agent processes and the far end run for real, as for `stop_to_bye`. Calls of three agents take turns: a
`scripted` one in the middle of a long sentence and a `websocket` one whose bot talks, both hosted in an agent process
and heard through the ear's model; and a `silence` one, which is none. Who is first changes with each turn. All are
stopped at the same age, after the same last request: a disk and a processor that have just been at work are quicker.
The slower of both kinds is judged.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.child import Child, child
from benchmarks.far_end import Ports
from benchmarks.machine import scratch
from benchmarks.server import Server, environment, server
from benchmarks.stop_to_bye import stop_us
from benchmarks.verdict import Verdict, finish

TURNS = 80
AGE_S = 0.25
"""How old a call is when it is stopped."""
GATE = 1.2
SPEECH = "This is a long sentence of the agent, of which the end will not be heard by anybody. " * 5
SILENCE = "silence"


def measure() -> Verdict:
    """Interleave stops of all kinds of calls, and compare the medians."""
    with (
        scratch() as directory,
        child("far_end") as far_end,
        child("voice_bot") as bot,
        server(directory, far_end.hear(Ports).sip) as onhook,
    ):
        _make_a_key_that_signs(directory)
        found = _measure(onhook, far_end, bot.hear(int))
    medians = {kind: statistics.median(times) for kind, times in found.items()}
    slowest = max(medians, key=lambda kind: (kind != SILENCE, medians[kind]))
    ratio = medians[slowest] / medians[SILENCE]
    return Verdict(
        "stop_with_agent",
        f"request to BYE p50 {ratio:.2f} x that without an agent ({slowest})",
        f"<= {GATE:g} x",
        ratio / GATE,
        (
            *(f"{kind} p50 {medians[kind]:.0f} us, p95 {_p95(times):.0f} us" for kind, times in found.items()),
            f"{TURNS} calls of each",
        ),
    )


def _make_a_key_that_signs(directory: Path) -> None:
    """Connections to bots are signed with it."""
    command = [sys.executable, "-m", "onhook", "keys", "create", "--signs"]
    subprocess.run(command, env=environment(directory), stdout=subprocess.DEVNULL, check=True)


def _measure(onhook: Server, far_end: Child, bot_port: int) -> dict[str, list[float]]:
    """Return how long stops took, in us, by the kind of the agent."""
    patience = {"start_timeout_ms": 30_000}
    agents = {
        "scripted": onhook.create_agent("scripted", initial_message=SPEECH, **patience),
        "websocket": onhook.create_agent("websocket", url=f"ws://127.0.0.1:{bot_port}/", **patience),
        SILENCE: onhook.create_agent(SILENCE),
    }
    kinds = list(agents)
    for kind in kinds:  # From here on model and words are there.
        _stop_us(onhook, far_end, kind, agents[kind])
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(TURNS):
        for kind in kinds[turn % 3 :] + kinds[: turn % 3]:
            found[kind].append(_stop_us(onhook, far_end, kind, agents[kind]))
    return found


def _stop_us(onhook: Server, far_end: Child, kind: str, agent_id: str) -> float:
    """Place a call and stop it when it is old enough and its agent is there; words come at once with that."""
    placed = time.monotonic()
    call_id = onhook.place(agent_id)
    time.sleep(max(0.0, placed + AGE_S - time.monotonic()))
    onhook.wait_for(call_id, "call.answered" if kind == SILENCE else "call.agent_started")
    return stop_us(onhook, far_end, call_id, onhook.end_call(call_id, agent_id))


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    finish(measure)
