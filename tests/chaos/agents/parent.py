"""A node that is nothing but two agent processes, the first one busy: prints their process ids and waits."""

import asyncio
import sys
from pathlib import Path

import uvloop

from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.agents.messages import CallInfo, Dtmf, FromAgent, MarkAsked
from onhook.agents.pool import AgentPool

BUSY = AgentDefinition(AgentKind.SCRIPTED, options={"act": "Busy"})


class Line:
    """Knows when its agent is about to be busy."""

    def __init__(self) -> None:
        self.busy = asyncio.Event()

    def on_agent(self, message: FromAgent) -> None:
        if isinstance(message, MarkAsked):
            self.busy.set()


async def main() -> None:
    pool = AgentPool(2, (sys.executable, str(Path(__file__).with_name("rude_host.py"))))
    await pool.open()
    while pool.ready() < pool.count:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    line = Line()
    call = CallInfo("call_1", "sip-1", "agent_1", "outbound", "+12025550100", "+12025550101", BUSY)
    pool.start(call, line).send(Dtmf("1"))
    await line.busy.wait()
    print(*pool.pids(), flush=True)
    await asyncio.Event().wait()


uvloop.run(main())
