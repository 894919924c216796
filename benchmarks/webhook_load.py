"""A store and a courier that are killed: queues events and delivers them until somebody ends this process.

python -m benchmarks.webhook_load DIRECTORY RATE; with RATE 0 it only delivers what is left, and leaves. Says
`true` when it has begun, and when it is through.
"""

import asyncio
import sys
from pathlib import Path

import uvloop

from benchmarks.stores import new_call
from benchmarks.webhooks import delivering, through
from onhook.store.sqlite import SqliteStore


async def main(directory: Path, rate: float) -> None:
    """Make events at `rate` a second for ever, or deliver the rest."""
    store = SqliteStore(directory / "onhook.db")
    await store.open()
    async with delivering(store):
        print("true", flush=True)
        while rate:
            await store.create_call(new_call())
            await asyncio.sleep(1 / rate)
        await through(store)
        print("true", flush=True)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), float(sys.argv[2])))
