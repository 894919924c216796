"""A call's whole log."""

from onhook.calls.call import Event
from onhook.store.store import Store

BATCH = 1000


async def log_of(store: Store, call_id: str, last: int | None = None) -> list[Event]:
    """Return a call's events in order, up to the one with `seq` `last`. Raises `StoreError`."""
    events: list[Event] = []
    while batch := await store.events(call_id, after=events[-1].seq if events else 0, limit=BATCH):
        events += batch
        if last is not None and events[-1].seq >= last:
            break
    return [event for event in events if last is None or event.seq <= last]
