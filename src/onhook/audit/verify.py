"""Checking the audit log against its seals, and the seals against the checkpoints outside the database.

The log may grow meanwhile: checkpoints are read first, then how far the log is sealed, then all up to there, so that
each one read later covers those read before.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum

import msgspec

from onhook.audit.chain import GENESIS, seal_hash
from onhook.audit.heads import Head, Heads, HeadsError, newest_of
from onhook.store.audit import AuditEntry, AuditLog, AuditSeal

PAGE = 500
MAX_FINDINGS = 100
"""Findings told one by one; of the others the number is enough."""
MAX_SUSPECTS = 200
"""Entries that are compared with each other's places, which takes the square of their number."""


class Kind(StrEnum):
    """What was done to the log."""

    EDITED = "edited"
    DELETED = "deleted"
    INSERTED = "inserted"
    MOVED = "moved"
    UNSEALED = "unsealed"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    CHECKPOINT = "checkpoint"


class Finding(msgspec.Struct, frozen=True):
    """One sign that the log is not what it was. `seq` is the entry that it is about, `number` its seal's."""

    kind: Kind
    text: str
    seq: int | None = None
    number: int | None = None


class Report(msgspec.Struct, frozen=True):
    """What was found. The log is intact when nothing was.

    `sealed` entries were checked; `waiting` are newer than the last seal, which is at most a second old while a server
    runs. `checkpoint` is how many entries the newest checkpoint covers. `checkpoints_from` is how many there were when
    the checkpoints began: what was cut off before, they cannot tell. `untold` counts findings that are not listed.
    """

    environment_id: str
    sealed: int
    waiting: int
    checkpoint: int | None
    checkpoints_from: int | None
    findings: tuple[Finding, ...]
    untold: int = 0

    @property
    def intact(self) -> bool:
        """True when nothing was found."""
        return not self.findings


class _Suspect(msgspec.Struct, frozen=True):
    """An entry that does not fit its seal, and the hash before that."""

    entry: AuditEntry
    seal: AuditSeal
    previous: str


async def verify(log: AuditLog, heads: Heads, environment_id: str) -> Report:
    """Check all that is sealed of an environment's log. Raises `StoreError`, OSError."""
    findings: list[Finding] = []
    try:
        history, newest = await asyncio.to_thread(_checkpoints, heads, environment_id)
    except HeadsError as error:
        history, newest = [], None
        findings.append(Finding(Kind.CHECKPOINT, str(error)))
    last = await log.last_seal(environment_id)
    walk = _Walk(history if newest is None else [*history, newest])
    await walk.over(log, environment_id, last)
    findings += walk.findings + _ends(last, history, newest, unreadable=bool(findings))
    return Report(
        environment_id=environment_id,
        sealed=last.number if last is not None else 0,
        waiting=await _waiting(log, environment_id, last),
        checkpoint=newest.number if newest is not None else None,
        checkpoints_from=history[0].number if history else None,
        findings=tuple(findings[:MAX_FINDINGS]),
        untold=max(0, len(findings) - MAX_FINDINGS),
    )


