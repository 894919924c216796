"""Agent processes that are real, with agents that misbehave."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from onhook.agents import pool as pool_module
from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.agents.messages import (
    Acted,
    CallInfo,
    Cue,
    CueKind,
    Dtmf,
    Failed,
    FromAgent,
    Gone,
    HangUp,
    Heard,
    Interrupted,
    Lost,
    MarkAsked,
    Marked,
    Play,
    PressKeys,
    Say,
    Speech,
    Started,
)
from onhook.agents.pool import AgentPool
from onhook.agents.port import AgentSession
from onhook.agents.websocket import MAX_MARK
from onhook.lines.media.playout import MAX_QUEUED_MARKS

pytestmark = pytest.mark.chaos

HERE = Path(__file__).parent
HOST = (sys.executable, str(HERE / "rude_host.py"))
VOICE = bytes(range(160))


class Line:
    """The call's side of an agent: remembers what the agent said."""

    def __init__(self) -> None:
        self.messages: list[FromAgent] = []
        self.session: AgentSession
        self._news = asyncio.Event()

    def on_agent(self, message: FromAgent) -> None:
        self.messages.append(message)
        self._news.set()

    async def until(self, *kinds: type[FromAgent], limit_s: float = 10) -> FromAgent:
        """Wait for a message of one of these kinds, that has come already or not."""
        async with asyncio.timeout(limit_s):
            while True:
                for message in self.messages:
                    if isinstance(message, kinds):
                        return message
                self._news.clear()
                await self._news.wait()

    def of(self, kind: type[FromAgent]) -> list[FromAgent]:
        return [message for message in self.messages if isinstance(message, kind)]


def call(act: str, start_timeout_ms: int = 5_000, **options: int) -> CallInfo:
    definition = AgentDefinition(AgentKind.SCRIPTED, start_timeout_ms=start_timeout_ms, options={"act": act, **options})
    return CallInfo("call_1", "sip-1", "agent_1", "outbound", "+12025550100", "+12025550101", definition)


def put(pool: AgentPool, info: CallInfo) -> Line:
    line = Line()
    line.session = pool.start(info, line)
    return line


async def put_and_started(pool: AgentPool, act: str, **options: int) -> Line:
    line = put(pool, call(act, **options))
    await line.until(Started)
    return line


@contextlib.asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """See to it that the block leaves no child, descriptor, thread or task."""
    before = belongings()
    yield
    with contextlib.suppress(TimeoutError):
        await until(lambda: not belongings() - before, 2)  # A closed transport gives its descriptor back a bit later.
    assert not belongings() - before


