"""The port to what a store says of all calls at once, for metrics. Errors are `StoreError`."""

from typing import NamedTuple, Protocol

from onhook.calls.states import State


class Standing(NamedTuple):
    """Where a call stands, and since when (ms): the stop of one in `ending`, else the row's last change."""

    call_id: str
    state: State
    since: int


class Figures(Protocol):
    """Over all environments, in one look each."""

    async def live_call_counts(self) -> dict[State, int]:
        """Count the calls that are not `ended`; every such state has an entry."""
        ...

    async def standings(self) -> list[Standing]:
        """Return every call that may have something on the wire, in no order."""
        ...
