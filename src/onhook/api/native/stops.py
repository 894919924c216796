"""Our own API's bulk stops: many calls by one order, each accounted for."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from onhook.api.native.bulk_mapping import bulk_stop_out, item_out, ledger_out, result_of
from onhook.api.native.bulk_schemas import BulkStopLedger, BulkStops, ListQuery, StopMany, StoppedItem, StopsQuery
from onhook.api.native.errors import COMMON, CREATES, invalid_field, not_found
from onhook.api.native.once import SameRoute
from onhook.api.routing import CallerRequest
from onhook.api.services import Caller
from onhook.api.stops import stop_cause
from onhook.calls.selector import SelectorError
from onhook.control.bulk import BulkOrder
from onhook.store.records import BulkStop

NDJSON = "application/x-ndjson"
STREAM_WAIT_MS = 35_000
"""How long a stream waits for proofs unless told otherwise: a little more than the longest that SIP does (64*T1)."""

router = APIRouter(
    prefix="/v1",
    route_class=SameRoute,
    tags=["stops"],
    responses=COMMON,
)


@router.post(
    "/stops",
    response_model=BulkStopLedger,
    responses=CREATES | {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}},
)
async def stop_many(request: CallerRequest, query: Annotated[StopsQuery, Query()], body: StopMany) -> Response:
    """End every live call that the selector means, and tell of each how far its end is proved.

    All stops are durable and carried out when this answers; those whose proof has not come in `wait_ms` are `pending`.
    With `Accept: application/x-ndjson` each call's line is sent as soon as it is settled, between a first line that
    tells the order and a last one that counts.
    """
    caller = request.caller
    order = BulkOrder(
        id=f"bulk_{request.nonce[:27]}",
        environment_id=caller.environment_id,
        selector=body.selector.read(),
        cause=stop_cause(caller, body.reason),
        block_id=f"block_{request.nonce[:27]}",
        request_id=caller.request_id,
        dry_run=body.dry_run,
        block_dials=body.block_dials,
    )
    try:
        bulk = await caller.services.bulk.stop(order)
    except SelectorError as error:
        raise invalid_field("selector", str(error)) from error
    if query.stream or NDJSON in request.headers.get("accept", ""):
        wait_ms = STREAM_WAIT_MS if body.wait_ms is None else body.wait_ms
        return StreamingResponse(_stream(caller, bulk, wait_ms), media_type=NDJSON)
    wait_ms = caller.services.stop_wait_ms if body.wait_ms is None else body.wait_ms
    return await _ledger(caller, bulk, wait_ms)


@router.get("/stops")
async def list_stops(request: CallerRequest, query: Annotated[ListQuery, Query()]) -> BulkStops:
    """List the environment's bulk stops, newest first, without their ledgers."""
    caller = request.caller
    found = await caller.store.find(BulkStop, caller.environment_id)
    return BulkStops(items=[bulk_stop_out(bulk) for bulk in found[: query.limit]])


@router.get("/stops/{bulk_id}", response_model=BulkStopLedger)
async def get_stop(request: CallerRequest, bulk_id: str) -> Response:
    """Return a bulk stop with its ledger, as each call stands now."""
    caller = request.caller
    bulk = await caller.store.get(BulkStop, bulk_id, caller.environment_id)
    if bulk is None:
        raise not_found("bulk stop")
    return await _ledger(caller, bulk, wait_ms=0)


async def _ledger(caller: Caller, bulk: BulkStop, wait_ms: int) -> Response:
    """Return the whole ledger; written out here, for it may be long, and is known to be what it promises."""
    items = {item.call_id: item async for item in _items(caller, bulk, wait_ms)}
    ledger = ledger_out(bulk, [items[call_id] for call_id in bulk.call_ids])
    return Response(ledger.model_dump_json(), media_type="application/json")


async def _stream(caller: Caller, bulk: BulkStop, wait_ms: int) -> AsyncIterator[bytes]:
    items: list[StoppedItem] = []
    yield _line("bulk_stop", bulk_stop_out(bulk))
    async for item in _items(caller, bulk, wait_ms):
        items.append(item)
        yield _line("call", item)
    yield _line("result", result_of(items))


async def _items(caller: Caller, bulk: BulkStop, wait_ms: int) -> AsyncIterator[StoppedItem]:
    async for line in caller.services.bulk.follow(bulk, wait_ms):
        yield item_out(line, dry_run=bulk.dry_run)


def _line(kind: str, told: BaseModel) -> bytes:
    return msgspec.json.encode({"type": kind} | told.model_dump(mode="json")) + b"\n"