def belongings() -> Counter[str]:
    """Return the children, descriptors and threads of this process, and the tasks of this event loop, by name."""
    me = Path("/proc/self")
    children = [f"child {pid}" for pid in children_of("self")]
    descriptors = [str(link.readlink()).partition("[")[0] for link in (me / "fd").iterdir() if link.is_symlink()]
    threads = [thread.name for thread in threading.enumerate()]
    tasks = [str(task.get_coro()) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    mine = Counter(children + descriptors + threads + tasks)
    del mine["/dev/null"]  # libuv keeps one open in reserve, once it has sockets.
    return mine


def children_of(process: int | str) -> list[int]:
    """Return the process ids that the threads of a process have started."""
    children: list[int] = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has just ended.
            children += map(int, (thread / "children").read_text().split())
    return children


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


async def until(condition: Callable[[], bool], limit_s: float = 20) -> None:
    """Look again and again until it is so. Raises `TimeoutError`."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what the conditions are about sets no event
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def open_pool(count: int = 1) -> AsyncIterator[AgentPool]:
    async with nothing_left():
        pool = AgentPool(count, HOST)
        await pool.open()
        try:
            await all_up(pool)
            yield pool
        finally:
            await pool.close()
        assert pool.pids() == []


async def all_up(pool: AgentPool) -> None:
    await until(lambda: pool.ready() == pool.count)


@pytest.fixture
async def pool() -> AsyncIterator[AgentPool]:
    async with open_pool() as pool:
        yield pool


async def has_ended(pid: int, limit_s: float = 5) -> bool:
    """Wait for the end of a process; take True when it is gone already."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)  # It can be read from when the process has ended.
    try:
        await asyncio.wait_for(ended.wait(), limit_s)
    except TimeoutError:
        return False
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
    return True


# --- agents that behave ------------------------------------------------------------------------------------


async def test_everything_that_call_and_agent_say_reaches_the_other_in_order(pool: AgentPool) -> None:
    line = await put_and_started(pool, "EchoAgent")
    line.session.audio(VOICE)
    line.session.send(Dtmf("5"))
    line.session.send(Marked("a", cleared=False))
    line.session.send(Speech(started=False, at_ms=700, duration_ms=300))
    line.session.send(Cue(CueKind.FAREWELL, "bye"))
    await line.until(HangUp)
    assert line.messages == [
        Started(),
        Play(VOICE),
        MarkAsked("key 5"),
        Acted("mark", '"a"', "false"),
        Heard("words", 700, 1000),
        PressKeys("1#"),
        HangUp("bye", drain=True),
    ]
    line.session.stop("over")
    assert await line.until(Gone) == Gone(clean=True)


async def test_what_was_said_before_an_interruption_was_known_is_dropped_and_its_marks_come_back_cleared(
    pool: AgentPool,
) -> None:
    line = await put_and_started(pool, "EchoAgent")
    for _ in range(50):
        line.session.audio(VOICE)
    line.session.send(Dtmf("9"))
    line.session.send(Interrupted(120))
    await line.until(Acted)
    assert line.messages == [
        Started(),
        Say("stopped after 120 ms"),
        Play(b"\x00" * 160),
        Acted("mark", '"key 9"', "true"),
    ]


async def test_nothing_but_its_end_is_heard_of_an_agent_that_was_stopped(pool: AgentPool) -> None:
    line = await put_and_started(pool, "EchoAgent")
    line.session.audio(VOICE)
    line.session.stop("over")
    line.session.stop("over")
    line.session.audio(VOICE)
    line.session.send(Dtmf("1"))
    await line.until(Gone)
    assert line.messages == [Started(), Gone(clean=True)]


async def test_a_call_placed_before_a_process_is_up_waits_for_it() -> None:
    async with nothing_left():
        pool = AgentPool(1, HOST)
        await pool.open()
        assert pool.components() == {"agent_processes": "are starting"}
        line = put(pool, call("EchoAgent"))
        stopped = put(pool, call("EchoAgent"))
        stopped.session.stop("over")
        assert await stopped.until(Gone) == Gone(clean=True)
        await line.until(Started)
        assert pool.components()["agent_processes"] == "ok"
        await pool.close()


async def test_the_first_call_opens_a_pool_and_the_first_after_its_end_finds_none() -> None:
    async with nothing_left():
        pool = AgentPool(1, HOST)
        await put_and_started(pool, "EchoAgent")
        await pool.close()
        assert await put(pool, call("EchoAgent")).until(Lost) == Lost("no agent process is up")


async def test_calls_are_spread_over_the_processes() -> None:
    async with open_pool(2) as pool:
        lines = [await put_and_started(pool, "EchoAgent") for _ in range(4)]
        os.kill(pool.pids()[0], signal.SIGKILL)
        await asyncio.gather(*(line.until(Lost) for line in (lines[0], lines[2])))
        lines[1].session.audio(VOICE)
        await lines[1].until(Play)
        assert pool.counters.lost == 2


async def test_the_pool_knows_what_its_processes_can_do(pool: AgentPool) -> None:
    components = pool.components()
    assert components.pop("chain").startswith("cannot be loaded: No module named")
    assert components == {"scripted": "ok", "rudeness": "ok", "agent_processes": "ok"}
    definition = AgentDefinition(AgentKind.CHAIN)
    line = put(pool, CallInfo("c", "s", "a", "outbound", "+12025550100", "+12025550101", definition))
    failed = await line.until(Failed)
    assert isinstance(failed, Failed)
    assert failed.error.startswith("chain agents: cannot be loaded")


async def test_closing_tells_every_call_that_its_agent_is_gone() -> None:
    async with open_pool(2) as pool:
        lines = [await put_and_started(pool, act) for act in ("EchoAgent", "EchoAgent", "StopHangs")]
        await pool.close()
    assert [line.messages[-1] for line in lines] == [Gone(clean=True), Gone(clean=True), Gone(clean=False)]
    assert pool.counters.killed == 0


# --- agents that do not ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "error"),
    [
        ("StartRaises", "the provider refused the key"),
        ("StartBreaks", "raised RuntimeError"),
        ("StartNever", "did not start within 300 ms"),
    ],
)
async def test_a_start_that_fails_is_told_without_the_text_of_a_stray_exception(
    pool: AgentPool, act: str, error: str
) -> None:
    line = put(pool, call(act, start_timeout_ms=300))
    await line.until(Failed)
    line.session.stop("over")
    await line.until(Gone)
    assert line.messages == [Failed(error), Gone(clean=True)]


