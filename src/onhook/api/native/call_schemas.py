"""The bodies about calls of our own API. Times are ISO 8601 UTC to the millisecond, spans integers of ms."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints

from onhook.api.native.schemas import NO_CONTROLS, HeaderName, HeaderValue, Line, MaxDuration, Request, RingTimeout
from onhook.api.schema import Schema
from onhook.calls.call import Dialect, Direction, Farewell
from onhook.calls.causes import Outcome, Reason
from onhook.calls.proof import Method, Result
from onhook.calls.states import State

DEADLINE_MS = 5_000
"""How long a farewell may take for which nobody says how long."""
MAX_SPAN_MS = 366 * 86_400_000


def _text_only(value: object) -> object:
    """Refuse a number in place of a moment: nobody could tell seconds from milliseconds. Raises `ValueError`."""
    if not isinstance(value, str | datetime):
        raise ValueError("a moment is text, in ISO 8601")  # noqa: TRY004 (pydantic tells a ValueError to the client)
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text_only)]
"""A moment with its time zone."""
Span = Annotated[int, Field(ge=0, le=MAX_SPAN_MS)]
StopWord = Literal["confirmed", "pending", "unconfirmed", "already_ended", "winding_down"]
Words = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=NO_CONTROLS)]
Reasoning = Annotated[Line | None, Field(description="Free text, kept with the cause")]

# --- requests ----------------------------------------------------------------------------------------


class CreateCall(Request):
    """Dial `to_number` with an agent, from one of our numbers; either leads to the other."""

    to_number: str = Field(min_length=1, examples=["+12025550100"])
    agent_id: str | None = None
    from_number: str | None = None
    delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    max_duration_ms: MaxDuration | None = None
    ring_timeout_ms: RingTimeout | None = None
    stop_at: Moment | None = Field(
        default=None, description="A moment to come, at which the call ends if it has not ended before"
    )
    stop_after_ms: Span | None = Field(default=None, description="The same, counted from this request")
    metadata: dict[str, Any] = Field(default_factory=dict)
    variables: dict[str, str] = Field(
        default_factory=dict, max_length=100, description="Fill the `{{placeholders}}` of the agent's texts"
    )
    sip_headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)


class StopCall(Request):
    """How to end the call, why, and how long to wait for the proof.

    `graceful` lets the agent of an answered call say its farewell first, until `deadline_ms` have passed. Where nobody
    can say one it is `now`, which ends the call at once whatever anybody is saying.
    """

    mode: Literal["now", "graceful"] = "now"
    farewell: Words | None = Field(
        default=None, description="What the agent is to say; its own farewell when absent. For `graceful` only"
    )
    deadline_ms: Annotated[int, Field(ge=100, le=30_000)] | None = Field(
        default=None,
        description="When the call ends though the farewell is not over: 5000 when absent. For `graceful` only",
    )
    reason: Reasoning = None
    wait_ms: Annotated[int, Field(ge=0, le=5_000)] | None = Field(
        default=None, description="The server's default when absent"
    )


class StopAt(Request):
    """When the call is to end: at a moment, or so long after this request. A moment that has passed ends it now."""

    at: Moment | None = Field(default=None, examples=["2026-11-20T15:00:00Z"])
    after_ms: Span | None = None
    reason: Reasoning = None


class CallsQuery(Request):
    """Which calls to list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: str | None = Field(default=None, description="`next` of the page before")
    state: State | None = None
    agent_id: str | None = None
    direction: Direction | None = None
    search: str | None = Field(default=None, description="Part of a number, of the id or of the SIP Call-ID")
    order: Literal["newest", "oldest"] = "newest"


# --- responses ---------------------------------------------------------------------------------------


class CauseOut(Schema):
    """Who ended the call, why, and in which protocol words."""

    initiator: str
    reason: Reason
    sip_status: int | None
    q850: int | None
    text: str | None


class Step(Schema):
    """One SIP transaction that ended the call, or tried to; equal to what a capture shows."""

    method: str
    cseq: int
    sent: bool
    at: str
    count: int
    last_at: str | None
    status: int | None
    answered_at: str | None
    remote_tag: str | None


