"""Which calls to read from a store, and how many at once."""

import msgspec

from onhook.calls.call import Direction
from onhook.calls.causes import Outcome
from onhook.calls.states import State


class CallFilter(msgspec.Struct, frozen=True):
    """Which calls to list; all conditions hold together, an empty tuple or None means any.

    `created_from` is inclusive, `created_to` exclusive (ms). `search` matches a part of either number, of the
    id or of the SIP Call-ID. `started_from` and `started_to`, both inclusive, bound the place of `Page.by_start`.
    `phone` matches either number exactly. `over` True is `ending` and
    `ended`, False the rest.
    """

    environment_id: str | None = None
    ids: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    outcomes: tuple[Outcome | None, ...] = ()
    agent_ids: tuple[str, ...] = ()
    direction: Direction | None = None
    created_from: int | None = None
    created_to: int | None = None
    started_from: int | None = None
    started_to: int | None = None
    search: str | None = None
    to_number: str | None = None
    phone: str | None = None
    over: bool | None = None


class Page(msgspec.Struct, frozen=True):
    """A keyset or offset page: newest first by (`created_at`, `id`), or oldest first with `ascending`.

    With `by_start` a call's place is its answer, or its creation while it has none. `after` is the place and the
    id of the last row of the page before. `offset` is for the dialects that count pages. `limit` is at most
    `MAX_PAGE`; ValueError beyond.
    """

    limit: int = 50
    after: tuple[int, str] | None = None
    offset: int = 0
    ascending: bool = False
    by_start: bool = False


MAX_PAGE = 1000
"""The largest `Page.limit`."""