async def test_a_start_that_never_returns_does_not_delay_the_stop(pool: AgentPool) -> None:
    line = put(pool, call("StartNever"))
    line.session.stop("over")
    assert await line.until(Gone, limit_s=0.4) == Gone(clean=True)


async def test_a_start_that_is_still_being_undone_when_it_is_cut_leaves_nothing(pool: AgentPool) -> None:
    line = put(pool, call("StartLetsGoSlowly"))
    await line.until(MarkAsked)
    line.session.stop("over")
    assert await line.until(Gone, limit_s=0.4) == Gone(clean=True)
    assert pool.counters.leaks == 0


async def test_a_process_that_is_busy_with_a_start_is_waited_for_and_has_left_nothing(pool: AgentPool) -> None:
    other = await put_and_started(pool, "EchoAgent")
    line = put(pool, call("StartsBusily"))
    await line.until(MarkAsked)
    line.session.stop("over")
    assert await line.until(Gone) == Gone(clean=True)
    other.session.audio(VOICE)
    await other.until(Play)
    assert (pool.counters.leaks, pool.counters.killed) == (0, 0)


async def test_a_start_that_fails_because_it_is_stopped_is_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_pool() as pool:
        line = put(pool, call("StartFailsWhenStopped"))
        await line.until(MarkAsked)
        line.session.stop("over")
        assert await line.until(Gone) == Gone(clean=True)
    assert "stopped while connecting" not in capfd.readouterr().err


@pytest.mark.parametrize(("act", "error"), [("AudioRaises", "RuntimeError"), ("AudioCancelled", "CancelledError")])
async def test_an_exception_in_a_callback_breaks_that_agent_only(pool: AgentPool, act: str, error: str) -> None:
    broken, whole = await put_and_started(pool, act), await put_and_started(pool, "EchoAgent")
    broken.session.audio(VOICE)
    broken.session.audio(VOICE)
    whole.session.audio(VOICE)
    await whole.until(Play)
    assert broken.messages == [Started(), Failed(f"raised {error}")]
    broken.session.stop("over")
    assert await broken.until(Gone) == Gone(clean=True)


async def test_a_stop_that_hangs_is_cut_at_its_limit(pool: AgentPool) -> None:
    line = await put_and_started(pool, "StopHangs")
    asked = time.monotonic()
    line.session.stop("over")
    assert await line.until(Gone) == Gone(clean=False)
    assert 0.45 < time.monotonic() - asked < 1.0
    assert pool.counters.leaks == 0


async def test_a_stop_and_a_kill_that_raise_change_nothing_for_others(pool: AgentPool) -> None:
    line, other = await put_and_started(pool, "StopAndKillRaise"), await put_and_started(pool, "EchoAgent")
    line.session.stop("over")
    assert await line.until(Gone) == Gone(clean=False)
    other.session.audio(VOICE)
    await other.until(Play)


async def test_a_task_that_swallows_its_cancellation_is_counted_and_goes_with_its_process(pool: AgentPool) -> None:
    (process,) = pool.pids()
    line, other = await put_and_started(pool, "StopSwallows"), await put_and_started(pool, "EchoAgent")
    line.session.stop("over")
    assert await line.until(Gone) == Gone(clean=False, left=1, report={"stuck": 1})
    assert pool.counters.leaks == 1
    assert pool.pids() == [process], "the other call's agent is not to suffer"
    other.session.stop("over")
    assert await other.until(Gone) == Gone(clean=True)
    assert await has_ended(process)
    await put_and_started(pool, "EchoAgent")


