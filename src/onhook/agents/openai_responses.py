"""The model's responses in a Realtime session: one at a time, and what it says in them."""

from collections.abc import Callable, Mapping
from typing import Any

from onhook.agents.agent import CallMedia
from onhook.agents.providers.deadlines import Deadline, Limits
from onhook.agents.turns import Speaking

SENTENCE_ENDS = (".", "!", "?", "…", "。")

Body = Mapping[str, Any]


class Responses:
    """Asks for responses, each after the one before; a response has deadlines for its first and each further piece.

    The provider begins responses of its own, too, when the caller's turn is over.
    """

    def __init__(self, send: Callable[[Body], None], deadline: Deadline, limits: Limits) -> None:
        self._send = send
        self._deadline = deadline
        self._limits = limits
        self._asked: Body | None = None  # asked for, not begun
        self._next: Body | None = None  # to ask for when the present one is done
        self._is_active = False
        self.has_spoken = False
        """Whether there was audio in the present response."""

    def ask(self, body: Body) -> None:
        """Ask for a response, now or when the present one is done. Of several that wait the last is kept."""
        self._next = body
        self._ask()

    def cancel(self) -> None:
        """Stop the present response."""
        if self._is_active:
            self._send({"type": "response.cancel"})

    def expect(self) -> None:
        """The provider owes a response of its own."""
        self._deadline.set(self._limits.first)

    def begun(self) -> None:
        """Take the begin of a response."""
        self._is_active, self.has_spoken, self._asked = True, False, None
        self._deadline.set(self._limits.first)

    def goes_on(self) -> None:
        """Take a piece."""
        self._deadline.set(self._limits.stall)

    def refused(self) -> bool:
        """Ask again later, as a response is being made; False when we had not asked."""
        if self._asked is None:
            return False
        self._next, self._asked = self._next or self._asked, None
        return True

    def done(self) -> bool:
        """Take the end of a response; True when another has been asked for."""
        self._is_active = False
        self._deadline.lift()
        self._ask()
        return self._asked is not None

    def _ask(self) -> None:
        if self._next is not None and not self._is_active and self._asked is None:
            self._asked, self._next = self._next, None
            self._deadline.set(self._limits.first)
            self._send({"type": "response.create", "response": self._asked})


class ModelSpeech:
    """What the model says: its text comes beside its audio, mostly ahead of it, and is told by sentences."""

    def __init__(self, media: CallMedia, send: Callable[[Body], None]) -> None:
        self._speaking = Speaking[str](media)  # tagged with the item of the conversation
        self._media = media
        self._send = send
        self._item = ""
        self._text = ""  # of the item
        self._told = 0  # characters of it
        self._has_audio = False
        self._cut_items: set[str] = set()

    def audio(self, item: str, mulaw: bytes) -> None:
        """Play a piece; nothing of an item that was cut."""
        self._enter(item)
        if item in self._cut_items:
            return
        if not self._has_audio:
            self._has_audio = True
            self._speaking.begin(item, self._sentence())
        self._speaking.play(mulaw)

    def text(self, item: str, piece: str) -> None:
        """Take a piece of an item's text."""
        self._enter(item)
        self._text += piece
        if self._has_audio and item not in self._cut_items and (sentence := self._sentence()):
            self._speaking.text(item, sentence)

    def text_done(self, item: str, text: str) -> None:
        """Take the whole text of an item, and tell what is left of it."""
        self._enter(item)
        self._text = text or self._text
        if item not in self._cut_items and (rest := self._rest()):
            self._speaking.text(item, rest)

    def end(self) -> None:
        """Take the end of a response."""
        self._speaking.end()

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Take the echo of a mark."""
        self._speaking.on_mark(name, cleared=cleared)

    def hush(self) -> None:
        """Be silent at once."""
        if not self._speaking.is_silent:
            self._media.clear()
            self.cut(self._speaking.played_ms())

    def cut(self, played_ms: int) -> None:
        """Have the model remember only what was heard, after an interruption."""
        for said in self._speaking.interrupted(played_ms):
            self._cut_items.add(said.tag)
            cut = {"item_id": said.tag, "content_index": 0, "audio_end_ms": said.heard_ms}
            self._send({"type": "conversation.item.truncate", **cut})

    def _enter(self, item: str) -> None:
        if item != self._item:
            self._item, self._text, self._told, self._has_audio = item, "", 0, False

    def _sentence(self) -> str:
        """Return the text that was not told yet if it is a sentence."""
        return self._rest() if self._text[self._told :].rstrip().endswith(SENTENCE_ENDS) else ""

    def _rest(self) -> str:
        rest, self._told = self._text[self._told :].strip(), len(self._text)
        return rest
