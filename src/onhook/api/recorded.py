"""Recordings of calls, as requests deal with them."""

import asyncio

from onhook.api.services import Caller


async def forget_recording(caller: Caller, call_id: str) -> bool:
    """Delete a call's recording; False when there is none. Raises `OSError`."""
    recordings = caller.services.recordings
    return recordings is not None and await asyncio.to_thread(recordings.delete, call_id)
