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
    """Check all that is sealed of an environment's log. Raises `StoreError`, `OSError`."""
    findings = _Findings()
    history, newest = await asyncio.to_thread(_checkpoints, heads, environment_id, findings)
    last = await log.last_seal(environment_id)
    await _Walk(findings, [*history, *([newest] if newest is not None else [])]).over(log, environment_id, last)
    _compare_ends(findings, last, history, newest)
    return Report(
        environment_id=environment_id,
        sealed=last.number if last is not None else 0,
        waiting=await _waiting(log, environment_id, last),
        checkpoint=newest.number if newest is not None else None,
        checkpoints_from=history[0].number if history else None,
        findings=tuple(sorted(findings.told, key=lambda one: one.seq or 0)),
        untold=findings.untold,
    )


class _Findings:
    """What was found: some of it, and how much more."""

    def __init__(self) -> None:
        self.told: list[Finding] = []
        self.untold = 0

    def add(self, kind: Kind, text: str, seq: int | None = None, number: int | None = None) -> None:
        if len(self.told) < MAX_FINDINGS:
            self.told.append(Finding(kind, text, seq, number))
        else:
            self.untold += 1


class _Walk:
    """Goes through entries and seals side by side."""

    def __init__(self, findings: _Findings, heads: Sequence[Head]) -> None:
        self._findings = findings
        self._hashes: dict[int, set[str]] = {}
        for head in heads:
            self._hashes.setdefault(head.number, set()).add(head.hash)
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
                self._findings.add(Kind.INSERTED, f"entry {entry.seq} ({_told(entry)}) has no seal", entry.seq)
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
            self._findings.add(Kind.UNSEALED, missing, number=before.number + 1)
        if entry is None:
            self._findings.add(Kind.DELETED, f"entry {seal.seq} is gone", seal.seq, seal.number)
        elif not gap and seal_hash(entry, seal.number, before.hash) != seal.hash:
            self._suspect(_Suspect(entry, seal, before.hash))
        if not self._rewritten and self._hashes.get(seal.number, {seal.hash}) != {seal.hash}:
            self._rewritten = True  # every later one differs too
            text = f"up to entry {seal.seq} the log was written anew: a checkpoint has another hash"
            self._findings.add(Kind.REWRITTEN, text, seal.seq, seal.number)

    def _suspect(self, suspect: _Suspect) -> None:
        if len(self._suspects) < MAX_SUSPECTS:
            self._suspects.append(suspect)
        else:
            self._edited(suspect)

    def _sort_suspects(self) -> None:
        """Tell those that stand in the place of another from those that were changed."""
        for suspect in self._suspects:
            origin = next((other.entry for other in self._suspects if _fits(other.entry, suspect)), None)
            if origin is None:
                self._edited(suspect)
                continue
            text = f"what was entry {suspect.seal.seq} ({_told(origin)}) now stands as entry {origin.seq}"
            self._findings.add(Kind.MOVED, text, suspect.seal.seq, suspect.seal.number)

    def _edited(self, suspect: _Suspect) -> None:
        text = f"entry {suspect.seal.seq} ({_told(suspect.entry)}) was changed, or its seal was"
        self._findings.add(Kind.EDITED, text, suspect.seal.seq, suspect.seal.number)


def _fits(entry: AuditEntry, suspect: _Suspect) -> bool:
    """Say whether an entry, were it in a suspect's place, would fit the seal there."""
    there = msgspec.structs.replace(entry, seq=suspect.seal.seq)
    return seal_hash(there, suspect.seal.number, suspect.previous) == suspect.seal.hash


def _compare_ends(findings: _Findings, last: AuditSeal | None, history: Sequence[Head], newest: Head | None) -> None:
    """Compare how far the log is sealed with how far the checkpoints say that it was, and these with each other."""
    sealed = last.number if last is not None else 0
    known = newest_of(history if newest is None else [*history, newest])
    if known is None:
        if sealed and all(one.kind is not Kind.CHECKPOINT for one in findings.told):
            findings.add(Kind.CHECKPOINT, "there is no checkpoint: what was cut off cannot be told")
        return
    if known.number > sealed:
        text = f"the end is cut off: {known.number} entries were sealed, up to entry {known.seq}; {sealed} are left"
        findings.add(Kind.TRUNCATED, text, known.seq, sealed + 1)
    if newest is None or (newest.number, newest.hash) not in {(head.number, head.hash) for head in history}:
        findings.add(Kind.CHECKPOINT, "the newest checkpoint is not in the history of checkpoints, or is gone")


def _checkpoints(heads: Heads, environment_id: str, findings: _Findings) -> tuple[list[Head], Head | None]:
    """Read the newest checkpoint first: the history is written before it."""
    try:
        newest = heads.newest(environment_id)
        return heads.history(environment_id), newest
    except HeadsError as error:
        findings.add(Kind.CHECKPOINT, str(error))
        return [], None


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
