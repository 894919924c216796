"""The port to durable state. One contract suite runs on every implementation.

Every write is one transaction that is on disk (fsync) when its method returns. A call's row, its events
and its snapshot change together or not at all. Each conditional write says in its result what it found;
nothing is read first and written later. `request_stop` and `settle` go ahead of all other waiting writes.

Errors: `StoreError` when a write could not be made durable (disk full, database away). What the database
then holds is unknown to the caller, as it is for any commit that fails.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, get_args

import msgspec

from onhook.calls.call import Call, DataStorage, Dialect, Direction, Event, EventType, Farewell
from onhook.calls.causes import Cause
from onhook.calls.proof import Proof
from onhook.calls.states import State
from onhook.calls.timer import CallTimer
from onhook.store.audit import Act, AuditLog
from onhook.store.figures import Figures
from onhook.store.idempotency import OnceRequests
from onhook.store.outbox import Outbox, WebhookEndpoint
from onhook.store.queries import CallFilter, Page
from onhook.store.records import BulkStop, BulkStops, DialBlock
from onhook.store.timers import DueTimer, Timers


class StoreError(Exception):
    """The write is not durable, or the database cannot be read."""


class ConflictError(StoreError):
    """A unique value (a number, a name) is taken already."""


class DialBlockedError(StoreError):
    """The call was not created: a dial block of its environment keeps its INVITE from leaving."""

    def __init__(self, block_id: str) -> None:
        super().__init__(f"dialling is blocked by {block_id}")
        self.block_id = block_id


# --- configuration objects -------------------------------------------------------------------------


class Environment(msgspec.Struct, frozen=True):
    """A tenant: everything else belongs to exactly one."""

    id: str
    name: str
    created_at: int


class ApiKey(msgspec.Struct, frozen=True):
    """A key, known by the SHA-256 of its token. `secret` is the token encrypted, for keys that sign.

    `scopes` are what it may do; an empty tuple is everything.
    """

    id: str
    environment_id: str
    name: str
    token_sha256: str
    last4: str
    created_at: int
    revoked_at: int | None = None
    secret: str | None = None
    scopes: tuple[str, ...] = ()


class TrunkRecord(msgspec.Struct, frozen=True):
    """A SIP trunk; the passwords are encrypted. Fields as in `lines.engine.Trunk`.

    With an `inbound_username` calls from the trunk's addresses are taken only with its digest credentials.
    """

    id: str
    environment_id: str
    name: str
    uri: str
    created_at: int
    username: str | None = None
    password: str | None = None
    from_user: str | None = None
    from_domain: str | None = None
    number_format: str = "e164"
    identity: bool = False
    send_reason_text: bool = False
    session_expires_s: int = 1800
    inbound_username: str | None = None
    inbound_password: str | None = None


class Number(msgspec.Struct, frozen=True):
    """A phone number of ours (E.164), bound to the agents that use it and the trunk it lives on.

    `agent_id` calls from it, `inbound_agent_id` takes its calls. Where there is none, `agent_id` takes them if it is an
    agent of direction inbound.
    """

    id: str
    environment_id: str
    number: str
    trunk_id: str
    created_at: int
    agent_id: str | None = None
    inbound_agent_id: str | None = None

    def is_used_by(self, agent_id: str) -> bool:
        """Say whether an agent calls from it, or takes its calls."""
        return agent_id in (self.agent_id, self.inbound_agent_id)


class Agent(msgspec.Struct, frozen=True):
    """A voice agent. `settings` holds what its dialect defines (language, voice, ...) as given."""

    id: str
    environment_id: str
    dialect: Dialect
    name: str
    label: str
    created_at: int
    updated_at: int
    direction: Direction = Direction.OUTBOUND
    published: bool = False
    version: int = 0
    max_duration_ms: int = 3_600_000
    ring_timeout_ms: int = 60_000
    kind: str = "greeting"
    settings: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def data_storage(self) -> DataStorage:
        """How much may be kept of its calls."""
        given = self.settings.get("data_storage_setting")
        words: tuple[DataStorage, ...] = get_args(DataStorage)
        return next((word for word in words if word == given), "everything")


Record = Environment | ApiKey | TrunkRecord | Number | Agent | WebhookEndpoint | DialBlock | BulkStop
R = TypeVar("R", Environment, ApiKey, TrunkRecord, Number, Agent, WebhookEndpoint, DialBlock, BulkStop)


# --- calls: commands and what they find -------------------------------------------------------------


class Progress(msgspec.Struct, frozen=True):
    """A wire fact that does not end a call.

    `to` is the state to enter, only from the states that `calls.states` allows, or None for a plain fact.
    `fields` are columns of the call to set when the row moves (or always, when `to` is None), each only if it
    is still empty, except `deadline_at`, which is replaced. `event` is logged when the row moved, when something
    was set, or when the fact names no fields (a key pressed); `late_event` and `late_fields` are used instead when
    the state no longer allows `to`. ValueError for `to` in `ending` or `ended`, or a field that is no wire time.
    """

    call_id: str
    at: int
    event: EventType
    to: State | None = None
    fields: dict[str, int | None] = msgspec.field(default_factory=dict)
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    late_event: EventType | None = None
    late_fields: dict[str, int | None] = msgspec.field(default_factory=dict)


class Arrival(msgspec.Struct, frozen=True):
    """The leg that a registered call waits for has come; `at` is when its INVITE did.

    What was not known when the call was registered is filled in: the trunk and the numbers. `data` is for the log.
    """

    call_id: str
    at: int
    deadline_at: int
    sip_call_id: str
    trunk_id: str
    from_number: str
    to_number: str
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class StopOrder(msgspec.Struct, frozen=True):
    """Stop one call of an environment. `agent_id` narrows the look-up as TalkOver needs.

    `call_id` is the call's id or, with `or_sip_call_id`, its SIP Call-ID. `environment_id` None is the
    system's own reach over all environments. `request_id`, `bulk_id` and `farewell` go into the stop's record.
    """

    call_id: str
    cause: Cause
    at: int
    environment_id: str | None = None
    agent_id: str | None = None
    or_sip_call_id: bool = False
    request_id: str | None = None
    bulk_id: str | None = None
    farewell: Farewell | None = None


class Stopped(msgspec.Struct, frozen=True):
    """What `request_stop` found: the call as it stands now; `first` is True for the stop that won."""

    call: Call
    first: bool


class Settlement(msgspec.Struct, frozen=True):
    """The end of a call on the wire.

    `cause` and `ended_at` are written only if no stop has written them before.
    """

    call_id: str
    at: int
    proof: Proof
    cause: Cause
    ended_at: int


class DetailsChange(msgspec.Struct, frozen=True):
    """New details of a call of an environment; None leaves what is there. Details are replaced whole.

    `data_storage_setting` takes effect only where it is stricter.
    """

    call_id: str
    environment_id: str
    at: int
    metadata: dict[str, Any] | None = None
    custom_attributes: dict[str, str | float | bool] | None = None
    data_storage_setting: DataStorage | None = None


class Due(msgspec.Struct, frozen=True):
    """What a sweep found, oldest first: calls to dial, live calls past their deadline, calls in `ending`, timers.

    No dial block means a call of `to_dial`: those that one holds back keep no other from its turn.
    """

    to_dial: tuple[Call, ...] = ()
    overdue: tuple[Call, ...] = ()
    ending: tuple[Call, ...] = ()
    timers: tuple[DueTimer, ...] = ()


class Store(Outbox, OnceRequests, Timers, BulkStops, AuditLog, Figures, Protocol):
    """Durable state. Every write that logs an event queues its deliveries with it (see `outbox`)."""

    async def open(self) -> None:
        """Open and migrate. Raises `StoreError`."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then close."""
        ...

    async def check(self) -> None:
        """Make one tiny durable write. Raises `StoreError` when that is not possible."""
        ...

    # configuration objects: one mechanism for all kinds

    async def put(self, record: Record, by: Act | None = None) -> None:
        """Insert or replace by id. Raises `ConflictError` for a taken number (per environment).

        `by` leaves an entry in the audit log, in the same transaction; so it does wherever it may be given.
        """
        ...

    async def get(self, kind: type[R], record_id: str, environment_id: str | None) -> R | None:
        """Return one record; another environment's is None. `environment_id` None reaches all."""
        ...

    async def find(self, kind: type[R], environment_id: str | None) -> list[R]:
        """Return all records of a kind, newest first, ties by id."""
        ...

    async def delete(self, kind: type[R], record_id: str, environment_id: str | None, by: Act | None = None) -> bool:
        """Delete one record; False when it is not there."""
        ...

    async def key_by_hash(self, token_sha256: str) -> ApiKey | None:
        """Return the key that is not revoked, or None. Fast: runs for every request."""
        ...

    async def number_by_value(self, environment_id: str, number: str) -> Number | None:
        """Return the number record of an E.164 number."""
        ...

    # calls

    async def create_call(self, call: Call, timer: CallTimer | None = None, by: Act | None = None) -> None:
        """Insert a call in `scheduled`, `dialing` or `ringing` with its `call.created` event, and with `timer` set.

        Raises `ConflictError` for a taken id, `DialBlockedError` for a call in `dialing` that a dial block means,
        ValueError for a call that is over. One in `scheduled` is created, and waits for the block's release.
        """
        ...

    async def get_call(self, call_id: str, environment_id: str | None) -> Call | None:
        """Return one call; another environment's, or a deleted one, is None. `environment_id` None reaches all."""
        ...

    async def list_calls(self, where: CallFilter, page: Page) -> list[Call]:
        """Return one page of calls. Deleted ones are in no list and no count."""
        ...

    async def count_calls(self, where: CallFilter) -> int:
        """Count calls."""
        ...

    async def dial(self, call_id: str, at: int, deadline_at: int) -> bool:
        """Move `scheduled` to `dialing` and set the deadline; False when the state, or a dial block, forbids it."""
        ...

    async def arrive(self, arrival: Arrival) -> Call | None:
        """Move a registered call to `ringing` with its `call.dialed` event.

        None when there is no such call, or it waits for nobody (any more).
        """
        ...

    async def save_snapshot(self, call_id: str, snapshot: bytes, *, before_invite: bool) -> bool:
        """Store the engine's snapshot.

        With `before_invite`, only before an answer or a stop, and while no dial block means the call; False otherwise.
        An ended call whose snapshot is forgotten gets none again: False, too.
        """
        ...

    async def snapshots(self) -> dict[str, bytes]:
        """Return every snapshot that is not forgotten, by call id (calls under the late-answer watch too)."""
        ...

    async def record_progress(self, progress: Progress) -> Call | None:
        """Apply a wire fact (see `Progress`); return the call as it stands, None when unknown."""
        ...

    async def request_stop(self, order: StopOrder) -> Stopped | None:
        """Move a live call to `ending` for `order.cause`; the only writer of `ending`.

        First writer wins: a call that is over already is returned as it stands, `first=False`. None when no
        call of that reach exists. Sets `outcome`, `cause`, `ended_at` (= `order.at`) and `stop`; logs
        `call.stop_requested`; deletes the call's timers. The first stop is written into the audit log.
        """
        ...

    async def request_stops(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        """Do the same for many, in one transaction, results in order."""
        ...

    async def settle(self, settlement: Settlement) -> Call | None:
        """Move a call to `ended` with its proof; the only writer of `ended`. Logs `call.ended`, once.

        A call that is `ended` already stays as it is and is returned. The stop's result becomes the proof's. A
        confirmed proof takes the snapshot along: there is nothing left to end.
        """
        ...

    async def append_proof(self, call_id: str, at: int, proof: Proof) -> Call | None:
        """Log `proof.updated` with evidence that came after the end; moves nothing else.

        Replaces the row's proof, and with it the stop's result. A live call has no end to prove: it stays as it is.
        """
        ...

    async def update_details(self, change: DetailsChange) -> Call | None:
        """Change what the maker of a call wants back; return the call, None when the environment has none."""
        ...

    async def delete_call(self, call_id: str, environment_id: str, at: int, by: Act | None = None) -> bool:
        """Hide a call that is over from its environment; False when there is none, or it is live."""
        ...

    async def erase_deleted_calls(self) -> int:
        """Erase some deleted calls with their events, once they are settled and their deliveries are through."""
        ...

    async def forget_snapshot(self, call_id: str) -> None:
        """Delete the snapshot of a call: the engine will need it no more."""
        ...

    async def events(self, call_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return a call's events with `seq` greater than `after`, in order."""
        ...

    async def due(self, now: int, limit: int = 500) -> Due:
        """Return what waits for a clock at `now`."""
        ...
