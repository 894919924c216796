"""The bodies of bulk stops and dial blocks."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from onhook.api.native.call_schemas import CauseOut
from onhook.api.native.schemas import Line, Request
from onhook.api.schema import Schema
from onhook.calls.causes import Outcome
from onhook.calls.proof import Method
from onhook.calls.selector import CallSelector
from onhook.calls.states import State

Id = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Prefix = Annotated[str, StringConstraints(pattern=r"^\+[0-9]{1,15}$")]
LiveState = Literal["scheduled", "dialing", "ringing", "answered"]
Ended = Literal["confirmed", "pending", "unconfirmed", "already_ended"]
MAX_VALUES = 1000
MAX_AGE_MS = 30 * 86_400_000
MAX_WAIT_MS = 60_000


class Selector(Request):
    """Which calls. All that is given must hold, each by any one of its values; every call is spelled out: `all`."""

    agent_ids: list[Id] = Field(default_factory=list, max_length=MAX_VALUES)
    environment: Literal["this"] | None = Field(
        default=None, description="What a key reaches is its own environment; says nothing that narrows"
    )
    trunk_ids: list[Id] = Field(default_factory=list, max_length=MAX_VALUES)
    number_prefixes: list[Prefix] = Field(
        default_factory=list, max_length=MAX_VALUES, description="How the called number begins", examples=[["+44"]]
    )
    states: list[LiveState] = Field(default_factory=list)
    older_than_ms: Annotated[int, Field(ge=0, le=MAX_AGE_MS)] | None = Field(
        default=None, description="Created at least so long ago"
    )
    metadata: dict[str, str] = Field(
        default_factory=dict, max_length=100, description="All of it must be in the call's metadata"
    )
    all: bool = Field(default=False, description="Every live call; goes with no other condition")

    def read(self) -> CallSelector:
        """Return what is meant."""
        return CallSelector(
            agent_ids=tuple(self.agent_ids),
            trunk_ids=tuple(self.trunk_ids),
            number_prefixes=tuple(self.number_prefixes),
            states=tuple(State(state) for state in self.states),
            older_than_ms=self.older_than_ms,
            metadata=self.metadata,
            all=self.all,
        )


class StopMany(Request):
    """Stop the live calls that `selector` means."""

    selector: Selector
    dry_run: bool = Field(default=False, description="Only tell which calls would be stopped")
    block_dials: bool = Field(
        default=False,
        description="Hold back, from now until the block's release, what the selector says of calls not yet dialled. "
        "Scheduled calls are left to it, unless `states` names them",
    )
    reason: Line | None = Field(default=None, description="Free text, kept with the cause of each call")
    wait_ms: Annotated[int, Field(ge=0, le=MAX_WAIT_MS)] | None = Field(
        default=None, description="How long to wait for proofs; the server's default when absent, of a stream 35 s"
    )


class StopsQuery(Request):
    """How to answer."""

    stream: bool = Field(default=False, description="As `Accept: application/x-ndjson` does")


class ListQuery(Request):
    """How many to list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50


class StoppedItem(Schema):
    """One call of a bulk stop, as it stands now.

    `state_before` is its state when it was chosen. `first` is true when this was its first stop. `result` is null in a
    dry run; a call that was deleted since has nothing but its id.
    """

    call_id: str
    state_before: State
    first: bool | None
    result: Ended | None
    state: State | None
    outcome: Outcome | None
    cause: CauseOut | None
    ended_at: str | None
    proof_method: Method | None
    bye_sent_at: str | None
    confirmed_at: str | None


class StopResult(Schema):
    """How many calls have which `result`."""

    confirmed: int = 0
    pending: int = 0
    unconfirmed: int = 0
    already_ended: int = 0


class SelectorOut(Schema):
    """Which calls, as it was said."""

    agent_ids: list[str]
    trunk_ids: list[str]
    number_prefixes: list[str]
    states: list[State]
    older_than_ms: int | None
    metadata: dict[str, str]
    all: bool


class BulkStopOut(Schema):
    """A bulk stop: `matched` calls, of which it was the first stop of `stopped`.

    `stopped` is null before the stops are durable, and in a dry run. `held` scheduled calls are left to the dial block,
    not stopped.
    """

    id: str
    requested_at: str
    requested_by: str
    reason: str | None
    selector: SelectorOut
    dry_run: bool
    matched: int
    stopped: int | None
    held: int
    dial_block_id: str | None


class BulkStopLedger(BulkStopOut):
    """A bulk stop with its ledger: what became of each call, in the order of their creation."""

    result: StopResult
    items: list[StoppedItem]


class BulkStops(Schema):
    """Bulk stops, newest first."""

    items: list[BulkStopOut]


class BlockDials(Request):
    """Let no INVITE leave for what `selector` says of calls not yet dialled; they have no state and no age."""

    selector: Selector
    reason: Line | None = Field(default=None, description="Free text, kept with the block")


class DialBlockOut(Schema):
    """A dial block; `bulk_id` is the bulk stop that it came with."""

    id: str
    selector: SelectorOut
    reason: str | None
    created_at: str
    created_by: str
    bulk_id: str | None


class DialBlocks(Schema):
    """The dial blocks that stand, newest first."""

    items: list[DialBlockOut]
