"""One life of one agent process, as the line process sees it: its birth, its calls, its pulse and its end."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from onhook.agents.agent import STOP_LIMIT_S
from onhook.agents.link import (
    EPOCHS,
    Frame,
    FrameKind,
    Link,
    LinkError,
    encode,
    pack,
    read_from_agent,
    read_hello,
)
from onhook.agents.messages import (
    CallInfo,
    Clear,
    FromAgent,
    Gone,
    Interrupted,
    Lost,
    MarkAsked,
    Marked,
    Play,
    Say,
    ToAgent,
)
from onhook.agents.port import AgentListener

BEAT_S = 0.5
MISSED_BEATS = 4
"""A process that has let so many pings in a row go without an answer is killed. Beats, not seconds, are counted: when
the line process itself was stopped for a while, nobody else is to blame."""
HELLO_LIMIT_S = 30.0
"""How long a process may take to load what it needs."""
GONE_GRACE_S = 0.5
"""What a process that answers gets for its report beyond `STOP_LIMIT_S`, before the call counts as leaked."""
AUDIO_BACKLOG = 256 << 10
"""Bytes that may wait for a process that does not read; beyond that it loses audio."""
BACKLOG = 32 << 20
"""Bytes that may wait at all, many times what one call can have to say in one turn of the event loop: a burst of one
must not cost the others their process. One that is wedged is found out by its pulse."""
REAP_LIMIT_S = 2.0
REASON_LENGTH = 200
STANDARD_ERROR = 2
NOT_FOR_AGENTS = "ONHOOK_"
"""How the node's own settings begin in its environment, passwords among them. Keys of providers are for agents."""

log = logging.getLogger(__name__)


@dataclass
class Counters:
    """What has happened to agent processes since the node's start, for metrics."""

    leaks: int = 0
    """Calls whose agent left something behind, or did not report in time."""
    killed: int = 0
    """Processes that were killed."""
    lost: int = 0
    """Calls that lost their agent with its process."""
    dropped: int = 0
    """Frames of the callers' audio that a process did not take."""


class Session:
    """An agent on a call; see `onhook.agents.port.AgentSession`. Without a process it is one that is over."""

    def __init__(self, number: int, listener: AgentListener, process: "AgentProcess | None") -> None:
        self.number = number
        self.stopped = False
        self.stop_ping = 0
        """Which ping was sent behind the order to stop: once it is answered, the order has been read."""
        self.overdue = False
        """It should be gone, and its process has not read yet that it should."""
        self._listener = listener
        self._process = process
        self._epoch = 0

    def audio(self, mulaw: bytes) -> None:
        """See `AgentSession`."""
        if self._process is not None and not self.stopped:
            self._process.send_audio(encode(FrameKind.AUDIO, mulaw, call=self.number, epoch=self._epoch))

    def send(self, message: ToAgent) -> None:
        """See `AgentSession`."""
        if self._process is None or self.stopped:
            return
        if isinstance(message, Interrupted):
            self._epoch = (self._epoch + 1) % EPOCHS
        try:
            self._process.send(encode(FrameKind.MESSAGE, pack(message), call=self.number, epoch=self._epoch))
        except LinkError as error:
            log.warning("a message was not passed on to an agent: %s", error)

    def stop(self, reason: str) -> None:
        """See `AgentSession`."""
        if self._process is not None and not self.stopped:
            self.stopped = True
            self._process.stop(self, reason)

    def take(self, message: FromAgent, epoch: int) -> None:
        """Take what the agent sent: no more words after `stop`, and none that were said before an interruption."""
        if self.stopped:
            return
        if isinstance(message, Say | Play | Clear | MarkAsked) and epoch != self._epoch:
            if isinstance(message, MarkAsked):
                self.send(Marked(message.name, cleared=True))
            return
        self._tell(message)

    def end(self, message: Gone | Lost) -> None:
        """Pass on the last message."""
        self._process = None
        self._tell(message)

    def _tell(self, message: FromAgent) -> None:
        try:
            self._listener.on_agent(message)
        except Exception:
            log.exception("a call could not take %s of its agent", type(message).__name__)


