"""An agent process: `python -m onhook.agents.host DESCRIPTOR PARENT`, started by `onhook.agents.pool`.

It hosts agents, many at a time, for the line process at the other end of the socket. It leaves when that socket ends,
and the kernel kills it with its parent, even when it is stopped or busy.
"""

import asyncio
import ctypes
import functools
import gc
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from onhook.agents.agent import STOP_LIMIT_S
from onhook.agents.belongings import AgentLoop
from onhook.agents.definition import AgentKind
from onhook.agents.hosted import HostedCall
from onhook.agents.kinds import FACTORIES, Kinds
from onhook.agents.link import (
    Frame,
    FrameKind,
    Hello,
    Link,
    LinkError,
    encode,
    pack,
    read_call,
    read_reason,
    read_to_agent,
)

LEAVE_LIMIT_S = STOP_LIMIT_S + 0.2
"""What all agents together get when the socket has ended."""
FLUSH_LIMIT_S = 0.1
PR_SET_PDEATHSIG = 1
NICENESS = 10
"""Where agents and the line want the same core the line goes first: a late answer is heard less than a gap in it."""

log = logging.getLogger(__name__)


class Host:
    """The calls of this process."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._link = Link(self._take, self._ended.set_result)
        self._calls: dict[int, HostedCall] = {}
        self._lives: set[asyncio.Task[None]] = set()

    async def serve(self, line: socket.socket) -> None:
        """Host calls until the socket ends; then stop them all, within a limit."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self._link, sock=line)
        self._link.send(encode(FrameKind.HELLO, pack(Hello(self._kinds.components))))
        warming = asyncio.get_running_loop().create_task(self._warm())
        await self._ended
        warming.cancel()
        for call in self._calls.values():
            call.stop("the line process is leaving")
        if self._lives:
            await asyncio.wait(self._lives, timeout=LEAVE_LIMIT_S)
        self._link.close()
        await asyncio.wait((self._link.closed,), timeout=FLUSH_LIMIT_S)

    async def _warm(self) -> None:
        await self._kinds.warm()
        gc.freeze()  # What has been loaded stays: the collector need not look at it during calls.

    def _take(self, frame: Frame) -> None:
        """Take a frame; one for a call that is over already is no fault."""
        call = self._calls.get(frame.call)
        match frame.kind:
            case FrameKind.AUDIO if call is not None:
                call.audio(frame.payload)
            case FrameKind.MESSAGE if call is not None:
                call.message(read_to_agent(frame.payload), frame.epoch)
            case FrameKind.START:
                self._start(frame.call, frame.payload)
            case FrameKind.STOP if call is not None:
                call.stop(read_reason(frame.payload))
            case FrameKind.PING:
                self._link.send(encode(FrameKind.PONG))
            case FrameKind.PONG | FrameKind.HELLO:
                raise LinkError(f"{frame.kind.name} from the line process")

    def _start(self, number: int, payload: bytes) -> None:
        info = read_call(payload)
        create = functools.partial(self._kinds.create, info.definition.kind)
        call = self._calls[number] = HostedCall(number, info, self._link, create)
        life = asyncio.get_running_loop().create_task(call.live())
        self._lives.add(life)
        life.add_done_callback(functools.partial(self._forget, number))

    def _forget(self, number: int, life: asyncio.Task[None]) -> None:
        self._lives.discard(life)
        self._calls.pop(number, None)


def main(factories: Mapping[AgentKind, str] = FACTORIES) -> None:
    """Run the process; never returns."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(descriptor, False)  # A program that an agent starts must not keep the socket open.
    die_with(parent)
    os.nice(NICENESS)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    loop = AgentLoop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_log_stray_error)
    for number in (signal.SIGTERM, signal.SIGINT):  # For a whole service at once, say: the node has the last word.
        loop.add_signal_handler(number, lambda: None)
    loop.run_until_complete(_serve(socket.socket(fileno=descriptor), factories))
    logging.shutdown()
    os._exit(0)  # No agent's thread, task or exit handler may keep the process.


async def _serve(line: socket.socket, factories: Mapping[AgentKind, str]) -> None:
    await Host(Kinds(factories)).serve(line)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` (strictly: its thread that started us) dies; Linux only.

    Raises `OSError`. Leaves at once when the parent is dead already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL)) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


def _log_stray_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception that nobody took: its type and place. Its text may have numbers and secrets in it."""
    error = context.get("exception")
    where = "" if error is None else "".join(traceback.format_tb(error.__traceback__))
    log.warning("%s: %s\n%s", context.get("message", "stray error"), type(error).__name__, where)


if __name__ == "__main__":
    main()
