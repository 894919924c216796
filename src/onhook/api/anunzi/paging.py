"""Pages of agents and numbers: few enough to be read whole."""

from typing import Annotated, Literal, TypeVar

from fastapi import Query

from onhook.api.anunzi.errors import failure
from onhook.store.store import Agent, Number

T = TypeVar("T", Agent, Number)

Limit = Annotated[int, Query(ge=1, le=1000)]
SortOrder = Annotated[Literal["ascending", "descending"], Query()]


def page_of(records: list[T], limit: int, key: str | None, order: str) -> tuple[list[T], str | None]:
    """Return a page of records, which come newest first, and the key of the next page. 400 for an unknown key."""
    ordered = records[::-1] if order == "ascending" else records
    start = 0
    if key is not None:
        places = [place for place, one in enumerate(ordered, 1) if one.id == key]
        if not places:
            raise failure(400)
        start = places[0]
    page = ordered[start : start + limit]
    return page, page[-1].id if start + limit < len(ordered) else None
