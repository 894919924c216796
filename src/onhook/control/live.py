"""The calls whose legs this process holds, from the dial until their end is written."""

import asyncio

from onhook.calls.call import Call
from onhook.store.rules import within_reach
from onhook.store.store import StopOrder


class LiveCalls:
    """A directory of our own legs; it answers when the store cannot.

    A call in here is going to produce a `LegEnded`, always, and leaves only when that is written. A call
    that is not in here has nothing on the wire.
    """

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._calls

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Enter a call, before its leg is asked for."""
        self._calls[call.id] = call
        self._empty.clear()

    def get(self, call_id: str) -> Call | None:
        """Return the call as it was when it was entered."""
        return self._calls.get(call_id)

    def all(self) -> list[Call]:
        """Return every call."""
        return list(self._calls.values())

    def remove(self, call_id: str) -> bool:
        """Drop a call whose end is written; False when it is not here."""
        known = self._calls.pop(call_id, None) is not None
        if not self._calls:
            self._empty.set()
        return known

    async def wait_until_empty(self) -> None:
        """Return once no leg is left."""
        await self._empty.wait()

    def find(self, order: StopOrder) -> Call | None:
        """Return the call that a stop means: the same that the store finds, under the same rules of tenancy."""
        named = self._calls.get(order.call_id)
        found = [] if named is None else [named]
        if order.or_sip_call_id:  # Far ends choose theirs: several calls may have one.
            of_leg = (one for one in self._calls.values() if one.sip_call_id == order.call_id)
            found += sorted(of_leg, key=lambda one: (one.created_at, one.id), reverse=True)
        return next((call for call in found if within_reach(call, order)), None)