async def test_what_an_agent_forgets_is_counted_and_ended_and_what_it_shares_is_not(pool: AgentPool) -> None:
    closed = asyncio.Event()

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        closed.set()

    server = await asyncio.start_server(provider, "127.0.0.1", 0)
    line = await put_and_started(pool, "Forgetful", port=server.sockets[0].getsockname()[1])
    asked = time.monotonic()
    line.session.stop("over")
    assert await line.until(Gone) == Gone(clean=True, left=3)
    await asyncio.wait_for(closed.wait(), 1)
    assert time.monotonic() - asked < 0.6
    assert pool.counters.leaks == 1
    server.close()
    await server.wait_closed()


async def test_a_busy_agent_costs_its_caller_nothing_and_its_process_is_killed(pool: AgentPool) -> None:
    line, other = await put_and_started(pool, "Busy"), await put_and_started(pool, "EchoAgent")
    (process,) = pool.pids()
    line.session.send(Dtmf("1"))
    await line.until(MarkAsked)
    asked = time.monotonic()
    line.session.stop("over")
    assert time.monotonic() - asked < 0.05
    assert await other.until(Lost) == Lost("the agent's process was killed: it hangs")
    assert time.monotonic() - asked < 3.5
    assert line.messages[-1] == Gone(clean=False)
    assert await has_ended(process)
    await put_and_started(pool, "EchoAgent")
    assert (pool.counters.killed, pool.counters.lost, pool.counters.leaks) == (1, 1, 1)


async def test_a_flood_of_tiny_pieces_leaves_the_line_its_turns(pool: AgentPool) -> None:
    line = await put_and_started(pool, "Flooding")
    line.session.send(Dtmf("1"))
    await line.until(Play)
    most = 0
    while not line.messages or not isinstance(line.messages[-1], MarkAsked):
        before = len(line.messages)
        await asyncio.sleep(0)
        most = max(most, len(line.messages) - before)
    assert len(line.of(Play)) == 50_000
    assert most <= 512


async def test_an_agent_process_gives_way_to_the_line(pool: AgentPool) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert all(os.getpriority(os.PRIO_PROCESS, pid) > ours for pid in pool.pids())


async def test_an_agent_process_has_the_keys_of_providers_and_no_secret_of_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ONHOOK_SECRET_KEY", "ONHOOK_TRUNK_PASSWORD", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "hidden")
    async with open_pool() as pool:
        environment = environment_of(pool.pids()[0])
    assert "OPENAI_API_KEY=hidden" in environment
    assert "ONHOOK_" not in environment


async def test_all_marks_of_a_full_queue_may_come_back_in_one_turn_and_cost_nobody_their_process(
    pool: AgentPool,
) -> None:
    lines = [await put_and_started(pool, "EchoAgent") for _ in range(3)]
    for line in lines:
        for _ in range(MAX_QUEUED_MARKS):
            line.session.send(Marked("m" * MAX_MARK, cleared=True))
        line.session.send(Dtmf("1"))
    for line in lines:
        await line.until(MarkAsked)
    assert pool.counters.killed == 0


# --- processes that do not ---------------------------------------------------------------------------------


async def test_a_stopped_process_is_killed_when_its_agents_are_to_be_gone(pool: AgentPool) -> None:
    line = await put_and_started(pool, "EchoAgent")
    (process,) = pool.pids()
    os.kill(process, signal.SIGSTOP)
    asked = time.monotonic()
    line.session.stop("over")
    assert await line.until(Gone) == Gone(clean=False)
    assert time.monotonic() - asked < 1.0
    assert await has_ended(process)
    assert pool.counters.killed == 1


async def test_a_stopped_process_is_found_out_by_its_pulse(pool: AgentPool) -> None:
    line = await put_and_started(pool, "EchoAgent")
    stopped = time.monotonic()
    os.kill(pool.pids()[0], signal.SIGSTOP)
    assert await line.until(Lost) == Lost("the agent's process was killed: it hangs")
    assert 1.5 < time.monotonic() - stopped < 3.5


