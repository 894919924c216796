"""A call for the scripted agent: a fake `CallMedia`, a recogniser that hears what the test wants, and a caller."""

import asyncio
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.agents.messages import CallInfo, Cue, CueKind, Speech, Word
from onhook.agents.scripted.agent import ScriptedAgent
from onhook.agents.scripted.prompts import stored_prompt
from onhook.agents.scripted.recognition import Recogniser
from onhook.agents.scripted.recognizer import Result, Spoken
from onhook.agents.scripted.speech import Synthesiser

needs_pocketsphinx = pytest.mark.skipif(
    importlib.util.find_spec("pocketsphinx") is None and not os.environ.get("CI"),
    reason="pocketsphinx is not installed (extra `offline`)",
)
"""Marks tests that recognise. In CI they run, and fail where it is missing."""


@dataclass
class FakeMedia:
    """Writes down what the agent does. `happened` is set with each entry."""

    log: list[tuple[str, Any]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def _enter(self, what: str, value: Any = None) -> None:
        self.log.append((what, value))
        self.changed.set()

    def say(self, text: str) -> None:
        self._enter("say", text)

    def play(self, mulaw: bytes) -> None:
        self._enter("play", mulaw)

    def mark(self, name: str) -> None:
        self.marks.append(name)
        self._enter("mark", name)

    def clear(self) -> None:
        self._enter("clear")

    def send_dtmf(self, digits: str) -> None:
        self._enter("dtmf", digits)

    def hang_up(self, reason: str = "", *, drain: bool = True) -> None:
        self._enter("hang_up", (reason, drain))

    def heard(self, text: str, start_ms: int, end_ms: int, words: Sequence[Word] = ()) -> None:
        self._enter("heard", (text, start_ms, end_ms, tuple(words)))

    def action(self, name: str, arguments: str, result: str, *, failed: bool = False) -> None:
        self._enter("action", (name, arguments))

    def consent(self, *, granted: bool) -> None:
        self._enter("consent", granted)

    def notice(self, *, begins: bool) -> None:
        self._enter("notice", begins)

    def fail(self, error: str) -> None:
        self._enter("fail", error)

    def all_of(self, what: str) -> list[Any]:
        return [value for entry, value in self.log if entry == what]


class HearingAid(Recogniser):
    """Hears what the test puts into `said`: a phrase, or None for no match."""

    def __init__(self, *, installed: bool = True) -> None:
        super().__init__()
        self.said: str | None = None
        self.asked: list[tuple[bytes, tuple[str, ...]]] = []
        self.installed = installed

    def component(self) -> str:
        return "ok" if self.installed else "missing"

    def warm(self) -> None:
        pass

    async def recognise(self, audio: bytes, phrases: tuple[str, ...]) -> Result | None:
        self.asked.append((audio, phrases))
        await asyncio.sleep(0)
        if self.said is None or self.said not in phrases:
            return Result(None)
        return Result(self.said, (Spoken(self.said, 300, 700),))


class ScriptedCall:
    """An agent on a call, and what a caller may do to it."""

    def __init__(self, script: dict[str, Any] | None = None, *, ear: Recogniser | None = None, **settings: Any) -> None:
        definition = AgentDefinition(kind=AgentKind.SCRIPTED, script=script, **settings)
        self.info = CallInfo("call_1", "sip_1", "agent_1", "outbound", "+1", "+2", definition)
        self.media = FakeMedia()
        self.ear = ear or HearingAid()
        self.agent = ScriptedAgent(Synthesiser(stored_prompt, "no-such-program"), self.ear)
        self._now = 0
        self._turns = 0

    async def begin(self) -> "ScriptedCall":
        await self.agent.start(self.info, self.media)
        return self

    async def until(self, what: str, count: int = 1) -> None:
        """Wait until the agent has done something so many times."""
        async with asyncio.timeout(5):
            while len(self.media.all_of(what)) < count:
                self.media.changed.clear()
                await self.media.changed.wait()

    async def listened(self) -> str:
        """Hear the agent's next turn to its end and return it."""
        self._turns += 1
        await self.until("mark", self._turns)
        self.agent.on_mark(self.media.marks[-1], cleared=False)
        return str(self.media.all_of("say")[-1])

    def speaks(self, phrase: str | None, duration_ms: int = 500) -> None:
        """Have the caller speak, understood as `phrase` by a `HearingAid`."""
        if isinstance(self.ear, HearingAid):
            self.ear.said = phrase
        self.starts_speaking()
        self.stops_speaking(duration_ms)

    def starts_speaking(self) -> None:
        self.agent.on_speech(Speech(started=True, at_ms=self._now))

    def stops_speaking(self, duration_ms: int = 500) -> None:
        for _ in range(duration_ms // 20):
            self.agent.on_audio(b"\x7f" * 160)
        self._now += duration_ms
        self.agent.on_speech(Speech(started=False, at_ms=self._now, duration_ms=duration_ms))

    def cue(self, kind: CueKind, text: str | None = None) -> None:
        self.agent.on_cue(Cue(kind, text, 1))