class AgentProcess:
    """A child process and the calls on it, which it takes before it is up, even before `live` has been begun.

    `on_end` is called once, when it is known that it ends, before its calls are told.
    """

    def __init__(
        self, command: Sequence[str], spawner: Executor, counters: Counters, on_end: Callable[[], None]
    ) -> None:
        self.ready = False
        """It has loaded what it needs."""
        self.tainted = False
        """A call left something in it that nothing ends but the end of the process."""
        self.unanswered = 0
        self.components: dict[str, str] = {}
        self.calls: dict[int, Session] = {}
        self._command = command
        self._spawner = spawner
        self._counters = counters
        self._on_end = on_end
        self._link = Link(self._take, self._lose)
        self._child: subprocess.Popen[bytes] | None = None
        self._verdict: str | None = None
        self._heard = 0
        self._pings = self._pongs = 0
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()

    @property
    def alive(self) -> bool:
        """True from the beginning until the socket has ended, or the process is being killed."""
        return self._verdict is None

    @property
    def age_s(self) -> float:
        """Seconds since it was made."""
        return self._loop.time() - self._born

    @property
    def pid(self) -> int | None:
        """The process id, None before there is one."""
        return None if self._child is None else self._child.pid

    async def live(self) -> str:
        """Run the child until it has ended and is reaped; return how it ended. Never raises `OSError`."""
        try:
            await self._begin()
        except OSError as error:
            verdict = f"could not be started: {error}"
            self._condemn(verdict)
            self._lose("no process")
            return verdict
        if not self.alive:  # Killed already.
            self._link.abort()
        while not self._link.ended:
            await asyncio.wait((self._link.closed,), timeout=BEAT_S)
            self._beat()
        return await self._bury()

    async def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            await self._loop.create_unix_connection(lambda: self._link, sock=ours)
            self._child = await self._loop.run_in_executor(self._spawner, _spawn, self._command, theirs.fileno())

    def start(self, call: CallInfo, session: Session) -> None:
        """Put an agent on a call. Raises `LinkError` for one that has too much to say."""
        frame = encode(FrameKind.START, pack(call), call=session.number)
        self.calls[session.number] = session
        self.send(frame)

    def send(self, frame: bytes) -> None:
        """Send what must not be dropped; a process that has not read for long is killed instead."""
        if self._link.unsent > BACKLOG:
            self.kill("it does not read")
        self._link.send(frame)

    def send_audio(self, frame: bytes) -> None:
        """Send audio, which a process that does not read loses, or one on which no agent can listen yet."""
        if not self.ready:
            return
        if self._link.unsent > AUDIO_BACKLOG:
            self._counters.dropped += 1
        else:
            self._link.send(frame)

    def stop(self, session: Session, reason: str) -> None:
        """Have an agent gone; the ping tells later whether the process had a chance to hear of it."""
        self.send(encode(FrameKind.STOP, pack(reason[:REASON_LENGTH]), call=session.number))
        if not self.ready:  # It has not begun to do anything for this call.
            self._loop.call_soon(self._end, session, Gone(clean=True))
            return
        session.stop_ping = self._ping()
        self._loop.call_later(STOP_LIMIT_S, self._judge_silence, session, self._heard)

    def leave(self) -> None:
        """Have the process stop its agents and exit."""
        for session in list(self.calls.values()):
            session.stop("the server is shutting down")
        self._link.finish()

    def kill(self, why: str) -> None:
        """Kill the process and what it has started, now; its calls are told in the next turn of the event loop."""
        if not self.alive:
            return
        self._condemn(f"was killed: {why}")
        self._counters.killed += 1
        log.warning("agent process %s is killed: %s", self.pid, why)
        self._kill_group()
        self._link.abort()

    # --- what comes from the process --------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        """Take a frame; one of a call that is over already is no fault. Raises `LinkError`, `MsgspecError`."""
        self._heard += 1
        match frame.kind:
            case FrameKind.PONG:
                self.unanswered = 0
                self._pongs += 1
            case FrameKind.HELLO:
                self.components = read_hello(frame.payload).components
                self.ready = True
            case FrameKind.AUDIO:
                self._pass_on(frame, Play(frame.payload))
            case FrameKind.MESSAGE:
                self._pass_on(frame, read_from_agent(frame.payload))
            case _:
                raise LinkError(f"{frame.kind.name} from an agent process")

    def _pass_on(self, frame: Frame, message: FromAgent) -> None:
        session = self.calls.get(frame.call)
        if session is None:
            return
        if isinstance(message, Gone):
            self._settle(session, message)
        else:
            session.take(message, frame.epoch)

    def _settle(self, session: Session, report: Gone) -> None:
        """Close a call's account. What even the cut did not end goes with the process, once its calls are over."""
        self._end(session, report)
        if report.left:
            self._counters.leaks += 1
            log.warning("an agent left %d things behind: %s", report.left, report.report)
        self.tainted |= "stuck" in report.report
        if self.tainted and not self.calls:
            self.kill("an agent left in it what nothing else ends")

    # --- its pulse --------------------------------------------------------------------------------------

    def _beat(self) -> None:
        if not self.alive:
            return
        if not self.ready:
            if self.age_s > HELLO_LIMIT_S:
                self.kill("it does not come up")
            return
        if self.unanswered >= MISSED_BEATS:
            self.kill("it hangs")
            return
        self.unanswered += 1
        self._ping()

    def _ping(self) -> int:
        """Ask for a sign of life; return which ping it is. They are answered in order."""
        self._pings += 1
        self.send(encode(FrameKind.PING))
        return self._pings

    def _judge_silence(self, session: Session, heard: int) -> None:
        """Kill a process that has not said a word since it was to stop an agent, unless others talk on it."""
        if session.number not in self.calls:
            return
        if self._heard == heard and self._only_stopped():
            self.kill("it hangs, and its agents are to be gone")
        else:
            self._loop.call_later(GONE_GRACE_S, self._judge_leak, session)

    def _judge_leak(self, session: Session) -> None:
        """Count an agent that has not reported its end, though its process has long read that it is to stop.

        A process that is busy is given time to read it. Whether it hangs is for its pulse to say.
        """
        if session.number not in self.calls:
            return
        if self._pongs < session.stop_ping:
            session.overdue = True
            self._loop.call_later(GONE_GRACE_S, self._judge_leak, session)
            return
        if session.overdue:
            session.overdue = False
            self._loop.call_later(STOP_LIMIT_S + GONE_GRACE_S, self._judge_leak, session)
            return
        self._counters.leaks += 1
        log.warning("an agent on process %s did not report its end", self.pid)
        if self._only_stopped():
            self.kill("an agent did not report its end")

    def _only_stopped(self) -> bool:
        return all(one.stopped for one in self.calls.values())

    # --- its end ----------------------------------------------------------------------------------------

    def _condemn(self, verdict: str) -> None:
        """Take no more calls, and have another process take them."""
        if self._verdict is None:
            self._verdict = verdict
            self._on_end()

    def _lose(self, reason: str) -> None:
        """The link has ended: so have all agents here."""
        self._condemn(f"has ended: {reason}")
        self._link.abort()
        for session in list(self.calls.values()):
            if session.stopped:
                self._counters.leaks += session.overdue
                self._end(session, Gone(clean=False))
            else:
                self._counters.lost += 1
                self._end(session, Lost(f"the agent's process {self._verdict}"))

    def _end(self, session: Session, message: Gone | Lost) -> None:
        if self.calls.pop(session.number, None) is not None:
            session.end(message)

    async def _bury(self) -> str:
        """Make sure that nothing of the process is left; return how it ended."""
        verdict = self._verdict or "has ended"
        assert self._child is not None  # noqa: S101 - for the type only
        self._kill_group()  # What it had started, and itself if only its socket has ended.
        try:
            code = await self._loop.run_in_executor(self._spawner, self._child.wait, REAP_LIMIT_S)
        except subprocess.TimeoutExpired:
            log.warning("agent process %d does not die", self._child.pid)
            return verdict
        return f"{verdict} (exit code {code})"

    def _kill_group(self) -> None:
        """Kill the process group; its number is ours for as long as the child is not reaped."""
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)


def _spawn(command: Sequence[str], descriptor: int) -> subprocess.Popen[bytes]:
    """Start a child that has one end of a socket pair and nothing else of ours. Raises `OSError`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_AGENTS)}
    return subprocess.Popen(
        [*command, str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=STANDARD_ERROR,  # Standard output is the node's.
        pass_fds=(descriptor,),
        process_group=0,
        env=environment,
    )
