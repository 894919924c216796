"""The engine's `SnapshotJournal`, kept in the store beside the call's row."""

from onhook.store.store import Store


class StoreJournal:
    """Writes the engine's snapshots."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def before_invite(self, call_id: str, snapshot: bytes) -> bool:
        """Make `snapshot` durable if the call may still be dialled; False after a stop. Raises `StoreError`."""
        return await self._store.save_snapshot(call_id, snapshot, before_invite=True)

    async def update(self, call_id: str, snapshot: bytes) -> None:
        """Make a change of the dialog durable. Raises `StoreError`."""
        await self._store.save_snapshot(call_id, snapshot, before_invite=False)
