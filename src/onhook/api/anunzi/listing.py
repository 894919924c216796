"""List-calls: one page of the calls that meet the filters, by keyset or by offset."""

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from pydantic import ConfigDict, Field

from onhook.api.anunzi.errors import failure
from onhook.api.anunzi.filters import FAR, FilterCriteria, matches, narrowed
from onhook.api.schema import Schema
from onhook.api.services import Caller
from onhook.calls.call import Call
from onhook.store.queries import CallFilter, Page

BATCH = 500
"""How many calls are read from the store at a time."""


class ListCalls(Schema):
    """What to list; every field is optional. `skip` and `pagination_key` exclude each other."""

    model_config = ConfigDict(extra="forbid", strict=True)

    filter_criteria: FilterCriteria | None = None
    sort_order: Literal["ascending", "descending"] | None = Field(
        default=None, description="By start, else by creation"
    )
    limit: int | None = Field(default=None, ge=1, le=1000, description="50 when not given")
    skip: int | None = Field(default=None, ge=0, le=1_000_000_000)
    pagination_key: str | None = Field(default=None, description="From the reply before; opaque")
    include_total: bool | None = None


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended, and a fingerprint of the question it answered."""

    at: Annotated[int, msgspec.Meta(ge=-FAR, le=FAR)]
    call_id: str
    question: str


class Listed(msgspec.Struct, frozen=True):
    """One page of calls, the key of the next one, and how many there are in all, if asked."""

    calls: list[Call]
    next_key: str | None
    total: int | None


async def list_page(caller: Caller, query: ListCalls) -> Listed:
    """Return the page that is asked for. Raises `ApiError` (400) for a key that is not ours or not this question's."""
    if query.skip is not None and query.pagination_key is not None:
        raise failure(400)
    limit = query.limit or 50
    question = _question(caller, query)
    after = _position(query.pagination_key, question) if query.pagination_key is not None else None
    page: list[Call] = []
    skipping = query.skip or 0
    criteria, ascending = query.filter_criteria or FilterCriteria(), query.sort_order == "ascending"
    async for call in matching(caller, criteria, after, ascending=ascending):
        if skipping:
            skipping -= 1
            continue
        page.append(call)
        if len(page) > limit:
            break
    more = len(page) > limit
    page = page[:limit]
    total = await _total(caller, criteria) if query.include_total else None
    return Listed(calls=page, next_key=_key(page[-1], question) if more else None, total=total)


async def _total(caller: Caller, criteria: FilterCriteria) -> int:
    """Count the calls that meet the filters; without any the store counts alone."""
    if criteria == FilterCriteria():
        return await caller.store.count_calls(CallFilter(environment_id=caller.environment_id))
    return len([None async for _ in matching(caller, criteria, None, ascending=False)])


async def matching(
    caller: Caller, criteria: FilterCriteria, after: tuple[int, str] | None, *, ascending: bool
) -> AsyncIterator[Call]:
    """Walk over the calls that meet the filters, in order of their start, from a place on."""
    where = narrowed(caller.environment_id, criteria)
    while batch := await caller.store.list_calls(
        where, Page(limit=BATCH, after=after, ascending=ascending, by_start=True)
    ):
        for call in batch:
            if matches(call, criteria):
                yield call
        after = place(batch[-1])


def place(call: Call) -> tuple[int, str]:
    """Return where a call stands in the order by start."""
    return call.created_at if call.answered_at is None else call.answered_at, call.id


def _question(caller: Caller, query: ListCalls) -> str:
    """Return a fingerprint of who asks for what in which order."""
    parts = query.model_dump_json(include={"filter_criteria", "sort_order"}, exclude_none=True)
    return hashlib.sha256(f"{caller.key.id}\n{parts}".encode()).hexdigest()[:16]


def _key(last: Call, question: str) -> str:
    raw = msgspec.json.encode(Cursor(*place(last), question))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _position(key: str, question: str) -> tuple[int, str]:
    try:
        raw = base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(raw, type=Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise failure(400) from error
    if cursor.question != question:
        raise failure(400)
    return cursor.at, cursor.call_id
