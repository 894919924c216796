"""The bodies of the event log."""

from typing import Annotated

from pydantic import Field

from onhook.api.native.call_schemas import EventOut
from onhook.api.native.schemas import Request
from onhook.calls.call import EventType
from onhook.store.outbox import LoggedEvent


class EventsQuery(Request):
    """Which events, and from where on."""

    call_id: str | None = Field(default=None, description="Only those of one call")
    type: list[EventType] = Field(default_factory=list, description="Only those of these types")
    after: Annotated[int, Field(ge=0, lt=10**18)] | None = Field(default=None, description="A place in the log")
    limit: Annotated[int, Field(ge=1, le=1000)] = Field(default=100, description="Of a page")

    def wants(self, logged: LoggedEvent) -> bool:
        """Say whether an event is of a type that was asked for."""
        return not self.type or logged.event.type in self.type


class FeedEvent(EventOut):
    """An event of a call; `id` is its place in the log of all calls."""

    id: int
    call_id: str


class EventPage(Request):
    """Events in the order of the log; `next` is the `after` of the page after it."""

    items: list[FeedEvent]
    next: int