async def test_a_process_that_was_killed_is_replaced(pool: AgentPool) -> None:
    line = await put_and_started(pool, "EchoAgent")
    (process,) = pool.pids()
    os.kill(process, signal.SIGKILL)
    lost = await line.until(Lost)
    assert isinstance(lost, Lost)
    assert lost.error.startswith("the agent's process has ended: ")
    await all_up(pool)
    assert pool.pids() != [process]
    await put_and_started(pool, "EchoAgent")
    assert (pool.counters.killed, pool.counters.lost) == (0, 1)


async def test_what_a_killed_process_had_started_is_killed_too(pool: AgentPool) -> None:
    await put_and_started(pool, "RunsProgram")
    (process,) = pool.pids()
    (program,) = children_of(process)
    os.kill(process, signal.SIGKILL)
    assert await has_ended(program)


async def test_a_process_that_does_not_read_loses_audio_and_is_killed_when_messages_pile_up(pool: AgentPool) -> None:
    line = await put_and_started(pool, "EchoAgent")
    (process,) = pool.pids()
    os.kill(process, signal.SIGSTOP)
    for _ in range(10_000):
        line.session.audio(VOICE)
    assert 0 < pool.counters.dropped < 10_000
    assert pool.counters.killed == 0
    while not pool.counters.killed:
        line.session.send(Cue(CueKind.FAREWELL, "x" * 1000))
    assert await line.until(Lost) == Lost("the agent's process was killed: it does not read")
    assert await has_ended(process)


async def test_a_call_too_big_for_the_link_gets_no_agent_and_a_message_too_big_is_not_passed_on(
    pool: AgentPool,
) -> None:
    huge = "x" * (1 << 20)
    line = put(pool, msgspec.structs.replace(call("EchoAgent"), variables={"huge": huge}))
    line.session.audio(VOICE)
    line.session.send(Dtmf("1"))
    line.session.stop("over")
    assert line.messages == [], "not before `start` has returned"
    assert isinstance(await line.until(Lost), Lost)
    other = await put_and_started(pool, "EchoAgent")
    other.session.send(Cue(CueKind.FAREWELL, huge))
    other.session.send(Dtmf("1"))
    await other.until(MarkAsked)


async def test_a_program_that_never_comes_up_is_said_to_be_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "FIRST_PAUSE_S", 0.01)
    async with nothing_left():
        pool = AgentPool(1, (sys.executable, "-c", "raise SystemExit(3)"))
        await pool.open()
        await until(lambda: pool.components()["agent_processes"] != "are starting")
        condition = pool.components()["agent_processes"]
        assert condition.startswith("do not come up: the last one has ended: ")
        assert condition.endswith("(exit code 3)")
        assert await put(pool, call("EchoAgent")).until(Lost) == Lost("no agent process is up")
        await pool.close()


async def test_a_program_that_is_not_there_is_said_to_be_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "FIRST_PAUSE_S", 0.01)
    async with nothing_left():
        pool = AgentPool(1, ("/no/such/program",))
        await pool.open()
        await until(lambda: pool.components()["agent_processes"] != "are starting")
        condition = pool.components()["agent_processes"]
        assert "could not be started" in condition
        await pool.close()


async def test_processes_that_are_wedged_do_not_hold_up_the_end_of_the_pool() -> None:
    async with open_pool(2) as pool:
        lines = [await put_and_started(pool, "EchoAgent") for _ in range(2)]
        os.kill(pool.pids()[0], signal.SIGSTOP)
        began = time.monotonic()
        await pool.close()
        assert time.monotonic() - began < 2
        assert [line.messages[-1] for line in lines] == [Gone(clean=False), Gone(clean=True)]


async def test_agent_processes_die_with_their_parent_even_when_stopped_or_busy() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "parent.py"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    busy, stopped = [int(pid) for pid in (await asyncio.wait_for(parent.stdout.readline(), 20)).split()]
    os.kill(stopped, signal.SIGSTOP)
    parent.kill()
    await parent.wait()
    survivors = [pid for pid in (busy, stopped) if not await has_ended(pid)]
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert survivors == []
