"""Configuration objects of call control: orders to many calls at once, kept as records of the store."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from onhook.calls.call import Call
from onhook.calls.causes import Cause
from onhook.calls.selector import CallSelector
from onhook.calls.states import State


class DialBlock(msgspec.Struct, frozen=True):
    """While it stands, no INVITE leaves for the calls of its environment that `selector` means (see `matches_new`).

    `created_by` is the initiator, as in a cause; `bulk_id` is the bulk stop that it came with.
    """

    id: str
    environment_id: str
    selector: CallSelector
    created_at: int
    created_by: str
    reason: str | None = None
    bulk_id: str | None = None


class BulkStop(msgspec.Struct, frozen=True):
    """One order to stop many calls.

    `call_ids` are the calls that `selector` meant at `requested_at`, `states` how each stood then. `first` says of each
    whether this order was its first stop; it is None until the stops were made durable. `dial_block_id` is the block
    that came with the order, `held` how many scheduled calls were left to it.
    """

    id: str
    environment_id: str
    selector: CallSelector
    cause: Cause
    requested_at: int
    request_id: str | None = None
    dry_run: bool = False
    dial_block_id: str | None = None
    call_ids: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    held: int = 0
    first: tuple[bool, ...] | None = None

    @property
    def created_at(self) -> int:
        """As every record has it: when it was ordered (ms)."""
        return self.requested_at


class BulkStops(Protocol):
    """What a bulk stop asks of a store. Errors are `StoreError`."""

    async def select_calls(self, environment_id: str | None, selector: CallSelector, now: int) -> list[Call]:
        """Return the live calls that a selector means, oldest first. `environment_id` None reaches all."""
        ...

    async def get_calls(self, ids: Sequence[str]) -> list[Call]:
        """Return calls in the order of `ids`, of any environment, deleted ones too; leaves out those that are gone."""
        ...

    async def unfinished_bulk_stops(self) -> list[BulkStop]:
        """Return the bulk stops, no dry runs, whose `first` is not known: what a restart goes on with, oldest first."""
        ...
