"""Sealing: what the audit log has got since is chained to what it had, once a second, off every hot path.

There is one sealer per environment: the numbers of seals are unique, so a second one only loses the race and looks
again. Seals are durable first, then their checkpoint is: a crash in between leaves the checkpoint behind the log, which
is no sign of anything, and the next start catches up. The log behind its checkpoint is one: entries were cut off. Then
the checkpoint stays where it is for `onhook audit verify` to tell, and new entries go on being sealed.
"""

import asyncio
import logging
from typing import Protocol

from onhook.audit.chain import seals_of
from onhook.audit.heads import Head, Heads, HeadsError
from onhook.clock import Clock
from onhook.store.audit import AuditLog, AuditSeal
from onhook.store.store import ConflictError, Environment, R, StoreError

logger = logging.getLogger(__name__)

EVERY_S = 1.0
BATCH = 200
"""Entries sealed together: a few ms of hashing, which live calls do not notice."""


class SealedLog(AuditLog, Protocol):
    """An audit log whose environments are known."""

    async def find(self, kind: type[R], environment_id: str | None) -> list[R]:
        """Return all records of a kind."""
        ...


class _Place:
    """How far the sealer is in one environment. `head` is the checkpoint that it knows to be on disk."""

    def __init__(self) -> None:
        self.last: AuditSeal | None = None
        self.head: Head | None = None
        self.looked = False
        self.trusted = True


class Sealer:
    """Seals the audit log of every environment, and keeps checkpoints in `heads`."""

    def __init__(self, log: SealedLog, heads: Heads, clock: Clock) -> None:
        self._log = log
        self._heads = heads
        self._clock = clock
        self._places: dict[str, _Place] = {}

    async def run(self) -> None:
        """Seal every `EVERY_S` seconds until cancelled; what cannot be written is tried again."""
        while True:
            await self.seal_safely()
            await asyncio.sleep(EVERY_S)

    async def seal_safely(self) -> None:
        """Seal all that there is; say in the log where that was not possible."""
        try:
            await self.seal()
        except (StoreError, OSError):
            logger.exception("the audit log is not sealed to its end; the next round tries again")

    async def seal(self) -> None:
        """Seal all that there is. Raises `StoreError`, `OSError`."""
        for environment in await self._log.find(Environment, None):
            place = self._places.setdefault(environment.id, _Place())
            while await self._seal_some(environment.id, place):
                pass

    async def _seal_some(self, environment_id: str, place: _Place) -> bool:
        """Seal the next entries of an environment and make their checkpoint; say whether there may be more."""
        last = await self._log.last_seal(environment_id)
        if not place.looked or last != place.last:
            await self._compare(environment_id, place)
            place.last = last
            await self._checkpoint(environment_id, place)  # Of an earlier life, or the one before all.
        entries = await self._log.unsealed_audit(environment_id, BATCH)
        seals = list(seals_of(entries, last))
        if seals:
            try:
                await self._log.seal_audit(seals)
            except ConflictError:
                return False  # another sealer was here; the next round begins after its seals
            last = seals[-1]
        place.last = last
        await self._checkpoint(environment_id, place)
        return len(seals) == BATCH

    async def _checkpoint(self, environment_id: str, place: _Place) -> None:
        """Write down how far the log is sealed, unless that is written, or contradicts what is."""
        number = place.last.number if place.last is not None else 0
        if place.trusted and (place.head is None or place.head.number != number):
            now = self._clock.now_ms()
            place.head = await asyncio.to_thread(self._heads.add, environment_id, place.last, now)

    async def _compare(self, environment_id: str, place: _Place) -> None:
        """See whether the log still holds what its newest checkpoint says."""
        place.looked = True
        try:
            place.head = await asyncio.to_thread(self._heads.newest, environment_id)
        except HeadsError as error:
            self._distrust(environment_id, place, str(error))
            return
        if place.head is not None and not await self._holds(environment_id, place.head):
            self._distrust(environment_id, place, f"its entry {place.head.number} is not what the checkpoint says")

    async def _holds(self, environment_id: str, head: Head) -> bool:
        if head.number == 0:
            return True
        found = await self._log.audit_seals(environment_id, head.number - 1, 1)
        return [(seal.number, seal.hash) for seal in found] == [(head.number, head.hash)]

    def _distrust(self, environment_id: str, place: _Place, why: str) -> None:
        if place.trusted:
            place.trusted = False
            logger.error(
                "the audit log of environment %s was changed: %s; run `onhook audit verify`", environment_id, why
            )
