"""Recordings of calls, as requests deal with them."""

import asyncio

from onhook.api.services import Caller


async def forget_recording(caller: Caller, call_id: str) -> bool:
    """Delete a call's recording; False when there is none. Raises `OSError`, and `StoreError` with nothing deleted."""
    recordings = caller.services.recordings
    if recordings is None or await asyncio.to_thread(recordings.find, call_id) is None:
        return False
    await caller.note("recording.delete", call_id)
    return await asyncio.to_thread(recordings.delete, call_id)
