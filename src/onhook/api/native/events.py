"""The event log as a stream (server-sent events), and as pages.

The place in the log, which grows in the order of commits over all calls, is the id of each event. A client that
comes back with the last one it saw (`Last-Event-ID`) goes on right after it: nothing is missed, nothing twice.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse

from onhook.api.native.errors import COMMON, not_found, problem
from onhook.api.native.event_schemas import EventPage, EventsQuery, FeedEvent
from onhook.api.native.mapping import event_out
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.services import Caller
from onhook.store.outbox import LoggedEvent
from onhook.store.store import ApiKey

BATCH = 500
HEARTBEAT_S = 15.0
LOOK_S = 1.0
"""How often a stream looks at the log by itself: commits of its own process wake it, those of others do not."""
GATHER_S = 0.02
"""How long a stream lets commits gather before it reads them."""
SSE = "text/event-stream"

router = APIRouter(
    prefix="/v1",
    route_class=CheckedRoute,
    tags=["events"],
    responses=COMMON,
)


@router.get("/events", response_model=EventPage, responses={200: {"content": {SSE: {"schema": {"type": "string"}}}}})
async def get_events(
    request: CallerRequest,
    query: Annotated[EventsQuery, Query()],
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$")] = None,
) -> Response | EventPage:
    """Return events in the order of the log: a stream for `Accept: text/event-stream`, else a page.

    A stream begins after `Last-Event-ID` or `after`, without either at the end of the log, and goes on with what
    happens. A page begins after `after`, or with the first event; `next` is where the next page begins.
    """
    caller = request.caller
    if query.call_id is not None and await caller.store.get_call(query.call_id, caller.environment_id) is None:
        raise not_found("call")
    place = query.after if last_event_id is None else int(last_event_id)
    if SSE not in request.headers.get("accept", ""):
        return await _page(caller, query, place or 0)
    start = await caller.store.end_of_log() if place is None else place
    if caller.services.streams.full:
        raise problem(503, "Too many streams are open.", code="too_many_streams").with_headers({"Retry-After": "5"})
    return StreamingResponse(_stream(caller, query, start), media_type=SSE, headers={"Cache-Control": "no-store"})


async def _page(caller: Caller, query: EventsQuery, place: int) -> EventPage:
    found: list[LoggedEvent] = []
    while len(found) < query.limit:
        feed = await caller.store.events_after(caller.environment_id, place, query.call_id, query.limit - len(found))
        found += [one for one in feed.events if query.wants(one)]
        if feed.position == place:
            break
        place = feed.position
    return EventPage(items=[_event(one) for one in found], next=place)


async def _stream(caller: Caller, query: EventsQuery, place: int) -> AsyncIterator[bytes]:
    """Yield events as they are committed, and a heartbeat when there is none for a while; until the key is revoked."""
    streams, clock = caller.services.streams, caller.services.clock
    with streams.entered() as wake:
        unfollow = caller.store.follow(wake.set)
        try:
            yield b": ready\n\n"
            spoke_at = clock.monotonic()
            while not streams.closed and await _still_valid(caller):
                wake.clear()
                feed = await caller.store.events_after(caller.environment_id, place, query.call_id, BATCH)
                lines = b"".join(_lines(one) for one in feed.events if query.wants(one))
                moved, place = feed.position > place, feed.position
                if lines or clock.monotonic() - spoke_at >= HEARTBEAT_S:
                    yield lines or f"id: {place}\n\n".encode()
                    spoke_at = clock.monotonic()
                if not moved:
                    await _pause(wake)
        finally:
            unfollow()


async def _still_valid(caller: Caller) -> bool:
    """Say whether the key that opened a stream has not been revoked since."""
    key = await caller.store.get(ApiKey, caller.key.id, caller.environment_id)
    return key is not None and key.revoked_at is None


async def _pause(wake: asyncio.Event) -> None:
    """Wait for commits, and let some gather."""
    try:
        async with asyncio.timeout(LOOK_S):
            await wake.wait()
            await asyncio.sleep(GATHER_S)
    except TimeoutError:
        return


def _lines(logged: LoggedEvent) -> bytes:
    """Return an event as the stream has it; a heartbeat has the place alone."""
    data = msgspec.json.encode(_event(logged).model_dump())
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (logged.id, logged.event.type.value.encode(), data)


def _event(logged: LoggedEvent) -> FeedEvent:
    return FeedEvent(id=logged.id, call_id=logged.event.call_id, **dict(event_out(logged.event)))