class StopOut(Schema):
    """The first stop of a call, as it stands now; `already_ended` when the call had ended without one.

    `winding_down` is a call whose agent says its farewell; the call is live until that is over, or until `deadline_at`.
    `requested_at` is then when the farewell was asked for, and later when the call was cut off. `farewell` tells what
    became of last words that were to be said: heard to their end, cut off, or never begun. `request_id` is the request
    that asked for the stop, `bulk_id` the bulk stop that it belongs to.
    """

    result: StopWord
    requested_at: str | None
    requested_by: str | None
    reason: Reason | None
    text: str | None
    request_id: str | None
    bulk_id: str | None
    deadline_at: str | None
    farewell: Farewell | None
    bye_sent_at: str | None
    confirmed_at: str | None


class CallOut(Schema):
    """A call, with everything that is known of it.

    `stop_at` is when the call ends by a stop that `stop_at_set_by` scheduled, if it has not ended before.
    """

    call_id: str
    sip_call_id: str
    dialect: Dialect
    direction: Direction
    agent_id: str
    trunk_id: str
    from_number: str
    to_number: str
    state: State
    outcome: Outcome | None
    cause: CauseOut | None
    created_at: str
    updated_at: str
    dial_at: str | None
    deadline_at: str | None
    stop_at: str | None
    stop_at_set_by: str | None
    stop_at_reason: str | None
    dialed_at: str | None
    ringing_at: str | None
    answered_at: str | None
    answered_on_wire_at: str | None
    ended_at: str | None
    stop_requested_at: str | None
    bye_sent_at: str | None
    confirmed_at: str | None
    duration_ms: int
    wire_duration_ms: int | None
    billable: bool
    stop: StopOut | None
    proof_result: Result | None
    proof_method: Method | None
    proof: list[Step]
    metadata: dict[str, Any]
    context: dict[str, Any]


class CallPage(Schema):
    """A page of calls; `next` is the cursor of the page after it."""

    items: list[CallOut]
    next: str | None


class StoppedCall(Schema):
    """A stop's answer."""

    call_id: str
    state: State
    outcome: Outcome | None
    cause: CauseOut | None
    ended_at: str | None
    stop: StopOut
    proof: list[Step]


class EventOut(Schema):
    """One line of a call's log; `seq` counts without a gap."""

    seq: int
    at: str
    type: str
    data: dict[str, Any]


class Moments(Schema):
    """When what happened; null for what did not, or is not known yet. Those of the wire are what a capture shows.

    `answered_at` is the first 2xx, even one that crossed a stop; `end_sent_at` our first CANCEL or BYE, or our
    refusal of a call to us. The last packets of audio are known once the call has ended.
    """

    created_at: str
    dialed_at: str | None
    first_provisional_at: str | None
    ringing_at: str | None
    answered_at: str | None
    stop_requested_at: str | None
    last_audio_sent_at: str | None
    end_sent_at: str | None
    bye_sent_at: str | None
    confirmed_at: str | None
    last_audio_received_at: str | None
    ended_at: str | None


class Spans(Schema):
    """How long was between two moments, in ms; null where one of them is.

    `talk` is from the answer to the end, `wire` from the first 2xx to the confirmation: what a carrier may bill.
    """

    dial_to_ringing: int | None
    dial_to_answer: int | None
    stop_to_silence: int | None
    stop_to_wire: int | None
    stop_to_bye: int | None
    stop_to_confirmed: int | None
    talk: int
    wire: int | None


class Timeline(Schema):
    """What happened to a call, in order."""

    call_id: str
    state: State
    moments: Moments
    spans_ms: Spans
    events: list[EventOut]


class WordOut(Schema):
    """A word; ms since the answer."""

    word: str
    start_ms: int
    end_ms: int


class TurnOut(Schema):
    """What one side said in one go; ms since the answer.

    `interrupted` says that the caller spoke over it, `latency_ms` how long the caller had waited for it. Words are
    there where the agent's recogniser tells them.
    """

    role: Literal["agent", "user"]
    text: str
    start_ms: int
    end_ms: int
    interrupted: bool
    latency_ms: int | None
    words: list[WordOut]


class Transcript(Schema):
    """What was said on a call so far."""

    call_id: str
    turns: list[TurnOut]
