"""Stores with calls in them, for the benchmarks of the store."""

import asyncio
import itertools
import time

import msgspec

from onhook.calls.call import Call, CallDetails, Dialect, Direction, EventType, new_call_id
from onhook.calls.causes import Cause, Reason
from onhook.calls.states import State
from onhook.store.store import Progress, StopOrder, Store

_count = itertools.count(1)


def now_ms() -> int:
    """Return the wall time in ms since the epoch."""
    return time.time_ns() // 1_000_000


async def answered_calls(store: Store, count: int) -> list[str]:
    """Put answered calls into a store; return their ids."""
    calls = [new_call() for _ in range(count)]
    await asyncio.gather(*(store.create_call(call) for call in calls))
    at = now_ms()
    answered = EventType.ANSWERED
    await asyncio.gather(
        *(
            store.record_progress(Progress(call.id, at, answered, to=State.ANSWERED, fields={"answered_at": at}))
            for call in calls
        )
    )
    return [call.id for call in calls]


def stop_order(call_id: str) -> StopOrder:
    """Return the order that an API request makes."""
    return StopOrder(call_id, Cause("api_key:key_bench", Reason.API_STOP, q850=16), now_ms(), "default")


def new_call() -> Call:
    """Return a call that is about to be dialled, in the environment `default`."""
    at = now_ms()
    return Call(
        id=new_call_id(Dialect.NATIVE),
        environment_id="default",
        agent_id="agent_bench",
        trunk_id="trunk_bench",
        dialect=Dialect.NATIVE,
        direction=Direction.OUTBOUND,
        from_number="+12025550100",
        to_number="+12025550123",
        state=State.DIALING,
        sip_call_id=f"sip-{next(_count)}-{at}@bench",
        created_at=at,
        updated_at=at,
        max_duration_ms=3_600_000,
        ring_timeout_ms=60_000,
        deadline_at=at + 3_600_000,
        details=CallDetails(),
    )


def encoded(value: object) -> str:
    """Return a value as the JSON text that the database holds."""
    return msgspec.json.encode(value).decode()
