"""A node that is nothing but its agent processes: prints their process ids and waits to be killed."""

import asyncio
import sys
from pathlib import Path

import uvloop

from onhook.agents.pool import AgentPool


async def main() -> None:
    pool = AgentPool(2, (sys.executable, str(Path(__file__).with_name("rude_host.py"))))
    await pool.open()
    while pool.ready() < pool.count:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    print(*pool.pids(), flush=True)
    await asyncio.Event().wait()


uvloop.run(main())
