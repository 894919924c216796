"""The port to the timers of calls: stops at a later moment, as rows with deadlines that any process can fire.

A stop, and the end, of a call takes its timers along in its own transaction: only live calls have any.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from onhook.calls.call import Call
from onhook.calls.timer import CallTimer, TimerKind


class TimerSet(NamedTuple):
    """What `set_timer` found: the call as it stands, its timer of that kind now, and whether that is the one given."""

    call: Call
    timer_now: CallTimer | None
    set: bool


class TimerCleared(NamedTuple):
    """What `clear_timer` found: the call as it stands, and the timer that is gone, None when there was none."""

    call: Call
    timer: CallTimer | None


class DueTimer(NamedTuple):
    """A timer whose moment has come, and the live call that it is to stop."""

    call: Call
    timer: CallTimer


class Timers(Protocol):
    """Errors are `StoreError`. `environment_id` None reaches all. Setting and clearing go ahead as stops do."""

    async def set_timer(
        self,
        call_id: str,
        environment_id: str | None,
        timer: CallTimer,
        *,
        only_answered: bool = False,
        if_absent: bool = False,
    ) -> TimerSet | None:
        """Set a live call's timer, instead of the one of its kind that it may have; None when there is no such call.

        A call that is over has no timer and gets none. Nor is it set where `only_answered` finds the call in another
        state, or `if_absent` a timer of the kind. Logs `call.stop_scheduled` or, for a farewell,
        `call.farewell_started`, and writes the audit log.
        """
        ...

    async def shorten_timer(
        self,
        call_id: str,
        environment_id: str | None,
        kind: TimerKind,
        to: int,
        at: int,
        *,
        actor: str = "system",
        reason: str | None = None,
        request_id: str | None = None,
    ) -> TimerSet | None:
        """Let a live call's timer come earlier, at `to`; the rest of it stays. None when there is no such call.

        Nothing changes where there is no timer of the kind, or one that comes as early. Logs what `set_timer` logs, at
        `at` (now, ms) and with who shortened it and why, and writes the audit log.
        """
        ...

    async def clear_timer(
        self,
        call_id: str,
        environment_id: str | None,
        kind: TimerKind,
        at: int,
        *,
        actor: str = "system",
        reason: str | None = None,
        request_id: str | None = None,
    ) -> TimerCleared | None:
        """Take back a live call's timer at `at` (now, ms); None when there is no such call.

        For a `stop_at`, logs `call.stop_unscheduled` with who did it and why, and writes the audit log.
        """
        ...

    async def timers(self, call_id: str) -> list[CallTimer]:
        """Return a call's timers, the earliest first."""
        ...

    async def timers_of(self, call_ids: Sequence[str]) -> dict[str, list[CallTimer]]:
        """Return the timers of many calls by the call's id, as `timers` does; calls without any are left out."""
        ...

    async def count_overdue(self, now: int, grace_ms: int) -> int:
        """Count the live calls whose deadline, or a timer, passed more than `grace_ms` before `now`."""
        ...
