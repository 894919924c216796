"""The bodies of our own API. Times are ISO 8601 UTC to the millisecond; spans are integers of milliseconds."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from onhook.agents.definition import AgentKind
from onhook.calls.call import Dialect, Direction
from onhook.calls.causes import Outcome, Reason
from onhook.calls.proof import Method, Result
from onhook.calls.states import State
from onhook.store.scopes import Scope

NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""One line of text: what is written into logs, tables and SIP headers has no control characters."""
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=NO_CONTROLS)]
Line = Annotated[str, StringConstraints(pattern=NO_CONTROLS, max_length=200)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[Xx]-[A-Za-z0-9-]{1,60}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,200}$")]
TrunkUri = Annotated[
    str,
    StringConstraints(pattern=r"^sip:[A-Za-z0-9.\[\]:-]+(;transport=(udp|tcp))?$", max_length=255),
]
MaxDuration = Annotated[int, Field(ge=1_000, le=86_400_000)]
RingTimeout = Annotated[int, Field(ge=1_000, le=300_000)]


class Request(BaseModel):
    """A request body: a field that does not exist is an error, not a typo that goes unnoticed."""

    model_config = ConfigDict(extra="forbid")


# --- requests ----------------------------------------------------------------------------------------


class CreateCall(Request):
    """Dial `to_number` with an agent, from one of our numbers; either leads to the other."""

    to_number: str = Field(min_length=1, examples=["+12025550100"])
    agent_id: str | None = None
    from_number: str | None = None
    delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    max_duration_ms: MaxDuration | None = None
    ring_timeout_ms: RingTimeout | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    variables: dict[str, str] = Field(
        default_factory=dict, max_length=100, description="Fill the `{{placeholders}}` of the agent's texts"
    )
    sip_headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)


class StopCall(Request):
    """Why, and how long to wait for the proof."""

    reason: Line | None = Field(default=None, description="Free text, kept with the cause")
    wait_ms: Annotated[int, Field(ge=0, le=5_000)] | None = Field(
        default=None, description="The server's default when absent"
    )


class CallsQuery(Request):
    """Which calls to list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: str | None = Field(default=None, description="`next` of the page before")
    state: State | None = None
    agent_id: str | None = None
    direction: Direction | None = None
    search: str | None = Field(default=None, description="Part of a number, of the id or of the SIP Call-ID")
    order: Literal["newest", "oldest"] = "newest"


class PutAgent(Request):
    """An agent."""

    name: Name
    label: Name | None = None
    direction: Direction = Direction.OUTBOUND
    published: bool = True
    kind: AgentKind | None = Field(
        default=None, description="The server's `agent_kind` when absent; an agent that is replaced keeps its own"
    )
    max_duration_ms: MaxDuration = 3_600_000
    ring_timeout_ms: RingTimeout = 60_000
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="What it says and how: docs/reference/agents.md",
        examples=[{"initial_message": "Hello {{name}}.", "idle": {"after_ms": 10000}}],
    )


class PutNumber(Request):
    """One of our numbers, the trunk it lives on, and the agent that uses it."""

    number: str = Field(description="E.164, or what can be read as such", examples=["+12025550199"])
    trunk_id: str
    agent_id: str | None = None


class PutTrunk(Request):
    """A SIP trunk. The password is written, never read."""

    name: Name
    uri: TrunkUri = Field(examples=["sip:sip.example.net:5060;transport=udp"])
    username: Line | None = None
    password: Line | None = Field(default=None, description="Kept as it is when absent from an update")
    from_user: Line | None = None
    from_domain: Line | None = None
    number_format: Literal["e164", "plain", "national"] = "e164"
    identity: bool = Field(default=False, description="Send P-Asserted-Identity")
    send_reason_text: bool = Field(default=False, description="Put the actor's text into the SIP Reason header")
    session_expires_s: Annotated[int, Field(ge=90, le=7200)] = 1800


class CreateKey(Request):
    """A new API key."""

    name: Name
    prefix: Literal["talq_", "key_"] = Field(default="key_", description="Its shape only: both work on every endpoint")
    signs_webhooks: bool = Field(default=False, description="Keep the token, encrypted, to sign webhooks with")
    scopes: list[Scope] | None = Field(
        default=None, min_length=1, description="What it may do; what the key that makes it may do, when absent"
    )


# --- responses ---------------------------------------------------------------------------------------


class CauseOut(BaseModel):
    """Who ended the call, why, and in which protocol words."""

    initiator: str
    reason: Reason
    sip_status: int | None
    q850: int | None
    text: str | None


class Step(BaseModel):
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


class StopOut(BaseModel):
    """The first stop of a call, as it stands now; `already_ended` when the call had ended without one."""

    result: Literal["confirmed", "pending", "unconfirmed", "already_ended"]
    requested_at: str | None
    requested_by: str | None
    reason: Reason | None
    text: str | None
    bye_sent_at: str | None
    confirmed_at: str | None


class CallOut(BaseModel):
    """A call, with everything that is known of it."""

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


class CallPage(BaseModel):
    """A page of calls; `next` is the cursor of the page after it."""

    items: list[CallOut]
    next: str | None


class StoppedCall(BaseModel):
    """A stop's answer."""

    call_id: str
    state: State
    outcome: Outcome | None
    cause: CauseOut | None
    ended_at: str | None
    stop: StopOut
    proof: list[Step]


