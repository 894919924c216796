"""What is said on a call, by whom, and what the model is told of it."""

from contextlib import aclosing

import msgspec

from onhook.agents import tools
from onhook.agents.agent import CallMedia
from onhook.agents.chain.choice import Links
from onhook.agents.chain.parts import Message, ToolCall
from onhook.agents.chain.sentences import Sentences
from onhook.agents.messages import CallInfo
from onhook.agents.turns import Speaking

MAX_ROUNDS = 8
"""Answers to results of tools in a row; the call has its own, wider limit."""


class Dialogue:
    """The history, and the agent's side of it: the model's answers are spoken sentence by sentence.

    A message of the agent's is entered as soon as the model is asked, so that what the caller says meanwhile comes
    after it. `answer` and `say` may be cancelled at any time.
    """

    def __init__(self, call: CallInfo, media: CallMedia, links: Links) -> None:
        self._goodbye = call.definition.goodbye_message
        self._media = media
        self._links = links
        self._toolbox = tools.Toolbox(call, media)
        self._first_words = tools.FirstWords(call, media)
        self._speaking = Speaking[int](media)  # tagged with the place in the history
        self._history = [Message("system", tools.instructions(call))]
        self._may_retry = True  # nobody waits in the middle of a sentence for a provider that is asked once more

    @property
    def has_begun(self) -> bool:
        """True once anybody has said anything."""
        return len(self._history) > 1

    @property
    def is_silent(self) -> bool:
        """True when all that the agent said has been played."""
        return self._speaking.is_silent

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Take the echo of a mark."""
        self._speaking.on_mark(name, cleared=cleared)

    def begin_turn(self) -> None:
        """Begin to answer: nothing of it has been heard."""
        self._may_retry = True

    def end_turn(self) -> None:
        """Take the end of an answer: all of it is on its way."""
        self._first_words.end()

    def note(self, text: str) -> None:
        """Enter what the line has to tell."""
        self._history.append(Message("system", text))

    def heard(self, text: str) -> None:
        """Enter what the caller said."""
        self._history.append(Message("user", text))

    def hush(self) -> None:
        """Be silent at once."""
        if not self._speaking.is_silent:
            self._media.clear()
            self.cut(self._speaking.played_ms())

    def cut(self, played_ms: int) -> None:
        """Have the model remember only what was heard, after an interruption."""
        for said in self._speaking.interrupted(played_ms):
            self._history[said.tag] = msgspec.structs.replace(self._history[said.tag], content=said.text)

    async def say(self, words: str) -> None:
        """Say given words."""
        self._history.append(Message("assistant", ""))
        await self._speak(len(self._history) - 1, words)

    async def answer(self, order: str | None = None) -> tools.Farewell | None:
        """Have the model answer, and run its tools, until it has said all. Returns its wish to end the call."""
        for _ in range(MAX_ROUNDS):
            place = len(self._history)
            calls = await self._speak_answer(place, order)
            if not calls:
                return None
            farewell = self._run(place, calls)
            if farewell is not None:
                has_spoken = bool(self._history[place].content)
                return farewell._replace(words=farewell.words or ("" if has_spoken else self._goodbye or ""))
        return None

    async def _speak_answer(self, place: int, order: str | None) -> list[ToolCall]:
        """Speak what the model says as the message at `place`; return the tools it calls."""
        asked = [message for message in self._history if message.content or message.tool_calls]
        if order is not None:
            asked.append(Message("system", order))
        self._history.append(Message("assistant", ""))
        sentences, calls = Sentences(), list[ToolCall]()
        async with aclosing(self._links.chat.answer(asked, self._toolbox.tools, retry=self._may_retry)) as parts:
            async for part in parts:
                if isinstance(part, ToolCall):
                    calls.append(part)
                    continue
                for sentence in sentences.add(part):
                    await self._speak(place, sentence)
        if rest := sentences.rest():
            await self._speak(place, rest)
        return calls

    async def _speak(self, place: int, text: str) -> None:
        message = self._history[place]
        self._history[place] = msgspec.structs.replace(message, content=f"{message.content} {text}".strip())
        self._speaking.begin(place, text)
        async with aclosing(self._links.voice.speak(text, retry=self._may_retry)) as audio:
            async for mulaw in audio:
                self._may_retry = False
                self._first_words.begin()
                self._speaking.play(mulaw)
        self._speaking.end()

    def _run(self, place: int, calls: list[ToolCall]) -> tools.Farewell | None:
        """Run tools and enter them into the history, right behind the message that called them."""
        farewell = None
        results = []
        for call in calls:
            ran = self._toolbox.run(call.function.name, call.function.arguments)
            results.append(Message("tool", ran.result, tool_call_id=call.id))
            farewell = ran.farewell or farewell
        self._history[place] = msgspec.structs.replace(self._history[place], tool_calls=tuple(calls))
        self._history[place + 1 : place + 1] = results
        return farewell