class _Walk:
    """Goes through entries and seals side by side."""

    def __init__(self, heads: Sequence[Head]) -> None:
        self.findings: list[Finding] = []
        self._heads = {head.number: head for head in heads}
        self._rewritten = False
        self._suspects: list[_Suspect] = []

    async def over(self, log: AuditLog, environment_id: str, last: AuditSeal | None) -> None:
        """Compare all up to the seal `last`."""
        if last is None:
            return
        entries = _entries(log, environment_id, last.seq)
        entry = await anext(entries, None)
        before = AuditSeal(environment_id, 0, 0, GENESIS)
        async for seal in _seals(log, environment_id, last.number):
            while entry is not None and entry.seq < seal.seq:
                self._add(Kind.INSERTED, f"entry {entry.seq} ({_told(entry)}) has no seal", entry.seq)
                entry = await anext(entries, None)
            here = entry if entry is not None and entry.seq == seal.seq else None
            self._compare(seal, before, here)
            if here is not None:
                entry = await anext(entries, None)
            before = seal
        self._sort_suspects()

    def _compare(self, seal: AuditSeal, before: AuditSeal, entry: AuditEntry | None) -> None:
        """Compare one seal with its entry, with the seal before it, and with a checkpoint of it."""
        gap = seal.number != before.number + 1
        if gap:
            missing = f"the seals {before.number + 1} to {seal.number - 1} are gone, up to entry {seal.seq}"
            self._add(Kind.UNSEALED, missing, number=before.number + 1)
        if entry is None:
            self._add(Kind.DELETED, f"entry {seal.seq} is gone", seal.seq, seal.number)
        elif not gap and seal_hash(entry, seal.number, before.hash) != seal.hash:
            self._suspects.append(_Suspect(entry, seal, before.hash))
        head = self._heads.get(seal.number)
        if head is not None and head.hash != seal.hash and not self._rewritten:
            self._rewritten = True  # every later one differs too
            text = f"up to entry {seal.seq} the log was written anew: a checkpoint has another hash"
            self._add(Kind.REWRITTEN, text, seal.seq, seal.number)

    def _sort_suspects(self) -> None:
        """Tell those that stand in the place of another from those that were changed."""
        some = self._suspects[:MAX_SUSPECTS]
        for suspect in self._suspects:
            seal = suspect.seal
            origin = next((other.entry for other in some if _fits(other.entry, suspect)), None)
            if origin is not None:
                text = f"what was entry {seal.seq} ({_told(origin)}) now stands as entry {origin.seq}"
                self._add(Kind.MOVED, text, seal.seq, seal.number)
            else:
                text = f"entry {seal.seq} ({_told(suspect.entry)}) was changed, or its seal was"
                self._add(Kind.EDITED, text, seal.seq, seal.number)

    def _add(self, kind: Kind, text: str, seq: int | None = None, number: int | None = None) -> None:
        self.findings.append(Finding(kind, text, seq, number))


def _fits(entry: AuditEntry, suspect: _Suspect) -> bool:
    """Say whether an entry, were it in a suspect's place, would fit the seal there."""
    there = msgspec.structs.replace(entry, seq=suspect.seal.seq)
    return seal_hash(there, suspect.seal.number, suspect.previous) == suspect.seal.hash


def _ends(last: AuditSeal | None, history: Sequence[Head], newest: Head | None, *, unreadable: bool) -> list[Finding]:
    """Compare how far the log is sealed with how far the checkpoints say that it was."""
    sealed = last.number if last is not None else 0
    known = newest_of(history if newest is None else [*history, newest])
    if known is None:
        text = "there are seals and no checkpoint: what was cut off cannot be told"
        return [Finding(Kind.CHECKPOINT, text)] if sealed and not unreadable else []
    found: list[Finding] = []
    if known.number > sealed:
        text = (
            f"the end is cut off: a checkpoint knows {known.number} entries up to entry {known.seq}, {sealed} are left"
        )
        found.append(Finding(Kind.TRUNCATED, text, known.seq, sealed + 1))
    if newest is None or (newest.number, newest.hash) not in {(head.number, head.hash) for head in history}:
        found.append(Finding(Kind.CHECKPOINT, "the newest checkpoint and the history of checkpoints do not agree"))
    return found


def _checkpoints(heads: Heads, environment_id: str) -> tuple[list[Head], Head | None]:
    """Read the newest checkpoint first: the history is written before it."""
    newest = heads.newest(environment_id)
    return heads.history(environment_id), newest


async def _entries(log: AuditLog, environment_id: str, up_to: int) -> AsyncIterator[AuditEntry]:
    after = 0
    while page := await log.audit_entries(environment_id, after, PAGE):
        for entry in page:
            if entry.seq > up_to:
                return
            yield entry
        after = page[-1].seq


async def _seals(log: AuditLog, environment_id: str, up_to: int) -> AsyncIterator[AuditSeal]:
    after = 0
    while page := await log.audit_seals(environment_id, after, PAGE):
        for seal in page:
            if seal.number > up_to:
                return
            yield seal
        after = page[-1].number


async def _waiting(log: AuditLog, environment_id: str, last: AuditSeal | None) -> int:
    """Count the entries after a seal."""
    count, after = 0, last.seq if last is not None else 0
    while page := await log.audit_entries(environment_id, after, PAGE):
        count, after = count + len(page), page[-1].seq
    return count


def _told(entry: AuditEntry) -> str:
    return f"{entry.action} {entry.target}"
