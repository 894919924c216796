"""What the HTTP layer needs of the rest of onhook."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from onhook.agents.definition import AgentKind
from onhook.agents.reading import NO_BOTS, BotUrls
from onhook.api.streams import Streams
from onhook.clock import Clock
from onhook.control.bulk import BulkStopper
from onhook.control.dial_block import DialBlocks
from onhook.control.end import Ending
from onhook.control.graceful import GracefulStops
from onhook.control.place import Placer
from onhook.control.register import Registrar
from onhook.control.timers import StopTimers
from onhook.store import audit_rules
from onhook.store.audit import Act
from onhook.store.outbox import WebhookEndpoint
from onhook.store.secrets import SecretBox
from onhook.store.store import ApiKey, R, Record, Store
from onhook.webhooks.retries import Tried


class Prober(Protocol):
    """What the courier does for those who try an endpoint."""

    async def try_once(self, endpoint: WebhookEndpoint, delivery_id: str, body: bytes) -> Tried:
        """Send one body to an endpoint, signed, and return what came of it. Nothing is recorded."""
        ...


class RecordingFiles(Protocol):
    """Where recordings are. Both methods touch the disk, and raise `OSError`."""

    def find(self, call_id: str) -> Path | None:
        """Return the file with a call's recording."""
        ...

    def delete(self, call_id: str) -> bool:
        """Delete a call's recording; False when there is none."""
        ...


def _nobody_talks(_call_id: str, _reason: str) -> bool:
    """Stand in for `Services.hang_up` where there are no agents."""
    return False


@dataclass(frozen=True)
class Services:
    """The parts that requests are served with.

    `stop_wait_ms` is how long the answer to a stop waits for its proof. `readiness` names each component and
    says "ok" or what is wrong with it. `max_body_bytes` bounds a request's body; `max_connections` is how
    many requests are served at once, stops not counted, which always pass. `rate_limit_per_minute` is how many
    requests the TalkOver API grants a key, stops not counted; 0 is no limit. `webhook_allow_private` lets webhooks go
    to private addresses. `agent_kind` is the kind of agents whose maker names none; `bot_urls` is where bots may be.
    `public_url` is how clients reach us, for links. `hang_up(call_id, reason)` is an agent's own wish that its call
    end, after its last words; False when no agent is on that call. `metrics` returns what Prometheus asks for, whoever
    asks it must know `metrics_token` if there is one; None keeps it to ourselves.
    """

    store: Store
    placer: Placer
    registrar: Registrar
    ending: Ending
    clock: Clock
    secrets: SecretBox
    courier: Prober
    bulk: BulkStopper
    dial_blocks: DialBlocks
    timers: StopTimers
    graceful: GracefulStops
    readiness: Callable[[], Awaitable[dict[str, str]]]
    stop_wait_ms: int = 1000
    max_body_bytes: int = 65_536
    max_connections: int = 1000
    rate_limit_per_minute: int = 0
    webhook_allow_private: bool = False
    streams: Streams = field(default_factory=Streams)
    agent_kind: AgentKind = AgentKind.SCRIPTED
    bot_urls: BotUrls = NO_BOTS
    recordings: RecordingFiles | None = None
    public_url: str | None = None
    hang_up: Callable[[str, str], bool] = _nobody_talks
    metrics: Callable[[], Awaitable[bytes]] | None = None
    metrics_token: str | None = None


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the key that was checked, and the services it may use in its environment.

    What it changes, it changes with `put` and `delete`, or gives its `act` along: so the audit log hears of it.
    """

    services: Services
    key: ApiKey
    request_id: str

    @property
    def environment_id(self) -> str:
        """The tenant whose objects this request may see."""
        return self.key.environment_id

    @property
    def actor(self) -> str:
        """The initiator that causes and records name."""
        return f"api_key:{self.key.id}"

    @property
    def store(self) -> Store:
        """Durable state; every look-up must name `environment_id`."""
        return self.services.store

    def now_ms(self) -> int:
        """Return the wall time in ms since the epoch."""
        return self.services.clock.now_ms()

    def act(self) -> Act:
        """Return who asks for something, now, as the audit log tells it."""
        return Act(self.actor, self.now_ms(), request_id=self.request_id)

    async def put(self, record: Record) -> None:
        """Insert or replace a configuration object. Raises as `Store.put`."""
        await self.store.put(record, self.act())

    async def delete(self, kind: type[R], record_id: str) -> bool:
        """Delete a configuration object; False when the environment has none such. Raises `StoreError`."""
        return await self.store.delete(kind, record_id, self.environment_id, self.act())

    async def note(self, action: str, target: str) -> None:
        """Write into the audit log what leaves no other trace. Raises `StoreError`."""
        await self.store.audit(audit_rules.entry(self.environment_id, action, target, self.act()))
