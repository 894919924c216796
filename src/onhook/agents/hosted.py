"""One agent on one call, inside its agent process."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import ParamSpec

from onhook.agents import messages
from onhook.agents.agent import STOP_LIMIT_S, Agent, AgentError
from onhook.agents.belongings import Belongings
from onhook.agents.link import FrameKind, Link, LinkError, encode, pack
from onhook.agents.messages import CallInfo, Cue, Dtmf, FromAgent, Interrupted, Marked, Speech, ToAgent, Word

SETTLE_S = 0.05
"""What a killed agent's tasks get for their end before they are counted as left behind; and once more when cut."""
HELD_MESSAGES = 256
"""How many messages an agent is spared until it has started."""
PLAY_BYTES = 16_000
"""Two seconds of audio: what one frame carries at most."""
ERROR_LENGTH = 300
KEYS = frozenset("0123456789*#ABCD")

P = ParamSpec("P")

log = logging.getLogger(__name__)


class HostedCall:
    """Runs an agent: starts it, passes on what comes, stops it, and reports what it left behind.

    Nothing here ever waits for the agent without a limit, and nothing that the agent raises gets further than here.
    """

    def __init__(self, number: int, info: CallInfo, link: Link, create: Callable[[], Agent]) -> None:
        self._info = info
        self._create = create
        self._media = LineMedia(number, link)
        self._belongings = Belongings()
        self._agent: Agent | None = None
        self._listens = False
        self._held: list[ToAgent] = []
        self._stop_asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def live(self) -> None:
        """Be on the call until told to stop. Never raises, never takes longer than 0.6 s after `stop`."""
        await self._start()
        reason = await self._stop_asked
        clean = await self._bring_to_end(reason)
        settled = await self._belongings.settle(SETTLE_S) == 0
        forgotten = self._belongings.forgotten()
        self._belongings.cut()
        stuck = 0 if settled else await self._belongings.settle(SETTLE_S)
        report = {"stuck": stuck} if stuck else {}
        self._media.report(messages.Gone(clean=clean, left=max(forgotten, stuck), report=report))

    def stop(self, reason: str) -> None:
        """Have `live` come to its end; harmless when repeated."""
        self._media.close()
        self._listens = False
        if not self._stop_asked.done():
            self._stop_asked.set_result(reason)

    def audio(self, mulaw: bytes) -> None:
        """Take 20 ms of the caller's voice; an agent that has not started yet misses it."""
        if self._listens and self._agent is not None:
            self._guard(self._agent.on_audio, mulaw)

    def message(self, message: ToAgent, epoch: int) -> None:
        """Take a message of the line."""
        self._media.epoch = epoch
        if self._listens:
            self._tell(message)
        elif len(self._held) < HELD_MESSAGES:
            self._held.append(message)

    # --- the agent's life -------------------------------------------------------------------------------

    async def _start(self) -> None:
        if self._stop_asked.done():  # It was over before this process was up: no provider need hear of it.
            return
        starting = self._begin(self._create_and_start())
        limit_ms = self._info.definition.start_timeout_ms
        await asyncio.wait((starting, self._stop_asked), timeout=limit_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
        if self._stop_asked.done():
            _give_up(starting)
        elif not starting.done():
            _give_up(starting)
            self._fail(f"did not start within {limit_ms} ms")
        elif (error := _error_of(starting)) is not None:
            self._fail(error)
        else:
            self._listens = True
            self._media.report(messages.Started())
            for message in self._held:
                self._tell(message)

    async def _create_and_start(self) -> None:
        self._agent = self._create()
        await self._agent.start(self._info, self._media)

    async def _bring_to_end(self, reason: str) -> bool:
        """Stop and kill the agent; return True when it stopped in time, by itself."""
        if self._agent is None:
            return True
        stopping = self._begin(self._agent.stop(reason))
        await asyncio.wait((stopping,), timeout=STOP_LIMIT_S)
        clean = stopping.done() and _error_of(stopping) is None
        _give_up(stopping)
        self._guard(self._agent.kill)
        return clean

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return self._belongings.context.run(asyncio.get_running_loop().create_task, work)

    # --- the agent's ears -------------------------------------------------------------------------------

    def _tell(self, message: ToAgent) -> None:
        agent = self._agent
        if agent is None or not self._listens:
            return
        match message:
            case Speech():
                self._guard(agent.on_speech, message)
            case Dtmf(digit):
                self._guard(agent.on_dtmf, digit)
            case Interrupted(played_ms):
                self._guard(agent.on_interrupted, played_ms)
            case Marked(name, cleared):
                self._guard(lambda: agent.on_mark(name, cleared=cleared))
            case Cue():
                self._guard(agent.on_cue, message)

    def _guard(self, callback: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            self._belongings.context.run(callback, *args, **kwargs)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - an agent may be anybody's code
            self._fail(describe(error))

    def _fail(self, error: str) -> None:
        self._listens = False
        self._media.fail(error)


class LineMedia:
    """What an agent is given of its call; see `onhook.agents.agent.CallMedia`."""

    def __init__(self, number: int, link: Link) -> None:
        self.epoch = 0
        """How many interruptions the agent knows of."""
        self._number = number
        self._link = link
        self._closed = False

    def close(self) -> None:
        """Let the agent have no more effect."""
        self._closed = True

    def report(self, message: FromAgent) -> None:
        """Send what is not the agent's to say."""
        self._link.send(encode(FrameKind.MESSAGE, pack(message), call=self._number, epoch=self.epoch))

    def say(self, text: str) -> None:
        """See `CallMedia`."""
        self._send(messages.Say(text))

    def play(self, mulaw: bytes) -> None:
        """See `CallMedia`."""
        if self._closed:
            return
        for at in range(0, len(mulaw), PLAY_BYTES):
            part = bytes(mulaw[at : at + PLAY_BYTES])
            self._link.send(encode(FrameKind.AUDIO, part, call=self._number, epoch=self.epoch))

    def mark(self, name: str) -> None:
        """See `CallMedia`."""
        self._send(messages.MarkAsked(name))

    def clear(self) -> None:
        """See `CallMedia`."""
        self._send(messages.Clear())

    def send_dtmf(self, digits: str) -> None:
        """See `CallMedia`."""
        unknown = sorted(set(digits.upper()) - KEYS)
        if unknown:
            raise ValueError(f"no such key: {''.join(unknown)}")
        self._send(messages.PressKeys(digits.upper()))

    def hang_up(self, reason: str = "", *, drain: bool = True) -> None:
        """See `CallMedia`."""
        self._send(messages.HangUp(reason, drain))

    def heard(self, text: str, start_ms: int, end_ms: int, words: Sequence[Word] = ()) -> None:
        """See `CallMedia`."""
        self._send(messages.Heard(text, start_ms, end_ms, tuple(words)))

    def action(self, name: str, arguments: str, result: str, *, failed: bool = False) -> None:
        """See `CallMedia`."""
        self._send(messages.Acted(name, arguments, result, failed))

    def consent(self, *, granted: bool) -> None:
        """See `CallMedia`."""
        self._send(messages.Consented(granted))

    def notice(self, *, begins: bool) -> None:
        """See `CallMedia`."""
        self._send(messages.Notice(begins))

    def fail(self, error: str) -> None:
        """See `CallMedia`."""
        self._send(messages.Failed(error[:ERROR_LENGTH]))
        self._closed = True

    def _send(self, message: FromAgent) -> None:
        """Send a message of the agent. Raises `ValueError` for one that is too long."""
        if self._closed:
            return
        try:
            self.report(message)
        except LinkError as error:
            raise ValueError(str(error)) from error


def describe(error: BaseException) -> str:
    """Return what may be told of an agent's exception, and log where it came from.

    An `AgentError` is made to be read. The text of any other may have numbers and secrets in it: only its type is told.
    """
    if isinstance(error, AgentError):
        return str(error)
    where = "".join(traceback.format_tb(error.__traceback__))
    log.warning("an agent raised %s:\n%s", type(error).__name__, where)
    return f"raised {type(error).__name__}"


def _give_up(task: asyncio.Task[None]) -> None:
    """Cancel a task; how it ends is of interest no more, unless by an error that is a fault."""
    task.cancel()
    task.add_done_callback(_error_of)


def _error_of(task: asyncio.Task[None]) -> str | None:
    """Return the error of a task that is done, None when it went well."""
    if task.cancelled():
        return "was cancelled"
    error = task.exception()
    return None if error is None else describe(error)
