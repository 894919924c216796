"""What was said on a call: its transcript, its recording."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from onhook.api.native.call_schemas import Transcript
from onhook.api.native.calls import call_named
from onhook.api.native.errors import COMMON, not_found, problem, problems
from onhook.api.native.mapping import transcript
from onhook.api.recorded import forget_recording
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.services import Caller
from onhook.calls.call import Call
from onhook.calls.states import State
from onhook.store.logs import log_of

MEDIA_TYPES = {".wav": "audio/wav", ".ogg": "audio/ogg"}
CHUNK = 65_536
BINARY = {"schema": {"type": "string", "format": "binary"}}
AUDIO: dict[int | str, dict[str, Any]] = {200: {"content": dict.fromkeys(MEDIA_TYPES.values(), BINARY)}}

router = APIRouter(prefix="/v1", route_class=CheckedRoute, tags=["calls"], responses=COMMON)


class _Audio(StreamingResponse):
    """A recording; the media type is in the OpenAPI document only, for there are two."""

    media_type = None


@router.get("/calls/{call_id}/transcript")
async def get_transcript(request: CallerRequest, call_id: str) -> Transcript:
    """Return what was said on a call so far. Empty where less than `everything` may be kept of it."""
    caller = request.caller
    call = await call_named(caller, call_id)
    return transcript(call, await log_of(caller.store, call.id))


@router.get(
    "/calls/{call_id}/recording",
    response_class=_Audio,
    responses=AUDIO | problems(409),
)
async def get_recording(request: CallerRequest, call_id: str) -> Response:
    """Return the recording of a call that has ended: stereo, caller left, agent right; WAV or OGG/Opus."""
    caller = request.caller
    call = await _ended(caller, call_id)
    opened = await asyncio.to_thread(_open, caller, call.id)
    if opened is None:
        raise not_found("recording")
    await caller.note("recording.fetch", call.id)
    path, file, size = opened
    headers = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{path.name}"'}
    return _Audio(_chunks(file), media_type=MEDIA_TYPES[path.suffix], headers=headers)


@router.delete("/calls/{call_id}/recording", status_code=204, responses=problems(409))
async def delete_recording(request: CallerRequest, call_id: str) -> Response:
    """Delete the recording of a call that has ended, for good."""
    caller = request.caller
    call = await _ended(caller, call_id)
    if not await forget_recording(caller, call.id):
        raise not_found("recording")
    return Response(status_code=204)


async def _ended(caller: Caller, call_id: str) -> Call:
    call = await call_named(caller, call_id)
    if call.state is not State.ENDED:
        raise problem(409, "The call has not ended; its recording is not complete.", code="call_not_ended")
    return call


def _open(caller: Caller, call_id: str) -> tuple[Path, BinaryIO, int] | None:
    """Open a recording; what is opened can be read to its end, even if it is replaced or deleted meanwhile."""
    recordings = caller.services.recordings
    path = recordings.find(call_id) if recordings is not None else None
    if path is None:
        return None
    try:
        file = path.open("rb")
    except FileNotFoundError:  # an OGG has taken its place, or it was deleted
        return _open(caller, call_id)
    return path, file, file.seek(0, 2)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        file.seek(0)
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
