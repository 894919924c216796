"""The model's responses in a Realtime session: one at a time, and what it says in them."""

from collections.abc import Callable, Mapping
from typing import Any

from onhook.agents.providers.deadlines import Deadline, Limits

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


class ItemText:
    """The text of what the model is saying; it comes beside the audio, mostly ahead of it."""

    def __init__(self, item_id: str) -> None:
        self.id = item_id
        self.text = ""
        self._said = 0  # characters
        self._has_begun = False

    @property
    def is_due(self) -> bool:
        """True when the audio that comes now should be said to speak what is known of the text."""
        return not self._has_begun or self.text[self._said :].rstrip().endswith(SENTENCE_ENDS)

    def take(self) -> str:
        """Return the text that was not said yet."""
        piece, self._said, self._has_begun = self.text[self._said :], len(self.text), True
        return piece.strip()
