"""Who said what, and how much of it was heard: what an adapter keeps between a provider and the line."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from onhook.agents.agent import CallMedia
from onhook.agents.messages import Speech, Word

Tag = TypeVar("Tag")

BYTES_PER_MS = 8
"""Of mu-law at 8 kHz."""
KEY_PAUSE_S = 1.5
"""A caller who presses nothing for so long has pressed all."""


class Hearing:
    """The caller's turns, by the line's ear, which alone knows when they were: providers count from elsewhere."""

    def __init__(self, media: CallMedia) -> None:
        self._media = media
        self.speaks = False
        self._start_ms = 0
        self._end_ms = 0

    def note(self, speech: Speech) -> None:
        """Take a begin or an end of speech."""
        self.speaks = speech.started
        if speech.started:
            self._start_ms = speech.at_ms
        self._end_ms = speech.at_ms

    def heard(self, text: str, words: Sequence[Word] = ()) -> None:
        """Enter what was said in the latest turn. The first of `words` is put where the turn began."""
        shift = self._start_ms - words[0].start_ms if words else 0
        moved = [Word(word.word, word.start_ms + shift, word.end_ms + shift) for word in words]
        self._media.heard(text, self._start_ms, max(self._end_ms, self._start_ms), moved)


class Keypad:
    """Keys of the caller, told together: after a pause, or at `#`."""

    def __init__(self, pressed: Callable[[str], None], pause_s: float = KEY_PAUSE_S) -> None:
        self._pressed = pressed
        self._pause_s = pause_s
        self._keys = ""
        self._timer: asyncio.TimerHandle | None = None

    def press(self, key: str) -> None:
        """Take a key."""
        self.lift()
        self._keys += key
        if key == "#":
            self._tell()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._tell)

    def lift(self) -> None:
        """Wait for no pause any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        keys, self._keys = self._keys, ""
        self._pressed(keys)


class Said(NamedTuple, Generic[Tag]):
    """What was heard of one thing that the agent said, when it was interrupted."""

    tag: Tag
    text: str
    heard_ms: int


class _Piece(Generic[Tag]):
    """Audio under one text."""

    def __init__(self, tag: Tag, text: str, mark: str) -> None:
        self.tag = tag
        self.text = text
        self.mark = mark
        self.length = 0
        self.began: float | None = None
        self.is_played = False

    def heard(self, ms: int) -> tuple[str, int]:
        """Return the words and ms that were heard when `ms` of it had been played."""
        whole = self.length // BYTES_PER_MS
        if self.is_played or ms >= whole > 0:
            return self.text, whole
        if whole == 0:
            return "", 0
        words = self.text.split()
        return " ".join(words[: round(len(words) * ms / whole)]), ms


class Speaking(Generic[Tag]):
    """What the agent says: pieces of text with their audio, each followed by a mark, so that we know what was heard.

    A tag names what the pieces are part of: an item of the provider's, a message of the history.
    """

    def __init__(self, media: CallMedia) -> None:
        self._media = media
        self._pieces: list[_Piece[Tag]] = []
        self._count = 0
        self._is_open = False

    @property
    def is_silent(self) -> bool:
        """True when all that was said has been played."""
        return not self._pieces

    def begin(self, tag: Tag, text: str) -> None:
        """Begin a piece; the audio that follows speaks `text`, which `text` may tell later."""
        self.end()
        self._count += 1
        self._pieces.append(_Piece(tag, text, f"said-{self._count}"))
        self._is_open = True
        self._media.say(text)

    def text(self, tag: Tag, text: str) -> None:
        """Tell what the piece that was begun speaks, or begin the next one when that is known already."""
        if self._is_open and self._pieces[-1].tag == tag and not self._pieces[-1].text:
            self._pieces[-1].text = text
            self._media.say(text)
        else:
            self.begin(tag, text)

    def play(self, mulaw: bytes) -> None:
        """Play audio of the piece that was begun."""
        if not self._is_open:
            return
        piece = self._pieces[-1]
        piece.length += len(mulaw)
        if piece.began is None and (len(self._pieces) == 1 or self._pieces[-2].is_played):
            piece.began = _now()
        self._media.play(mulaw)

    def end(self) -> None:
        """End the piece that was begun, if one was."""
        if self._is_open:
            self._is_open = False
            self._media.mark(self._pieces[-1].mark)

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Take the echo of a mark. What was cleared is known by the interruption."""
        place = next((at for at, piece in enumerate(self._pieces) if piece.mark == name), None)
        if place is None or cleared:
            return
        self._pieces[place].is_played = True
        if all(piece.is_played for piece in self._pieces):
            self._pieces.clear()
        elif len(self._pieces) > place + 1:
            self._pieces[place + 1].began = _now()

    def played_ms(self) -> int:
        """Return, by the clock, how much of the piece that is being played has been heard."""
        for piece in self._pieces:
            if not piece.is_played:
                return 0 if piece.began is None else round((_now() - piece.began) * 1000)
        return 0

    def interrupted(self, played_ms: int) -> list[Said[Tag]]:
        """Forget all, and return what was heard of whatever had not been played to its end."""
        unheard = [piece.tag for piece in self._pieces if not piece.is_played]
        heard: dict[Tag, Said[Tag]] = {}
        left = played_ms
        for piece in self._pieces:
            if piece.tag not in unheard:
                continue
            text, ms = piece.heard(left)
            left = left if piece.is_played else 0
            before = heard.get(piece.tag, Said(piece.tag, "", 0))
            heard[piece.tag] = Said(piece.tag, f"{before.text} {text}".strip(), before.heard_ms + ms)
        self._pieces.clear()
        self._is_open = False
        return list(heard.values())


def _now() -> float:
    return asyncio.get_running_loop().time()
