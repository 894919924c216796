"""The agent processes of a node: children that host agents, watched, replaced, and gone with the node."""

import asyncio
import functools
import itertools
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from onhook.agents.link import LinkError
from onhook.agents.messages import CallInfo, Lost
from onhook.agents.port import AgentListener
from onhook.agents.process import AgentProcess, Counters, Session

COMMAND = (sys.executable, "-m", "onhook.agents.host")
LONG_LIFE_S = 5.0
HOPELESS = 5
"""After so many short lives in a row a process is no longer counted upon, though it is tried again."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
LEAVE_LIMIT_S = 1.0
"""What the processes get at `close` before they are killed."""
COMPONENT = "agent_processes"
CALL_NUMBERS = 1 << 32

log = logging.getLogger(__name__)


class AgentPool:
    """`count` agent processes; an `onhook.agents.port.AgentPort`.

    `open` it in the event loop of the node; `close` it there before the loop ends. It is not opened twice.
    """

    def __init__(self, count: int, command: Sequence[str] = COMMAND) -> None:
        self.counters = Counters()
        self._command = command
        self._slots = [_Slot() for _ in range(count)]
        self._numbers = itertools.count(1)
        self._closing = asyncio.Event()
        # The kernel kills a child when the thread that started it ends: so one thread, as old as the pool.
        self._spawner = ThreadPoolExecutor(1, "agent-spawner")
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin to start the processes; calls can be placed on them at once. The first call does it, too."""
        self._begin()

    async def close(self) -> None:
        """Stop all agents and end all processes, within little more than `LEAVE_LIMIT_S`."""
        self._closing.set()
        for process in self._processes():
            process.leave()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE_LIMIT_S)
        for process in self._processes():
            process.kill("the server is shutting down")
        await asyncio.gather(*self._tasks)
        self._spawner.shutdown(wait=False)

    def start(self, call: CallInfo, listener: AgentListener) -> Session:
        """See `AgentPort`."""
        self._begin()
        number = next(self._numbers) % CALL_NUMBERS
        process = self._least_loaded()
        session = Session(number, listener, process)
        try:
            if process is None:
                raise LinkError("no agent process is up")
            process.start(call, session)
        except LinkError as error:
            self.counters.lost += 1
            asyncio.get_running_loop().call_soon(session.end, Lost(str(error)))
        return session

    def components(self) -> dict[str, str]:
        """See `AgentPort`."""
        return self._latest_components() | {COMPONENT: self._condition()}

    @property
    def count(self) -> int:
        """How many processes there are to be."""
        return len(self._slots)

    def ready(self) -> int:
        """Return how many processes are up."""
        return sum(process.alive and process.ready for process in self._processes())

    def pids(self) -> list[int]:
        """Return the process ids of the children that there are."""
        return [process.pid for process in self._processes() if process.pid is not None]

    # --- choice -----------------------------------------------------------------------------------------

    def _processes(self) -> list[AgentProcess]:
        return [slot.process for slot in self._slots if slot.process is not None]

    def _least_loaded(self) -> AgentProcess | None:
        """Return the process for the next call: one that is up and answers before one that is coming up."""
        usable = [
            slot.process
            for slot in self._slots
            if slot.process is not None and slot.process.alive and (slot.process.ready or slot.short_lives < HOPELESS)
        ]
        return min(usable, key=_burden, default=None) if not self._closing.is_set() else None

    def _latest_components(self) -> dict[str, str]:
        """Return what a process that is up says of itself, else what one that is gone said."""
        known = [process.components for process in self._processes()] + [slot.components for slot in self._slots]
        return next((components for components in known if components), {})

    def _condition(self) -> str:
        if self.ready():
            return "ok"
        if all(slot.short_lives >= HOPELESS for slot in self._slots):
            return f"do not come up: the last one {self._slots[0].last_end}"
        return "are starting"

    # --- lives ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._tasks or self._closing.is_set():
            return
        for slot in self._slots:
            slot.process = self._new_process(slot)
            self._tasks.append(asyncio.get_running_loop().create_task(self._keep_alive(slot)))

    async def _keep_alive(self, slot: "_Slot") -> None:
        """Run one process after the other until the pool is closed."""
        while not self._closing.is_set():
            process = slot.process = slot.process or self._new_process(slot)
            slot.last_end = await process.live()
            if not self._closing.is_set():
                log.warning("agent process %s %s; another one is started", process.pid, slot.last_end)
            if slot.process is None:
                await self._pause(slot.short_lives)

    def _new_process(self, slot: "_Slot") -> AgentProcess:
        return AgentProcess(self._command, self._spawner, self.counters, functools.partial(self._replace, slot))

    def _replace(self, slot: "_Slot") -> None:
        """Put a new process into the place of one that ends, so that calls find one at any moment.

        One that does not live long gets no successor before a pause.
        """
        ending, slot.process = slot.process, None
        if ending is not None:
            slot.components = ending.components or slot.components
            long_life = ending.ready and ending.age_s > LONG_LIFE_S
            slot.short_lives = 0 if long_life else slot.short_lives + 1
        if slot.short_lives <= 1 and not self._closing.is_set():
            slot.process = self._new_process(slot)

    async def _pause(self, short_lives: int) -> None:
        """Wait before the next try, or for the end of the pool."""
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (short_lives - 2))
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait((closing,), timeout=pause)
        closing.cancel()


class _Slot:
    """The place of one process, which has one after the other."""

    def __init__(self) -> None:
        self.process: AgentProcess | None = None
        self.components: dict[str, str] = {}
        self.short_lives = 0
        """Lives in a row that ended soon."""
        self.last_end = ""


def _burden(process: AgentProcess) -> tuple[bool, bool, bool, int]:
    return process.tainted, process.unanswered > 1, not process.ready, len(process.calls)
