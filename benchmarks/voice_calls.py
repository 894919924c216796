"""What a talking call costs: CPU and memory of the line process and of the agent processes.

Agents of kind `websocket` talk 55 % of the time, in words of a bot in a process of its own; the callers, in another,
talk for three of every eight seconds. The line process is this one: SIP, RTP, and the ear with its model on each call.
CPU is a process's over the window, all threads. Its gates are multiples of what one stream of the ear's model costs
in the same run, on the same audio: that is most of what the line does for a conversation, and as fast or slow as the
machine is. Memory is the growth of the resident sets from 25 calls to 100, or to as many as take half a core of the
line process where 100 take more.
"""

import asyncio
import gc
import os
import statistics
import time

import msgspec
import uvloop

from benchmarks.child import Child, child
from benchmarks.far_end import Ports
from benchmarks.machine import cpu_ns, load, pss_kb, rss_kb, scratch
from benchmarks.node import BenchNode, running_node
from benchmarks.verdict import Verdict, finish
from benchmarks.voice_agents import open_pool, seat
from onhook.agents.definition import AgentKind
from onhook.agents.pool import AgentPool
from onhook.lines.sandbox.talker import SILENCE, recording
from onhook.voice.vad import VadModel, load_vad

FEW, MANY = 25, 100
MOST_PERCENT = 50.0
SETTLE_S, WINDOW_S = 3.0, 16.0
"""The window is two turns of the callers and of the bot."""
FRAME_NS = 20_000_000
VAD_TURNS = 5
LINE_RATIO, AGENT_RATIO = 2.5, 2.5
"""A thin core of this kind, with a model of its own for each call, was measured with 2.5 times what its model took."""
LINE_KB, AGENT_KB = 50.0, 100.0


class Sample(msgspec.Struct, frozen=True):
    """What so many calls take: percent of a core each, in the line process and in the agent processes, and memory."""

    calls: int
    line: float
    agents: float
    line_kb: int
    agents_kb: int


def measure() -> Verdict:
    """Measure with few calls, and with many."""
    with child("voice_far_end", "chatters") as far_end, child("voice_bot") as bot:
        few, many, vad = uvloop.run(_measure(far_end, bot.hear(int)))
    more = many.calls - few.calls
    line, agents = max(few.line, many.line) / vad, max(few.agents, many.agents) / vad
    line_kb, agents_kb = (many.line_kb - few.line_kb) / more, (many.agents_kb - few.agents_kb) / more
    return Verdict(
        "voice_calls",
        f"line {line:.1f} x, agent {agents:.1f} x a VAD; {line_kb:.0f} + {agents_kb:.0f} KB a call",
        f"<= {LINE_RATIO:g} x, {AGENT_RATIO:g} x; {LINE_KB:g} + {AGENT_KB:g} KB",
        max(line / LINE_RATIO, agents / AGENT_RATIO, line_kb / LINE_KB, agents_kb / AGENT_KB),
        (
            *(
                f"{one.calls} calls: {one.line:.2f} % of a core each in the line process, {one.agents:.2f} % in the "
                f"agent processes"
                for one in (few, many)
            ),
            f"{100 / many.line:.0f} talking calls would take a core of the line process; one VAD stream {vad:.3f} %",
            load(),
        ),
    )


async def _measure(far_end: Child, bot_port: int) -> tuple[Sample, Sample, float]:
    """Return both samples, and the share of a core that one VAD stream takes, in percent."""
    ports = far_end.hear(Ports)
    with scratch() as directory:
        async with running_node(directory, ports) as onhook:
            vad = load_vad(lambda _judge: None)
            pool = await open_pool(onhook)
            await seat(onhook, AgentKind.WEBSOCKET, url=f"ws://127.0.0.1:{bot_port}/", start_timeout_ms=30_000)
            shares = [_vad_percent(vad)]
            few = await _sample(onhook, pool, FEW)
            shares.append(_vad_percent(vad))
            most = min(MANY, max(2 * FEW, int(MOST_PERCENT / few.line)))
            many = await _sample(onhook, pool, most - FEW)
            shares.append(_vad_percent(vad))
            if len(onhook.ended) or onhook.node.conversations.live != most:
                raise RuntimeError(f"{len(onhook.ended)} calls ended, {onhook.node.conversations.live} have an agent")
            return few, many, statistics.median(shares)


async def _sample(onhook: BenchNode, pool: AgentPool, more: int) -> Sample:
    """Place more calls; return what all take."""
    await onhook.place(more)
    await asyncio.sleep(SETTLE_S)
    calls, pids = onhook.node.conversations.live, pool.pids()
    line, agents, began = cpu_ns(os.getpid()), sum(map(cpu_ns, pids)), time.monotonic_ns()
    await asyncio.sleep(WINDOW_S)
    percent = 100 / (time.monotonic_ns() - began) / calls
    line_percent = (cpu_ns(os.getpid()) - line) * percent
    agents_percent = (sum(map(cpu_ns, pids)) - agents) * percent
    gc.collect()
    return Sample(calls, line_percent, agents_percent, rss_kb(), sum(map(pss_kb, pids)))


def _vad_percent(model: VadModel) -> float:
    """Return the share of a core, in percent, that one stream of the model takes on a caller's audio."""
    audio = (*recording("interruption"), *[SILENCE] * 240)
    costs = []
    for _ in range(VAD_TURNS):
        stream, began = model.stream(lambda _window: None), time.thread_time_ns()
        for frame in audio:
            stream.hear(frame)
            model.judge()
        costs.append((time.thread_time_ns() - began) / len(audio))
    return 100 * statistics.median(costs) / FRAME_NS


if __name__ == "__main__":
    finish(measure)
