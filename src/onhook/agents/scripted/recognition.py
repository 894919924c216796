"""The recogniser, as the agents see it: one child process for all calls of an agent process.

It is started when first needed and again after it died or hung. A thread of its own writes to it and reads from it,
so that neither the start of a process nor one that does not answer holds up the event loop.
"""

import asyncio
import importlib
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from onhook.agents.scripted.recognizer import LENGTH, Ready, Request, Result

logger = logging.getLogger(__name__)

MISSING = "pocketsphinx is not installed: callers answer with keys only"
BROKEN = "pocketsphinx cannot be loaded ({error}): callers answer with keys only"
ANSWER_LIMIT_S = 1.0
"""How long an agent waits for what was said; a recogniser that takes longer is killed."""

_START_LIMIT_S = 15.0
_RETRY_S = 10.0
_WAITING = 32
_COMMAND = (sys.executable, "-m", "onhook.agents.scripted.recognizer")

M = TypeVar("M", Ready, Result)


class LostError(Exception):
    """The child is gone, or does not answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """An utterance to recognise before `deadline` (of `time.monotonic`), or None to have the child started."""

    request: Request | None
    deadline: float
    future: "Future[Result | None]" = field(default_factory=Future)


class Recogniser:
    """Tells which of a few phrases was said. To be used from one event loop."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._jobs: queue.Queue[Job | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._unknown: set[str] = set()

    def component(self) -> str:
        """Say `ok`, or what is missing. It is loaded for that (3 MB, 20 ms): what is installed may be broken."""
        try:
            importlib.import_module("pocketsphinx")
        except ModuleNotFoundError:
            return MISSING
        except ImportError as error:
            return BROKEN.format(error=error)
        return "ok"

    def warm(self) -> None:
        """Have the child started, so that the first answer need not wait for it."""
        self._submit(Job(None, time.monotonic() + _START_LIMIT_S))

    async def recognise(self, audio: bytes, phrases: tuple[str, ...]) -> Result | None:
        """Return what was said; None when the recogniser is down, overloaded, or took longer than a second."""
        job = Job(Request(phrases, audio), time.monotonic() + ANSWER_LIMIT_S)
        if not self._submit(job):
            logger.warning("the recogniser has too much to do")
            return None
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                result = await asyncio.wrap_future(job.future)
        except TimeoutError:
            logger.warning("the recogniser took too long")
            return None
        if result is not None and not self._unknown.issuperset(result.unknown):
            self._unknown.update(result.unknown)
            logger.warning("words of a script that the recogniser does not know: %s", ", ".join(result.unknown))
        return result

    def close(self) -> None:
        """End the child and the thread. Blocks for a second at most."""
        if self._thread is not None:
            while not self._jobs.empty():
                self._jobs.get_nowait()
            self._jobs.put(None)
            self._thread.join(ANSWER_LIMIT_S)
            self._thread = None

    def _submit(self, job: Job) -> bool:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="recogniser", daemon=True)
            self._thread.start()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def _work(self) -> None:
        """Run the thread: one child at a time, which the kernel ends together with this thread."""
        child: Child | None = None
        not_before = 0.0
        while (job := self._jobs.get()) is not None:
            result = None
            try:
                if child is None and time.monotonic() >= not_before:
                    not_before = time.monotonic() + _RETRY_S
                    child = Child(self._command)
                    not_before = 0.0
                if child is not None and job.request is not None and time.monotonic() < job.deadline:
                    result = child.ask(job.request)
            except (LostError, OSError) as error:
                logger.warning("the recogniser is lost: %s", error)
                if child is not None:
                    self.warm()
                child = None
            if job.future.set_running_or_notify_cancel():
                job.future.set_result(result)
        if child is not None:
            child.end()


class Child:
    """A running recogniser at the other end of a socket. Raises `LostError` when it is of no use; then it is dead."""

    def __init__(self, command: Sequence[str]) -> None:
        self._socket, far = socket.socketpair()
        with far:
            self._process = subprocess.Popen([*command, str(os.getpid())], stdin=far.fileno(), stdout=far.fileno())
        self._read(Ready, _START_LIMIT_S)

    def ask(self, request: Request) -> Result:
        """Return its answer."""
        body = msgspec.msgpack.encode(request)
        self._socket.settimeout(ANSWER_LIMIT_S)
        try:
            self._socket.sendall(LENGTH.pack(len(body)) + body)
        except OSError as error:
            self.end()
            raise LostError("it does not read") from error
        return self._read(Result, ANSWER_LIMIT_S)

    def end(self) -> None:
        """Kill it; it has nothing to save."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _read(self, kind: type[M], limit_s: float) -> M:
        deadline = time.monotonic() + limit_s
        try:
            (length,) = LENGTH.unpack(self._read_exactly(LENGTH.size, deadline))
            return msgspec.msgpack.decode(self._read_exactly(length, deadline), type=kind)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            self.end()
            raise LostError(f"no {kind.__name__} came ({type(error).__name__})") from error

    def _read_exactly(self, size: int, deadline: float) -> bytes:
        data = b""
        while len(data) < size:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            more = self._socket.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data
