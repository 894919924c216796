"""Dial blocks: what no INVITE leaves for until it is released.

The store compares every call with the blocks that stand, in the very transaction that lets its INVITE go (see
`Store.save_snapshot`). Nothing here is in that path: a block is put there, told of, and taken away.
"""

import msgspec

from onhook.calls.selector import CallSelector, check_new
from onhook.clock import Clock
from onhook.store.audit import Act
from onhook.store.records import DialBlock
from onhook.store.store import Store


class BlockOrder(msgspec.Struct, frozen=True):
    """Block what `selector` says of a call not yet dialled. `id` makes the order one even when it is given twice.

    `actor` is an initiator, as in a cause; `bulk_id` is the bulk stop that the block comes with.
    """

    id: str
    environment_id: str
    selector: CallSelector
    actor: str
    reason: str | None = None
    request_id: str | None = None
    bulk_id: str | None = None


class DialBlocks:
    """Puts and releases dial blocks."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def put(self, order: BlockOrder) -> DialBlock:
        """Block; once this returns no INVITE leaves for what the order means.

        States and age are left out: a call not yet dialled has neither. Raises `SelectorError` when nothing else is
        said, and `StoreError` when the block is not durable.
        """
        check_new(order.selector)
        block = DialBlock(
            id=order.id,
            environment_id=order.environment_id,
            selector=msgspec.structs.replace(order.selector, states=(), older_than_ms=None),
            created_at=self._clock.now_ms(),
            created_by=order.actor,
            reason=order.reason,
            bulk_id=order.bulk_id,
        )
        by = Act(order.actor, block.created_at, order.reason, order.request_id)
        await self._store.put(block, by)
        return block

    async def release(
        self, block_id: str, environment_id: str, actor: str, request_id: str | None = None
    ) -> DialBlock | None:
        """Let calls be dialled again, those that waited at the next sweep. None when there is no such block.

        Raises `StoreError`.
        """
        block = await self._store.get(DialBlock, block_id, environment_id)
        by = Act(actor, self._clock.now_ms(), request_id=request_id)
        released = await self._store.delete(DialBlock, block_id, environment_id, by)
        return block if released else None

    async def standing(self, environment_id: str) -> list[DialBlock]:
        """Return the blocks of an environment, newest first. Raises `StoreError`."""
        return await self._store.find(DialBlock, environment_id)
