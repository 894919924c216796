"""The chain: each seal's hash covers one entry, the seal's number, and the hash of the seal before it."""

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from onhook.store.audit import AuditEntry, AuditSeal

FORM = "onhook-audit-1"
"""Names the form below; written into hashes, so a new form needs a new name and the old one stays readable."""

GENESIS = "0" * 64
"""What stands before the first seal of an environment."""


def seal_hash(entry: AuditEntry, number: int, previous: str) -> str:
    """Return the SHA-256, in hexadecimal, over the canonical JSON of an entry in its place.

    The form is an array of fixed order, names inside `data` sorted: equal entries hash alike, however they are stored.
    """
    form = (
        FORM,
        entry.environment_id,
        number,
        previous,
        entry.seq,
        entry.at,
        entry.actor,
        entry.action,
        entry.target,
        entry.reason,
        entry.request_id,
        entry.data,
    )
    return hashlib.sha256(msgspec.json.encode(form, order="sorted")).hexdigest()


def seals_of(entries: Sequence[AuditEntry], last: AuditSeal | None) -> Iterator[AuditSeal]:
    """Yield the seals of entries of one environment that come right after the seal `last`."""
    number, previous = (last.number, last.hash) if last is not None else (0, GENESIS)
    for number, entry in enumerate(entries, number + 1):  # noqa: B020 (begins after the last one)
        previous = seal_hash(entry, number, previous)
        yield AuditSeal(entry.environment_id, number, entry.seq, previous)
