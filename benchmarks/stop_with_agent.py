"""From the request to end a call to the BYE at the far end, while an agent talks on the call, over a call without one.

The server, its agent processes and the far end run for real, as for `stop_to_bye`. Calls of two agents take turns: a
`scripted` one in the middle of a long sentence, hosted in an agent process, heard through the ear's model; and a
`silence` one, which is none. Who is first changes with each turn. All are stopped at the same age, after the same last
request: a disk and a processor that have just been at work are quicker.
"""

import statistics
import time

from benchmarks.child import Child, child
from benchmarks.far_end import Ports
from benchmarks.machine import scratch
from benchmarks.server import Server, server
from benchmarks.stop_to_bye import stop_us
from benchmarks.verdict import Verdict, finish

TURNS = 100
AGE_S = 0.25
"""How old a call is when it is stopped."""
GATE = 1.2
SPEECH = "This is a long sentence of the agent, of which the end will not be heard by anybody. " * 5


def measure() -> Verdict:
    """Interleave stops of both kinds of calls, and compare the medians."""
    talking: list[float] = []
    silent: list[float] = []
    with scratch() as directory, child("far_end") as far_end, server(directory, far_end.hear(Ports).sip) as onhook:
        talker = onhook.create_agent("scripted", initial_message=SPEECH, start_timeout_ms=30_000)
        nobody = onhook.create_agent("silence")
        _stop_us(onhook, far_end, talker, "call.agent_started")  # From here on model and words are there.
        for turn in range(TURNS):
            sides = [(talker, "call.agent_started", talking), (nobody, "call.answered", silent)]
            for agent_id, event, found in sides if turn % 2 else reversed(sides):
                found.append(_stop_us(onhook, far_end, agent_id, event))
    with_agent, without = statistics.median(talking), statistics.median(silent)
    return Verdict(
        "stop_with_agent",
        f"request to BYE p50 {with_agent / without:.2f} x that without an agent",
        f"<= {GATE:g} x",
        with_agent / without / GATE,
        (
            f"with a talking agent p50 {with_agent:.0f} us, p95 {statistics.quantiles(talking, n=20)[-1]:.0f} us",
            f"without an agent p50 {without:.0f} us, p95 {statistics.quantiles(silent, n=20)[-1]:.0f} us",
            f"{TURNS} calls of each",
        ),
    )


def _stop_us(onhook: Server, far_end: Child, agent_id: str, event: str) -> float:
    """Place a call and stop it when it is old enough; its log has the event by then (words come at once with it)."""
    placed = time.monotonic()
    call_id = onhook.place(agent_id)
    time.sleep(max(0.0, placed + AGE_S - time.monotonic()))
    onhook.wait_for(call_id, event)
    return stop_us(onhook, far_end, call_id, onhook.end_call(call_id, agent_id))


if __name__ == "__main__":
    finish(measure)
