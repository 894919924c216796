"""A stop at a later moment. It is a row, so it outlives the process that set it, and any process can fire it."""

from enum import StrEnum

import msgspec

from onhook.calls.causes import Cause


class TimerKind(StrEnum):
    """What a timer is for; a call has at most one of each kind."""

    STOP_AT = "stop_at"
    """A stop that somebody has scheduled."""
    FAREWELL = "farewell"
    """The deadline of a graceful stop: by then the last words have been said, or are cut off."""


class CallTimer(msgspec.Struct, frozen=True):
    """A stop of a call at `at` for `cause`, whose initiator set it at `set_at` (ms) in the request `request_id`."""

    kind: TimerKind
    at: int
    cause: Cause
    set_at: int
    request_id: str | None = None
