"""Our own API's dial blocks: what may not be dialled until somebody releases it."""

from fastapi import APIRouter, Response

from onhook.api.native.bulk_mapping import dial_block_out
from onhook.api.native.bulk_schemas import BlockDials, DialBlockOut, DialBlocks
from onhook.api.native.errors import COMMON, CREATES, invalid_field, not_found
from onhook.api.native.once import OnceRoute
from onhook.api.routing import CallerRequest
from onhook.calls.selector import SelectorError
from onhook.control.dial_block import BlockOrder

router = APIRouter(
    prefix="/v1",
    route_class=OnceRoute,
    tags=["dial blocks"],
    responses=COMMON,
)


@router.get("/dial-blocks")
async def list_dial_blocks(request: CallerRequest) -> DialBlocks:
    """List the dial blocks that stand, newest first."""
    caller = request.caller
    standing = await caller.services.dial_blocks.standing(caller.environment_id)
    return DialBlocks(items=[dial_block_out(block) for block in standing])


@router.post("/dial-blocks", status_code=201, responses=CREATES)
async def block_dials(request: CallerRequest, body: BlockDials) -> DialBlockOut:
    """Let no more INVITE leave for what the selector means: when this answers, none does.

    A call that was to be dialled at once is refused with 429; a scheduled one stays scheduled until the release.
    """
    caller = request.caller
    order = BlockOrder(
        id=f"block_{request.nonce[:27]}",
        environment_id=caller.environment_id,
        selector=body.selector.read(),
        actor=caller.actor,
        reason=body.reason,
        request_id=caller.request_id,
    )
    try:
        return dial_block_out(await caller.services.dial_blocks.put(order))
    except SelectorError as error:
        raise invalid_field("selector", str(error)) from error


@router.delete("/dial-blocks/{block_id}", status_code=204)
async def release_dial_block(request: CallerRequest, block_id: str) -> Response:
    """Let be dialled what the block held back; scheduled calls whose time has come are dialled at once."""
    caller = request.caller
    blocks = caller.services.dial_blocks
    if await blocks.release(block_id, caller.environment_id, caller.actor, caller.request_id) is None:
        raise not_found("dial block")
    return Response(status_code=204)
