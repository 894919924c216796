"""What the agent is saying: one turn at a time, spoken prompt by prompt."""

import asyncio

from onhook.agents.agent import CallMedia
from onhook.agents.definition import AgentDefinition
from onhook.agents.scripted.speech import Prompt, Synthesiser

_LONGEST_TEXT = 4000
_PAUSE = b"\xff" * 3200
"""Four tenths of a second between two texts, as after a sentence within a text."""


class Speaker:
    """Speaks on one call. Must be used from the event loop."""

    def __init__(self, synthesiser: Synthesiser, media: CallMedia, definition: AgentDefinition) -> None:
        self._synthesiser = synthesiser
        self._media = media
        self._definition = definition
        self._task: asyncio.Task[None] | None = None
        self._owed_notice: str | None = None
        self._turns = 0
        self._playing = False
        self.has_hung_up = False

    @property
    def speaking(self) -> bool:
        """Whether the caller still has something to hear."""
        return self._playing

    async def prepare(self, texts: tuple[str, ...]) -> None:
        """Have texts ready, so that they can be said at once."""
        for text in filter(None, texts):
            await self._synthesiser.speak(self._prompt(text[:_LONGEST_TEXT]))

    def owe_notice(self, text: str) -> None:
        """Begin the next turn that is spoken, whichever that is, with the notice of a recording."""
        self._owed_notice = text[:_LONGEST_TEXT]

    def say(self, texts: tuple[str, ...], hang_up: str | None = None) -> None:
        """Say this instead of what is not spoken yet, after what is queued; hang up when it is heard, if told why."""
        if self.has_hung_up:
            return
        self._cancel()
        self.has_hung_up = hang_up is not None
        self._turns += 1
        self._playing = True
        self._task = asyncio.get_running_loop().create_task(self._speak(texts, f"said-{self._turns}", hang_up))

    def silence(self) -> None:
        """Be quiet: what is queued has been dropped. Last words are spoken all the same."""
        if not self.has_hung_up:
            self._cancel()
            self._playing = False

    def on_mark(self, name: str) -> None:
        """Take the echo of a mark: that of the newest turn means that all is heard, or dropped."""
        if name == f"said-{self._turns}":
            self._playing = False

    def close(self) -> None:
        """Stop for good."""
        self._cancel()
        self.has_hung_up = True

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _speak(self, texts: tuple[str, ...], mark: str, hang_up: str | None) -> None:
        said = [text[:_LONGEST_TEXT] for text in texts if text]
        notice = self._owed_notice and await self._synthesiser.speak(self._prompt(self._owed_notice))
        audio = [await self._synthesiser.speak(self._prompt(text)) for text in said]
        if notice:
            self._give_notice(notice)
        if said:
            self._media.say(" ".join(said))
            self._media.play(_PAUSE.join(audio))
        self._media.mark(mark)
        if hang_up is not None:
            self._media.hang_up(hang_up, drain=True)

    def _give_notice(self, audio: bytes) -> None:
        text, self._owed_notice = self._owed_notice, None
        self._media.notice(begins=True)
        self._media.say(text or "")
        self._media.play(audio + _PAUSE)
        self._media.notice(begins=False)

    def _prompt(self, text: str) -> Prompt:
        given = self._definition
        return Prompt(text, given.language, given.voice, given.speed)
