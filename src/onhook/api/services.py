"""What the HTTP layer needs of the rest of onhook."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from onhook.clock import Clock
from onhook.control.end import Ending
from onhook.control.place import Placer
from onhook.store.secrets import SecretBox
from onhook.store.store import ApiKey, Store


@dataclass(frozen=True)
class Services:
    """The parts that requests are served with.

    `stop_wait_ms` is how long the answer to a stop waits for its proof. `readiness` names each component and
    says "ok" or what is wrong with it. `max_body_bytes` bounds a request's body; `max_connections` is how
    many requests are served at once, stops not counted, which always pass. `rate_limit_per_minute` is how many
    requests the TalkOver API grants a key, stops not counted; 0 is no limit.
    """

    store: Store
    placer: Placer
    ending: Ending
    clock: Clock
    secrets: SecretBox
    readiness: Callable[[], Awaitable[dict[str, str]]]
    stop_wait_ms: int = 1000
    max_body_bytes: int = 65_536
    max_connections: int = 1000
    rate_limit_per_minute: int = 0


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the key that was checked, and the services it may use in its environment."""

    services: Services
    key: ApiKey

    @property
    def environment_id(self) -> str:
        """The tenant whose objects this request may see."""
        return self.key.environment_id

    @property
    def store(self) -> Store:
        """Durable state; every look-up must name `environment_id`."""
        return self.services.store

    def now_ms(self) -> int:
        """Return the wall time in ms since the epoch."""
        return self.services.clock.now_ms()
