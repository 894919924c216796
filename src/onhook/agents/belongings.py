"""Which tasks, connections and programs of an agent process belong to which call.

An agent runs in a context of its own (`contextvars`), and so does all that it begins: the event loop of the process
(`AgentLoop`) enters each task, connection and program in the books of the call that it was made for. When the call is
over, what is still there is counted, cut and reported. Threads cannot be told apart, and cannot be ended.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any

import uvloop

POLL_S = 0.005

_owner: contextvars.ContextVar["Belongings | None"] = contextvars.ContextVar("onhook_agent_call", default=None)


class Belongings:
    """What was made for one call, in `context`."""

    def __init__(self) -> None:
        self.context = contextvars.copy_context()
        self.context.run(_owner.set, self)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: list[asyncio.WriteTransport | asyncio.DatagramTransport] = []
        self._programs: list[asyncio.SubprocessTransport] = []

    def add_task(self, task: asyncio.Task[Any]) -> None:
        """Enter a task."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def add_connection(self, transport: asyncio.WriteTransport | asyncio.DatagramTransport) -> None:
        """Enter a connection."""
        self._connections = [one for one in self._connections if not one.is_closing()]
        self._connections.append(transport)

    def add_program(self, program: asyncio.SubprocessTransport) -> None:
        """Enter a child process."""
        self._programs = [one for one in self._programs if one.get_returncode() is None]
        self._programs.append(program)

    def count(self) -> int:
        """Return how much is there still."""
        return len(self._tasks) + self._held()

    def forgotten(self) -> int:
        """Return how much of it nobody has told to end. A task that is being cancelled still ends by itself."""
        return sum(not task.cancelling() for task in self._tasks) + self._held()

    async def settle(self, limit_s: float) -> int:
        """Wait until nothing is there, not longer than `limit_s`; return how much is there still."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while (count := self.count()) and loop.time() < deadline:  # noqa: ASYNC110 - a program's end is no event
            await asyncio.sleep(POLL_S)
        return count

    def cut(self) -> None:
        """Cancel the tasks, abort the connections, kill the programs."""
        for task in self._tasks:
            task.cancel()
        for connection in self._connections:
            connection.abort()
        for program in self._programs:
            with contextlib.suppress(ProcessLookupError):
                program.kill()

    def _held(self) -> int:
        """Return how many connections are open and programs running."""
        open_connections = sum(not one.is_closing() for one in self._connections)
        return open_connections + sum(one.get_returncode() is None for one in self._programs)


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Make things in here for the whole process: they outlive the call that happens to need them first."""
    token = _owner.set(None)
    try:
        yield
    finally:
        _owner.reset(token)


class AgentLoop(uvloop.Loop):
    """The event loop of an agent process; it enters what is made in the books of the call that it is made for."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(_make_task)

    async def create_connection(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """See `asyncio.loop.create_connection`."""
        return _enter_connection(await super().create_connection(*args, **kwargs))

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """See `asyncio.loop.create_unix_connection`."""
        return _enter_connection(await super().create_unix_connection(*args, **kwargs))

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """See `asyncio.loop.create_datagram_endpoint`."""
        return _enter_connection(await super().create_datagram_endpoint(*args, **kwargs))

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """See `asyncio.loop.subprocess_exec`."""
        return _enter_program(await super().subprocess_exec(*args, **kwargs))

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """See `asyncio.loop.subprocess_shell`."""
        return _enter_program(await super().subprocess_shell(*args, **kwargs))


def _make_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    context: contextvars.Context | None = options.get("context")
    owner = _owner.get() if context is None else context.get(_owner)
    if owner is not None:
        owner.add_task(task)
    return task


def _enter_connection(made: tuple[Any, Any]) -> tuple[Any, Any]:
    return _enter(made, Belongings.add_connection)


def _enter_program(made: tuple[Any, Any]) -> tuple[Any, Any]:
    return _enter(made, Belongings.add_program)


def _enter(made: tuple[Any, Any], enter: Callable[[Belongings, Any], None]) -> tuple[Any, Any]:
    owner = _owner.get()
    if owner is not None:
        enter(owner, made[0])
    return made
