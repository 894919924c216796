"""The values of the domain: a call, its stop, its events. All times are ms since the epoch, in UTC."""

import secrets
import uuid
from enum import StrEnum
from typing import Any, Literal

import msgspec

from onhook.calls.causes import Cause, Outcome
from onhook.calls.proof import PENDING, Proof, Result
from onhook.calls.states import OVER, State


class Dialect(StrEnum):
    """The wire API that made an object; it decides the shape of the object's id."""

    TALKOVER = "talkover"
    ANUNZI = "anunzi"
    NATIVE = "native"


class Direction(StrEnum):
    """Who called whom."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class EventType(StrEnum):
    """The names in the event log."""

    CREATED = "call.created"
    DIALED = "call.dialed"
    PROVISIONAL = "call.provisional"
    RINGING = "call.ringing"
    ANSWERED = "call.answered"
    ANSWERED_AFTER_STOP = "call.answered_on_wire"
    DTMF = "call.dtmf"
    AUDIO = "call.audio"
    AGENT_STARTED = "call.agent_started"
    CONVERSATION_STARTED = "call.conversation_started"
    ANSWERED_BY = "call.answered_by"
    TURN = "call.turn"
    ACTION = "call.action"
    ACTION_FAILED = "call.action_failed"
    VOICEMAIL_LEFT = "call.voicemail_left"
    CONVERSATION_ENDED = "call.conversation_ended"
    RECORDING = "call.recording"
    STOP_SCHEDULED = "call.stop_scheduled"
    STOP_UNSCHEDULED = "call.stop_unscheduled"
    FAREWELL_STARTED = "call.farewell_started"
    STOP_REQUESTED = "call.stop_requested"
    ENDED = "call.ended"
    PROOF_UPDATED = "proof.updated"


Farewell = Literal["played", "truncated", "skipped"]
"""What became of the last words: heard to their end, cut off, or never begun."""


class Stop(msgspec.Struct, frozen=True):
    """The first stop of a call; later stops return it as it stands.

    `request_id` is the HTTP request that asked for it, `bulk_id` the bulk stop that it belongs to. `farewell` is None
    for a stop that was to say nothing.
    """

    requested_at: int
    cause: Cause
    result: Result = Result.PENDING
    request_id: str | None = None
    bulk_id: str | None = None
    farewell: Farewell | None = None


DataStorage = Literal["everything", "everything_except_pii", "basic_attributes_only"]
"""How much of a call may be kept, from all to least, in Retell's words."""


class CallDetails(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the maker of the call gave and may want back; of all this, call control reads the metadata alone.

    Plain data in no circle, as the call itself: reading ten thousand calls need not make the collector search them.
    """

    payload: dict[str, Any] = msgspec.field(default_factory=dict)
    context: dict[str, Any] = msgspec.field(default_factory=dict)
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    dynamic_variables: dict[str, str] = msgspec.field(default_factory=dict)
    sip_headers: dict[str, str] = msgspec.field(default_factory=dict)
    custom_attributes: dict[str, str | float | bool] = msgspec.field(default_factory=dict)
    data_storage_setting: DataStorage = "everything"
    batch_call_id: str | None = None
    is_testing: bool = False
    agent_version: int = 0


class Call(msgspec.Struct, frozen=True, gc=False):
    """One call, as its row says.

    `sip_call_id` is fixed at creation, before any INVITE. `deadline_at` is the stored moment at which a
    clock stops the call (ring time-out before the answer, maximum duration after it). `outcome`, `cause`
    and `ended_at` are frozen once written; `ended_at` of a stopped call is the commit time of `ending`.
    From `deleted_at` on its environment no longer sees it.
    """

    id: str
    environment_id: str
    agent_id: str
    trunk_id: str
    dialect: Dialect
    direction: Direction
    from_number: str
    to_number: str
    state: State
    sip_call_id: str
    created_at: int
    updated_at: int
    max_duration_ms: int
    ring_timeout_ms: int
    dial_at: int | None = None
    deadline_at: int | None = None
    dialed_at: int | None = None
    first_provisional_at: int | None = None
    ringing_at: int | None = None
    answered_at: int | None = None
    answered_on_wire_at: int | None = None
    ended_at: int | None = None
    outcome: Outcome | None = None
    cause: Cause | None = None
    stop: Stop | None = None
    proof: Proof | None = None
    details: CallDetails = CallDetails()
    deleted_at: int | None = None

    @property
    def is_over(self) -> bool:
        """True once a stop is durable or the wire has ended it: what both dialects call over."""
        return self.state in OVER

    @property
    def duration_ms(self) -> int:
        """From the answer to `ended_at`; 0 before an answer. A running call has no duration yet."""
        if self.answered_at is None or self.ended_at is None:
            return 0
        return max(0, self.ended_at - self.answered_at)

    @property
    def wire_duration_ms(self) -> int | None:
        """From the 2xx on the wire to the confirmation of the end; what a carrier may bill."""
        answered = self.answered_at or self.answered_on_wire_at
        if answered is None or self.proof is None or self.proof.confirmed_at is None:
            return None
        return max(0, self.proof.confirmed_at - answered)

    @property
    def billable(self) -> bool:
        """True when a 2xx was seen on the wire, before or after a stop."""
        return self.answered_at is not None or self.answered_on_wire_at is not None

    @property
    def proof_so_far(self) -> Proof:
        """The proof, or `PENDING` while the wire has not settled."""
        return self.proof or PENDING


class Event(msgspec.Struct, frozen=True):
    """One line of a call's log: `seq` counts from 1 without a gap, per call."""

    call_id: str
    seq: int
    at: int
    type: EventType
    data: dict[str, Any] = msgspec.field(default_factory=dict)


def new_call_id(dialect: Dialect) -> str:
    """Return a call id in the dialect's own shape: a UUID, or `call_` and 27 hexadecimal digits."""
    return str(uuid.uuid4()) if dialect is Dialect.TALKOVER else f"call_{secrets.token_hex(14)[:27]}"


def new_agent_id(dialect: Dialect) -> str:
    """Return an agent id in the dialect's own shape: a UUID, or `agent_` and 26 hexadecimal digits."""
    return str(uuid.uuid4()) if dialect is Dialect.TALKOVER else f"agent_{secrets.token_hex(13)}"


def mask_number(number: str) -> str:
    """Hide all but the last 4 digits of a phone number, for logs."""
    return "*" * max(0, len(number) - 4) + number[-4:]
