"""The port to the audit log: who did what to what, and when. Entries are added and read, nothing else.

Stops and timers write theirs in their own transaction, and so does every write that is told who makes it (`Act`).
Seals stand apart, so that whoever seals is off the hot path: each one names an entry and holds a hash over it and all
that was sealed before in its environment.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Act(msgspec.Struct, frozen=True):
    """Who changes something, when (ms) and why: what a write is given that is to leave an entry.

    `actor` is an initiator, as in a cause.
    """

    actor: str
    at: int
    reason: str | None = None
    request_id: str | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """One act. `seq` grows in commit order over all environments; the store gives it.

    `actor` is an initiator, as in a cause; `action` a verb such as `call.stop`; `target` the id of what it was done
    to; `reason` the actor's free text.
    """

    environment_id: str
    at: int
    actor: str
    action: str
    target: str
    reason: str | None = None
    request_id: str | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    seq: int = 0


class AuditSeal(msgspec.Struct, frozen=True):
    """The seal on one entry; `number` counts from 1 without a gap, per environment."""

    environment_id: str
    number: int
    seq: int
    hash: str


class AuditLog(Protocol):
    """Errors are `StoreError`."""

    async def audit(self, entry: AuditEntry) -> None:
        """Add an entry."""
        ...

    async def audit_entries(self, environment_id: str, after: int = 0, limit: int = 500) -> list[AuditEntry]:
        """Return an environment's entries with `seq` greater than `after`, in order."""
        ...

    async def unsealed_audit(self, environment_id: str, limit: int = 500) -> list[AuditEntry]:
        """Return the entries after the one sealed last, in order."""
        ...

    async def seal_audit(self, seals: Sequence[AuditSeal]) -> None:
        """Add seals, all or none. Raises `ConflictError` when one of their numbers or entries is sealed already."""
        ...

    async def audit_seals(self, environment_id: str, after: int = 0, limit: int = 500) -> list[AuditSeal]:
        """Return an environment's seals with `number` greater than `after`, in order."""
        ...

    async def last_seal(self, environment_id: str) -> AuditSeal | None:
        """Return an environment's newest seal."""
        ...
