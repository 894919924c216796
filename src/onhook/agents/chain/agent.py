"""The chain: what the caller said goes to a chat model, its answer is spoken sentence by sentence.

An answer begins when the caller's turn is over and is given up when the caller goes on before it was heard. After an
interruption the model remembers of its answer only what was heard.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from onhook.agents import tools
from onhook.agents.agent import CallMedia, QuietAgent
from onhook.agents.chain.choice import Links, complete_options, links
from onhook.agents.chain.dialogue import Dialogue
from onhook.agents.chain.parts import Heard
from onhook.agents.messages import CallInfo, Cue, CueKind, Speech
from onhook.agents.providers.deadlines import USUAL, Limits
from onhook.agents.providers.environment import OPENAI, readiness
from onhook.agents.providers.http import ProviderHttp
from onhook.agents.turns import Hearing, Keypad


def components() -> dict[str, str]:
    """Say whether the key is there that every chain needs; those of other providers decide which are used."""
    return readiness("chain", [OPENAI])


class ChainAgent(QuietAgent):
    """One chain on one call."""

    def __init__(self, limits: Limits = USUAL) -> None:
        self._limits = limits
        self._call: CallInfo
        self._media: CallMedia
        self._hearing: Hearing
        self._dialogue: Dialogue
        self._http: ProviderHttp | None = None
        self._links: Links | None = None
        self._keypad = Keypad(self._keys)
        self._is_owed = False  # the caller has said something that was not answered
        self._answer_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._delay: asyncio.TimerHandle | None = None
        self._ending: str | None = None
        self._is_over = False

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        """Connect to what is connected to during the whole call. Raises `AgentError`."""
        definition = call.definition
        options = complete_options(definition)
        self._call, self._media = call, media
        self._hearing = Hearing(media)
        self._http = ProviderHttp(self._limits)
        self._links = links(definition, options, self._http, self._limits)
        self._dialogue = Dialogue(call, media, self._links)
        await self._links.ear.open(self._on_heard, self._lost)
        self._delay = asyncio.get_running_loop().call_later(definition.initial_delay_ms / 1000, self._greet)

    def on_audio(self, mulaw: bytes) -> None:
        """Pass on the caller's voice."""
        if self._links is not None and not self._is_over:
            self._links.ear.on_audio(mulaw)

    def on_dtmf(self, digit: str) -> None:
        """Collect a key."""
        self._keypad.press(digit)

    def on_speech(self, speech: Speech) -> None:
        """Pass on turns. A caller who goes on before the answer was heard has not been answered."""
        if self._links is None or self._is_over:
            return
        self._hearing.note(speech)
        self._links.ear.on_speech(speech)
        if speech.started and self._is_answering and self._dialogue.is_silent and self._ending is None:
            self._give_up()
            self._is_owed = True

    def on_interrupted(self, played_ms: int) -> None:
        """Give up the answer, and remember what was heard of it."""
        self._give_up()
        self._dialogue.cut(played_ms)

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Note what has been heard."""
        self._dialogue.on_mark(name, cleared=cleared)

    def on_cue(self, cue: Cue) -> None:
        """Say what the call wants said."""
        if self._is_over:
            return
        if cue.kind is CueKind.MACHINE:
            self._dialogue.note(tools.machine_answered(self._call))
        if cue.text is None and cue.kind not in tools.ORDERS:
            return
        if cue.kind in tools.ENDS:
            self._give_up()
            self._dialogue.hush()
            self._ending = cue.kind.value
        self._begin(self._answer(tools.ORDERS[cue.kind]) if cue.text is None else self._say(cue.text))

    async def stop(self, reason: str) -> None:
        """Let go of all providers."""
        self._let_go()
        if self._links is not None:
            await self._links.ear.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def kill(self) -> None:
        """Cut all connections."""
        self._let_go()
        if self._links is not None:
            self._links.ear.abort()
        if self._http is not None:
            self._http.abort()

    # --- turns ---

    def _greet(self) -> None:
        if not (self._dialogue.has_begun or self._hearing.speaks):
            words = tools.opening(self._call)
            if words is not None:
                self._begin(self._say(words))
            elif self._call.definition.agent_speaks_first:
                self._begin(self._answer(tools.GREET))

    def _on_heard(self, heard: Heard) -> None:
        if heard.text:
            self._hearing.heard(heard.text, heard.words)
            self._dialogue.heard(heard.text)
            self._is_owed = True
        self._reply()

    def _keys(self, keys: str) -> None:
        self._dialogue.heard(tools.KEYS_PRESSED.format(keys=keys))
        self._is_owed = True
        self._reply()

    def _reply(self) -> None:
        """Answer, if there is something to answer and nobody is talking."""
        if self._is_owed and not (self._hearing.speaks or self._is_answering or self._ending or self._is_over):
            self._begin(self._answer())

    async def _answer(self, order: str | None = None) -> None:
        self._is_owed = False
        farewell = await self._dialogue.answer(order)
        if farewell is not None and self._ending is None:
            self._ending = farewell.reason
            if farewell.words:
                await self._dialogue.say(farewell.words)
        if self._ending is not None:
            self._hang_up(self._ending)

    async def _say(self, words: str) -> None:
        await self._dialogue.say(words)
        if self._ending is not None:
            self._hang_up(self._ending)

    # --- the answer in flight ---

    @property
    def _is_answering(self) -> bool:
        return self._answer_task is not None

    def _begin(self, answer: Coroutine[Any, Any, None]) -> None:
        self._give_up()
        self._dialogue.begin_turn()
        task = asyncio.create_task(answer)
        self._answer_task = task
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _give_up(self) -> None:
        if self._answer_task is not None:
            self._answer_task.cancel()
            self._answer_task = None

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._dialogue.end_turn()
        if task is self._answer_task:
            self._answer_task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._lost(str(error) or repr(error))
        else:
            self._reply()

    # --- the end ---

    def _hang_up(self, reason: str) -> None:
        self._let_go()
        self._media.hang_up(reason, drain=True)

    def _lost(self, error: str) -> None:
        """Take the loss of a provider: a farewell is over, or there is no agent any more."""
        if self._is_over:
            return
        if self._ending is not None:
            self._hang_up(self._ending)
        else:
            self._let_go()
            self._media.fail(error)

    def _let_go(self) -> None:
        """Do nothing more on our own account."""
        self._is_over = True
        self._keypad.lift()
        if self._delay is not None:
            self._delay.cancel()
        for task in self._tasks:
            task.cancel()
