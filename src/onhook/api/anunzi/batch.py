"""Batch calls, and how many calls there are."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence

import msgspec
from fastapi import APIRouter

from onhook.api.anunzi.batch_schemas import BatchCall, Concurrency, CreateBatchCall
from onhook.api.anunzi.errors import BLOCKED, COMMON, failure, refused
from onhook.api.anunzi.idempotency import nonce_of
from onhook.api.anunzi.placing import order_for
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.services import Caller
from onhook.calls.states import State
from onhook.control.place import NoCapacityError, PlaceOrder, Placer, RefusedError
from onhook.store.queries import CallFilter

PACE_MS = 100
"""Between two calls of a batch: ten are begun in a second, for a trunk takes no more at once than people do."""
WRITTEN_TOGETHER = 32
"""Calls whose commits may share a flush of the disk."""
AHEAD_MS = 30 * 86_400_000
"""How far ahead a batch may be triggered."""
IN_USE = (State.DIALING, State.RINGING, State.ANSWERED, State.ENDING)

router = APIRouter(route_class=CheckedRoute, tags=["batches"], responses=COMMON)


@router.post("/create-batch-call", status_code=201, responses=BLOCKED, response_model_exclude_none=True)
async def create_batch_call(request: CallerRequest, body: CreateBatchCall) -> BatchCall:
    """Schedule one call per task. All are durable when this answers; when one is refused none is placed."""
    caller = request.caller
    now = caller.now_ms()
    trigger = max(now, body.trigger_timestamp or now)
    if body.call_time_window is not None:
        raise failure(400, "call_time_window is not supported by this server.")
    if trigger > now + AHEAD_MS:
        raise failure(400, "trigger_timestamp is more than 30 days ahead.")
    nonce = await nonce_of(request, body)
    batch_call_id = f"batch_call_{nonce[:21]}"
    orders: list[PlaceOrder] = []
    for number, task in enumerate(body.tasks):
        await asyncio.sleep(0)  # a thousand checks in one go would be heard in every live call
        order = await order_for(caller, body.from_number, task, batch_call_id)
        dial_at = trigger + number * PACE_MS
        orders.append(msgspec.structs.replace(order, call_id=_call_id(nonce, number), dial_at=dial_at))
    placer = caller.services.placer
    try:
        await _check(caller, orders)
        for start in range(0, len(orders), WRITTEN_TOGETHER):
            some = orders[start : start + WRITTEN_TOGETHER]
            await asyncio.gather(*(_place(placer, order, caller.now_ms) for order in some))
    except RefusedError as error:
        raise refused(error) from error
    return BatchCall(
        batch_call_id=batch_call_id,
        name=body.name or batch_call_id,
        from_number=body.from_number,
        scheduled_timestamp=trigger,
        total_task_count=len(body.tasks),
    )


@router.get("/get-concurrency")
async def get_concurrency(request: CallerRequest) -> Concurrency:
    """Say how many calls are on the line. There is no limit to tell of: `max_calls` is the whole server's."""
    caller = request.caller
    where = CallFilter(environment_id=caller.environment_id, states=IN_USE)
    return Concurrency(current_concurrency=await caller.store.count_calls(where))


async def _check(caller: Caller, orders: Sequence[PlaceOrder]) -> None:
    """Raise what placing one of the calls would, but for those that are there: the request was sent again."""
    placed = {call.id for call in await caller.store.get_calls([order.call_id or "" for order in orders])}
    for order in orders:
        if order.call_id not in placed:
            await caller.services.placer.check(order)
        await asyncio.sleep(0)


async def _place(placer: Placer, order: PlaceOrder, now_ms: Callable[[], int]) -> None:
    """Place a call of a batch that is taken: without room for it, it waits. Raises as `place_once`."""
    try:
        await placer.place_once(order)
    except NoCapacityError:
        await placer.place_once(msgspec.structs.replace(order, dial_at=now_ms() + PACE_MS))


def _call_id(nonce: str, number: int) -> str:
    """Return the id of a batch's call, which is the same when the request is sent again."""
    return f"call_{hashlib.sha256(f'{nonce}:{number}'.encode()).hexdigest()[:27]}"
