"""The interface of a voice agent: what an agent process hosts, one object per call.

The agent is a plug, never the owner of the call. It may ask for a hang-up; the call decides. When the call is over
it gets `STOP_LIMIT_S` for its good-byes to providers, then `kill`, and the call has not waited for either.

All methods that are not `async` run in the event loop of the agent process and must return at once. Audio is G.711
mu-law at 8 kHz; times are ms since the answer.
"""

from collections.abc import Sequence
from typing import Protocol

from onhook.agents.messages import CallInfo, Cue, Speech, Word

STOP_LIMIT_S = 0.5
"""How long `Agent.stop` may take."""


class AgentError(Exception):
    """The agent cannot go on; the call ends as `agent_lost`, or as `agent_start_timeout` before it had started."""


class CallMedia(Protocol):
    """What the call gives to its agent. Usable until the agent is stopped; later uses do nothing."""

    def say(self, text: str) -> None:
        """Begin an utterance: the audio that follows speaks `text`, for the transcript."""
        ...

    def play(self, mulaw: bytes) -> None:
        """Append audio of any length to what is played."""
        ...

    def mark(self, name: str) -> None:
        """Ask for an echo (`Agent.on_mark`) once all audio before this has been played, or was dropped."""
        ...

    def clear(self) -> None:
        """Drop what is queued."""
        ...

    def send_dtmf(self, digits: str) -> None:
        """Press keys, after what is playing. Raises `ValueError` for one that no phone has."""
        ...

    def hang_up(self, reason: str = "", *, drain: bool = True) -> None:
        """Ask for the end of the call, after what is queued has been heard (bounded), or at once without `drain`."""
        ...

    def heard(self, text: str, start_ms: int, end_ms: int, words: Sequence[Word] = ()) -> None:
        """Enter what the caller said into the transcript."""
        ...

    def action(self, name: str, arguments: str, result: str, *, failed: bool = False) -> None:
        """Enter a tool call (its arguments and result as JSON text) into the log; counts against loops."""
        ...

    def consent(self, *, granted: bool) -> None:
        """Tell whether the caller agreed to a recording."""
        ...

    def notice(self, *, begins: bool) -> None:
        """Tell that the audio from here on is the notice of a recording, or, without `begins`, no more.

        The recording begins with the notice, and nothing interrupts it.
        """
        ...

    def fail(self, error: str) -> None:
        """Tell that the agent is broken, in the middle of the call: its connection is lost, say."""
        ...


class Agent(Protocol):
    """One agent on one call."""

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        """Get ready; return once the agent listens and may speak. Raises `AgentError`."""
        ...

    def on_audio(self, mulaw: bytes) -> None:
        """Take 20 ms of the caller's voice (160 bytes), each 20 ms."""
        ...

    def on_dtmf(self, digit: str) -> None:
        """Take a key of the caller."""
        ...

    def on_speech(self, speech: Speech) -> None:
        """Take a begin or an end of the caller's speech, as the line hears it."""
        ...

    def on_interrupted(self, played_ms: int) -> None:
        """The caller spoke over the agent: what was queued is dropped. `played_ms` of the last utterance were heard."""
        ...

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Take the echo of a mark."""
        ...

    def on_cue(self, cue: Cue) -> None:
        """Take what the call wants of the agent: a question into the silence, a farewell, a word to a machine."""
        ...

    async def stop(self, reason: str) -> None:
        """Let go of everything; the call is over. Cancelled after `STOP_LIMIT_S`."""
        ...

    def kill(self) -> None:
        """Abort sockets and cancel tasks, now. Comes always, after `stop`; harmless when repeated."""
        ...


class QuietAgent:
    """An agent that does nothing: the base of those that leave some of it out."""

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        """See `Agent`."""

    def on_audio(self, mulaw: bytes) -> None:
        """See `Agent`."""

    def on_dtmf(self, digit: str) -> None:
        """See `Agent`."""

    def on_speech(self, speech: Speech) -> None:
        """See `Agent`."""

    def on_interrupted(self, played_ms: int) -> None:
        """See `Agent`."""

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """See `Agent`."""

    def on_cue(self, cue: Cue) -> None:
        """See `Agent`."""

    async def stop(self, reason: str) -> None:
        """See `Agent`."""

    def kill(self) -> None:
        """See `Agent`."""
