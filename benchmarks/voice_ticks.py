"""60 talking calls beside agent processes that burn all the CPU they get: how even the audio stays.

The node is in this process, pinned to the first core; its agent processes, one for each core, compute without end and
may run anywhere, so on that core, too. A control process on the node's core sends 20 streams and does nothing else, as
in `calls_per_core`: gaps that it has too are the machine's. A gap is late over 40 ms. How late the ticks of the line's
clock were, and how long its thread was ready to run and had to wait for its core, is told as a detail.

On a machine where 60 calls take more than a third of a core there are as many as take that: a node cannot have more
than its half of a core that it shares with a busy process, and what it does then is no question of ticks.
"""

import asyncio
import os
import time

import msgspec
import uvloop

from benchmarks.child import Child, child
from benchmarks.far_end import Gaps, Ports, Report
from benchmarks.machine import cpu_ns, load, pin, scratch, waited_ms
from benchmarks.node import BenchNode, running_node
from benchmarks.verdict import Verdict, finish
from benchmarks.voice_agents import open_pool, seat
from onhook.agents.definition import AgentKind
from onhook.agents.pool import COMMAND
from onhook.metrics.histogram import Histogram

FEW, CALLS = 15, 60
MOST_PERCENT = 33.0
SETTLE_S, WINDOW_S = 3.0, 20.0
GAPS_PERCENT = 0.1
BUSY = (*COMMAND[:-1], "benchmarks.voice_busy_host")


class Seen(msgspec.Struct, frozen=True):
    """What was seen: gaps at the far end, the lateness of the ticks here, and ms that our thread had to wait."""

    report: Report
    lateness: dict[str, int]
    waited: float
    calls: int


def measure() -> Verdict:
    """Place the calls, and watch them for a while."""
    with child("voice_far_end", "chatters") as far_end, child("voice_bot") as bot:
        port = bot.hear(int)
        pin(0)
        seen = uvloop.run(_measure(far_end, port))
    calls, control = seen.report.calls, seen.report.control
    excess = max(0.0, calls.late_percent - control.late_percent)
    ticks = seen.lateness["+Inf"]
    return Verdict(
        "voice_ticks",
        f"gaps over 40 ms +{excess:.3f} %; {seen.calls} calls beside busy agents",
        f"<= {GAPS_PERCENT:g} %",
        excess / GAPS_PERCENT,
        (
            f"calls: {_told(calls)}",
            f"control: {_told(control)}; waited for the core {seen.waited:.0f} ms of {WINDOW_S:.0f} s; {load()}",
            f"{ticks} ticks: " + ", ".join(f"{_percent_over(seen.lateness, ms)} over {ms} ms" for ms in (5, 20, 40)),
        ),
    )


async def _measure(far_end: Child, bot_port: int) -> Seen:
    ports = far_end.hear(Ports)
    with scratch() as directory:
        async with running_node(directory, ports) as onhook:
            await open_pool(onhook, BUSY)
            await seat(onhook, AgentKind.WEBSOCKET, url=f"ws://127.0.0.1:{bot_port}/", start_timeout_ms=30_000)
            placed = await _place(onhook)
            with child("control_stream", str(ports.media[0])):
                await asyncio.sleep(SETTLE_S)
                far_end.ask("reset", dict)
                media = onhook.node.media
                media.lateness, waited = Histogram(media.lateness.bounds), waited_ms()
                await asyncio.sleep(WINDOW_S)
                waited, lateness = waited_ms() - waited, dict(media.lateness.cumulative())
                report = far_end.ask("report", Report)
            if onhook.ended or onhook.node.conversations.live != placed:
                raise RuntimeError(f"{len(onhook.ended)} calls ended, {onhook.node.conversations.live} have an agent")
            return Seen(report, lateness, waited, placed)


async def _place(onhook: BenchNode) -> int:
    """Place a few calls, see what one takes, and place as many more as the node can hold; return how many there are."""
    await onhook.place(FEW)
    await asyncio.sleep(SETTLE_S)
    cpu, began = cpu_ns(os.getpid()), time.monotonic_ns()
    await asyncio.sleep(SETTLE_S)
    percent = 100 * (cpu_ns(os.getpid()) - cpu) / (time.monotonic_ns() - began) / FEW
    calls = max(FEW, min(CALLS, int(MOST_PERCENT / percent)))
    await onhook.place(calls - FEW)
    return calls


def _percent_over(lateness: dict[str, int], ms: int) -> str:
    """Return the share of ticks that were later than a bound of the histogram."""
    ticks = lateness["+Inf"]
    return f"{100 * (ticks - lateness[str(ms / 1000)]) / max(1, ticks):.1f} %"


def _told(gaps: Gaps) -> str:
    return f"{gaps.late} of {gaps.gaps} gaps on {gaps.streams} streams late, {gaps.late_percent:.3f} %"


if __name__ == "__main__":
    finish(measure)
