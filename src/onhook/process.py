"""The node as a process of its own: the directory that it holds, the wish to stop, the memory that stays."""

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path


class NodeError(Exception):
    """The node cannot start; the message says why."""


@contextlib.contextmanager
def owning(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: two servers on one directory would end each other's calls.

    Raises `NodeError` when another holds it.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data_dir / "server.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NodeError(f"another onhook server is running on {data_dir}") from error
        (data_dir / "node.pid.new").write_text(str(os.getpid()))
        (data_dir / "node.pid.new").replace(data_dir / "node.pid")  # whoever reads it finds a whole number
        yield


def stop_signal() -> asyncio.Event:
    """Return an event set by SIGTERM, SIGINT, or the end of a supervisor's pipe on standard input."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if not sys.stdin.isatty():
        loop.add_reader(sys.stdin.fileno(), _at_end_of_input, loop, stopping)
    return stopping


def _at_end_of_input(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        loop.remove_reader(sys.stdin.fileno())
        stopping.set()


def spare_what_stays() -> None:
    """Have the garbage collector pass over all that is loaded, and go on with what comes from now on.

    The modules and schemas of a node are a hundred thousand objects for life. A full collection that visits them holds
    up the event loop, and with it the audio of every call, for 70 ms.
    """
    gc.freeze()
    gc.enable()
