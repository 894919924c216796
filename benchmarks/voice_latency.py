"""How long people wait: to be heard when they talk over an agent, and for an agent's reply.

A scripted agent asks the same question again and again; callers answer "yes", in turns after its end and over it. All
is timed at the far end, in another process: a caller's first and last loud frame when they are given to the kernel,
the agent's when the kernel has them at the caller's socket (its last frame that is not silence after an interruption,
its first after an answer). The limits are absolute: they are what people wait for. In that of a reply, 400 ms are
the pause after which a caller's turn counts as over.
"""

import asyncio
import statistics

import uvloop

from benchmarks.child import Child, child
from benchmarks.far_end import Ports
from benchmarks.machine import load, scratch
from benchmarks.node import running_node
from benchmarks.verdict import Verdict, finish
from benchmarks.voice_agents import open_pool, seat
from benchmarks.voice_far_end import Waits
from onhook.agents.definition import AgentKind

CALLS = 12
WANTED = 50
"""So many interruptions, and so many replies to answers, at least."""
LIMIT_S = 75.0
LOOK_S = 2.0
BARGE_IN_MS, REPLY_MS = 200.0, 900.0
QUESTION = "Are you near a line of your own now, or will you rely on our memory in May, and in June, or all year long?"
"""All of its sounds are voiced and few are stops: whoever cuts it cuts a sound, not a pause within a word."""
SCRIPT = {
    "start": "ask",
    "states": {
        "ask": {
            "say": QUESTION,
            "expect": [{"words": ["yes"], "goto": "ask"}, {"keys": "1", "goto": "over"}],
            "on_no_match": {"goto": "ask"},
        },
        "over": {"say": "Goodbye.", "hang_up": True},
    },
}


def measure() -> Verdict:
    """Let them talk until there is enough to judge."""
    with child("voice_far_end", "interrupters") as far_end:
        waits = uvloop.run(_measure(far_end))
    barge_in, reply = _p50_p95(waits.barge_ins), _p50_p95(waits.replies)
    return Verdict(
        "voice_latency",
        f"barge-in p50 {barge_in[0]:.0f}, p95 {barge_in[1]:.0f} ms; reply {reply[0]:.0f}, {reply[1]:.0f} ms",
        f"p95 <= {BARGE_IN_MS:g} ms; <= {REPLY_MS:g} ms",
        max(barge_in[1] / BARGE_IN_MS, reply[1] / REPLY_MS),
        (
            f"{len(waits.barge_ins)} interruptions, longest {max(waits.barge_ins):.0f} ms; "
            f"{len(waits.replies)} replies, longest {max(waits.replies):.0f} ms; {CALLS} calls; {load()}",
        ),
    )


async def _measure(far_end: Child) -> Waits:
    """Return what the callers noted. Raises `TimeoutError` when they get to say too little."""
    ports = far_end.hear(Ports)
    with scratch() as directory:
        async with running_node(directory, ports) as onhook, asyncio.timeout(LIMIT_S):
            await open_pool(onhook)
            await seat(onhook, AgentKind.SCRIPTED, script=SCRIPT)
            await onhook.place(CALLS)
            waits = Waits()
            while min(len(waits.barge_ins), len(waits.replies)) < WANTED:
                await asyncio.sleep(LOOK_S)
                waits = far_end.ask("waits", Waits)
                if onhook.ended:
                    raise RuntimeError("a call has ended")
            return waits


def _p50_p95(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    finish(measure)