class EventOut(BaseModel):
    """One line of a call's log; `seq` counts without a gap."""

    seq: int
    at: str
    type: str
    data: dict[str, Any]


class Moments(BaseModel):
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


class Spans(BaseModel):
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


class Timeline(BaseModel):
    """What happened to a call, in order."""

    call_id: str
    state: State
    moments: Moments
    spans_ms: Spans
    events: list[EventOut]


class WordOut(BaseModel):
    """A word; ms since the answer."""

    word: str
    start_ms: int
    end_ms: int


class TurnOut(BaseModel):
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


class Transcript(BaseModel):
    """What was said on a call so far."""

    call_id: str
    turns: list[TurnOut]


class AgentOut(BaseModel):
    """An agent."""

    id: str
    dialect: Dialect
    name: str
    label: str
    direction: Direction
    published: bool
    version: int
    kind: str
    max_duration_ms: int
    ring_timeout_ms: int
    settings: dict[str, Any]
    created_at: str
    updated_at: str


class NumberOut(BaseModel):
    """One of our numbers."""

    id: str
    number: str
    trunk_id: str
    agent_id: str | None
    created_at: str


class TrunkOut(BaseModel):
    """A SIP trunk; `has_password` is all that is told of its password."""

    id: str
    name: str
    uri: str
    username: str | None
    has_password: bool
    from_user: str | None
    from_domain: str | None
    number_format: str
    identity: bool
    send_reason_text: bool
    session_expires_s: int
    created_at: str


class KeyOut(BaseModel):
    """An API key; the token itself is not kept."""

    id: str
    name: str
    last4: str
    scopes: list[Scope]
    created_at: str
    revoked_at: str | None


class KeyCreated(KeyOut):
    """A new key with its token, which is shown this once."""

    token: str


class Agents(BaseModel):
    """All agents of the environment."""

    items: list[AgentOut]


class Numbers(BaseModel):
    """All numbers of the environment."""

    items: list[NumberOut]


class Trunks(BaseModel):
    """All trunks of the environment."""

    items: list[TrunkOut]


class Keys(BaseModel):
    """All keys of the environment."""

    items: list[KeyOut]


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] | None = None
    dial_block_id: str | None = Field(default=None, description="The dial block that keeps the call from being dialled")


class Ready(BaseModel):
    """Each component, and whether it is fit: `ok`, or what is wrong."""

    status: Literal["ok", "not ready"]
    components: dict[str, str]
