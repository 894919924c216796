"""How many calls this node takes: as many as it may hold at once, and none while its audio is late."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, get_args

from onhook.control.live import LiveCalls

RETRY_AFTER_S = 10
"""When a client whose call was refused may try again."""

Shortage = Literal["full", "late"]
"""Why no more calls are taken: `full`, the limit is reached; `late`, the audio of those that are there comes late."""
SHORTAGES: tuple[Shortage, ...] = get_args(Shortage)


class NoSeatError(Exception):
    """No more calls are taken now; the message says why, to whoever wanted one."""


class Capacity:
    """Gives each new call a seat. A call keeps it until its end is written: one that is ending holds it still.

    `max_calls` is the most at once, 0 for no limit. `is_late` says that calls which are there already suffer.
    """

    def __init__(self, live: LiveCalls, max_calls: int = 0, is_late: Callable[[], bool] = lambda: False) -> None:
        self._live = live
        self.max_calls = max_calls
        self._is_late = is_late
        self._coming = 0
        """Calls that are being written, and not live yet."""
        self.refused: Counter[Shortage] = Counter()

    def shortage(self) -> Shortage | None:
        """Return why no call would get a seat now."""
        if self.max_calls and len(self._live) + self._coming >= self.max_calls:
            return "full"
        return "late" if self._is_late() else None

    @contextlib.contextmanager
    def seat(self) -> Iterator[None]:
        """Keep a seat for a call until the block is left, in which it is entered into `LiveCalls`, or is not.

        Raises `NoSeatError`.
        """
        self.check()
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    def check(self) -> None:
        """Raise `NoSeatError` where a call would get no seat now, and count that."""
        shortage = self.shortage()
        if shortage is not None:
            self.refused[shortage] += 1
            raise NoSeatError(self.words(shortage))

    def words(self, shortage: Shortage) -> str:
        """Say what keeps calls from being taken."""
        if shortage == "full":
            return f"This server takes no more than {self.max_calls} calls at once"
        return "This server is overloaded: the audio of its calls is late"

    def standing(self) -> str:
        """Say of the node, for `/readyz`, whether it takes calls. To be full is its operator's own wish."""
        shortage = self.shortage()
        if shortage is None:
            return "ok"
        return f"limited: {self.words(shortage)}" if shortage == "full" else self.words(shortage)
