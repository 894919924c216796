"""The bodies of our own API, but those about calls (`call_schemas`). Times are ISO 8601 UTC, spans ms."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from onhook.agents.definition import AgentKind
from onhook.api.schema import Schema
from onhook.calls.call import Dialect, Direction
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


class Request(Schema):
    """A request body: a field that does not exist is an error, not a typo that goes unnoticed."""

    model_config = ConfigDict(extra="forbid")


# --- requests ----------------------------------------------------------------------------------------


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
    """One of our numbers, the trunk it lives on, and the agents that use it."""

    number: str = Field(description="E.164, or what can be read as such", examples=["+12025550199"])
    trunk_id: str
    agent_id: str | None = Field(default=None, description="Calls from it")
    inbound_agent_id: str | None = Field(
        default=None, description="Takes its calls; when absent `agent_id` does, if that agent's direction is inbound"
    )


class PutTrunk(Request):
    """A SIP trunk. The passwords are written, never read."""

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
    inbound_username: Line | None = Field(
        default=None, description="With it, calls from the trunk's addresses must bring digest credentials"
    )
    inbound_password: Line | None = Field(default=None, description="Kept as it is when absent from an update")


class CreateKey(Request):
    """A new API key."""

    name: Name
    prefix: Literal["talq_", "key_"] = Field(default="key_", description="Its shape only: both work on every endpoint")
    signs_webhooks: bool = Field(default=False, description="Keep the token, encrypted, to sign webhooks with")
    scopes: list[Scope] | None = Field(
        default=None, min_length=1, description="What it may do; what the key that makes it may do, when absent"
    )


# --- responses ---------------------------------------------------------------------------------------


class AgentOut(Schema):
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


class NumberOut(Schema):
    """One of our numbers."""

    id: str
    number: str
    trunk_id: str
    agent_id: str | None
    inbound_agent_id: str | None
    created_at: str


class TrunkOut(Schema):
    """A SIP trunk; `has_password` and `has_inbound_password` are all that is told of its passwords."""

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
    inbound_username: str | None
    has_inbound_password: bool
    created_at: str


class KeyOut(Schema):
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


class Agents(Schema):
    """All agents of the environment."""

    items: list[AgentOut]


class Numbers(Schema):
    """All numbers of the environment."""

    items: list[NumberOut]


class Trunks(Schema):
    """All trunks of the environment."""

    items: list[TrunkOut]


class Keys(Schema):
    """All keys of the environment."""

    items: list[KeyOut]


class FieldProblem(Schema):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Schema):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] | None = None
    dial_block_id: str | None = Field(default=None, description="The dial block that keeps the call from being dialled")


class Ready(Schema):
    """Each component, and whether it is fit: `ok`, or what is wrong."""

    status: Literal["ok", "not ready"]
    components: dict[str, str]
