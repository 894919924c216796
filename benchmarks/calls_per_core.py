"""600 live calls, G.711 both ways, on one core: how even the audio is, and what a call costs.

The node is in this process, pinned to the first core; the far end, in another process, echoes every packet and takes
the kernel's time of its arrival. A control process on the node's core sends 20 streams and does nothing else: gaps that
it has too are the machine's. A gap is late over 40 ms; a packet that is lost makes one. How long the node's main thread
was ready and had to wait for its core is told as a detail: that is time that neighbours took.

CPU is our process's over the window, with everything that runs in it. Memory is the growth of its resident set over
the calls, once the store's page caches are full (they are bounded, whatever the number of calls). The agents are
silent: a frame of silence costs the wire what speech does.
"""

import asyncio
import gc
import os
import time

import uvloop

from benchmarks.child import Child, child
from benchmarks.far_end import Gaps, Ports, Report
from benchmarks.machine import cpu_ns, load, pin, rss_kb, scratch, waited_ms
from benchmarks.node import running_node
from benchmarks.stores import answered_calls, stop_order
from benchmarks.verdict import Verdict, finish
from onhook.server import Node

CALLS = 600
WINDOW_S = 10.0
EARLIER_CALLS, AT_ONCE = 1000, 10
GAPS_PERCENT, CPU_PERCENT, MEMORY_KB = 0.1, 0.1, 25.0


def measure() -> Verdict:
    """Place the calls, and watch them for a while."""
    with child("far_end") as far_end:
        pin(0)
        report, cpu, memory, waited = uvloop.run(_measure(far_end))
    excess = max(0.0, report.calls.late_percent - report.control.late_percent)
    return Verdict(
        "calls_per_core",
        f"gaps over 40 ms +{excess:.3f} %; {cpu:.3f} % of a core, {memory:.1f} KB a call",
        f"<= {GAPS_PERCENT:g} %; < {CPU_PERCENT:g} %, < {MEMORY_KB:g} KB",
        max(excess / GAPS_PERCENT, cpu / CPU_PERCENT, memory / MEMORY_KB),
        (
            f"{CALLS} calls: {_told(report.calls)}",
            f"control: {_told(report.control)}; waited for the core {waited:.0f} ms of {WINDOW_S:.0f} s; {load()}",
        ),
    )


async def _measure(far_end: Child) -> tuple[Report, float, float, float]:
    """Return what the far end saw, the CPU of a call in percent of a core, its memory in KB, and the ms we waited."""
    ports = far_end.hear(Ports)
    with scratch() as directory:
        async with running_node(directory, ports) as onhook:
            await fill_caches(onhook.node)
            before_kb = rss_kb()
            calls = await onhook.place(CALLS)
            gc.collect()
            await asyncio.sleep(1.0)
            with child("control_stream", str(ports.media[0])):
                await asyncio.sleep(1.0)
                far_end.ask("reset", dict)
                waited, cpu, began = waited_ms(), cpu_ns(os.getpid()), time.monotonic_ns()
                await asyncio.sleep(WINDOW_S)
                share = (cpu_ns(os.getpid()) - cpu) / (time.monotonic_ns() - began)
                waited = waited_ms() - waited
                report = far_end.ask("report", Report)
            memory = (rss_kb() - before_kb) / len(calls)
            return report, 100 * share / len(calls), memory, waited


async def fill_caches(node: Node) -> None:
    """Write calls that have no leg, and end them: what that leaves in memory is the store's, not the calls'.

    A few at a time, so that no freed heap is left behind in which the calls to be weighed would hide.
    """
    for _ in range(EARLIER_CALLS // AT_ONCE):
        calls = await answered_calls(node.store, AT_ONCE)
        await node.ending.end_many([stop_order(call_id) for call_id in calls])
    gc.collect()


def _told(gaps: Gaps) -> str:
    return f"{gaps.late} of {gaps.gaps} gaps on {gaps.streams} streams late, {gaps.late_percent:.3f} %"


if __name__ == "__main__":
    finish(measure)
