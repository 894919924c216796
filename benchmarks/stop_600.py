"""600 live calls with audio, stopped at once.

The node is in this process, the far end in another. The clock starts at the call of `Ending.end_many`; a BYE counts
when the kernel has it at the far end's socket, a confirmation when its 2xx was taken by our SIP engine. All three
limits are absolute: they are what a user waits for.
"""

import asyncio
import time

import uvloop

from benchmarks.child import Child, child
from benchmarks.far_end import Ports, Report
from benchmarks.machine import load, scratch
from benchmarks.node import running_node
from benchmarks.verdict import Verdict, finish
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Result
from onhook.store.store import StopOrder

CALLS = 600
BYES_MS, MOST_MS, ALL_MS = 250.0, 500.0, 1600.0
MOST = 0.99
TALK_S = 1.0


class Stopped:
    """The times of one bulk stop, in ms from its call, each list in order; `committed` is when that returned."""

    def __init__(self, byes: list[float], confirmed: list[float], committed: float) -> None:
        self.byes = sorted(byes)
        self.confirmed = sorted(confirmed)
        self.committed = committed

    def verdict(self, name: str, note: str) -> Verdict:
        """Compare with the limits; a BYE or a confirmation that never came misses by far."""
        if len(self.byes) < CALLS or len(self.confirmed) < CALLS:
            figure = f"only {len(self.byes)} BYEs and {len(self.confirmed)} confirmations of {CALLS}"
            return Verdict(name, figure, "all", float("inf"))
        last_bye, most, last = self.byes[-1], self.confirmed[int(CALLS * MOST) - 1], self.confirmed[-1]
        return Verdict(
            name,
            f"BYEs in {last_bye:.0f} ms; 99 % confirmed in {most:.0f}, all in {last:.0f} ms",
            f"<= {BYES_MS:.0f} ms; {MOST_MS:.0f}, {ALL_MS:.0f} ms",
            max(last_bye / BYES_MS, most / MOST_MS, last / ALL_MS),
            (f"first BYE after {self.byes[0]:.0f} ms, {note}",),
        )


def measure() -> Verdict:
    """Place the calls, let them talk, stop them."""
    with child("far_end") as far_end:
        stopped = uvloop.run(_measure(far_end))
    return stopped.verdict("stop_600", f"end_many returned after {stopped.committed:.0f} ms; {load()}")


async def _measure(far_end: Child) -> Stopped:
    ports = far_end.hear(Ports)
    with scratch() as directory:
        async with running_node(directory, ports) as onhook:
            calls = await onhook.place(CALLS)
            await asyncio.sleep(TALK_S)
            began = time.time_ns()
            cause = Cause("system", Reason.API_STOP, q850=16)
            await onhook.node.ending.end_many([StopOrder(call_id, cause, began // 1_000_000) for call_id in calls])
            committed = (time.time_ns() - began) / 1e6
            await onhook.all_ended(CALLS, 10.0)
            byes = [(at - began) / 1e6 for at in far_end.ask("report", Report).byes.values()]
            proofs = [leg.proof for leg in onhook.ended.values() if leg.proof.result is Result.CONFIRMED]
            confirmed = [proof.confirmed_at - began / 1e6 for proof in proofs if proof.confirmed_at is not None]
            return Stopped(byes, confirmed, committed)


if __name__ == "__main__":
    finish(measure)
