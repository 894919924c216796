"""What the line reports, written down in wire order, one call at a time."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from onhook.calls.call import EventType
from onhook.calls.proof import Result
from onhook.calls.states import State
from onhook.clock import Clock
from onhook.control.end import Ending
from onhook.control.live import LiveCalls
from onhook.lines.engine import (
    Answered,
    AudioCount,
    Dialed,
    DtmfReceived,
    Incoming,
    LegEnded,
    LegEvent,
    ProofUpdated,
    Provisional,
)
from onhook.store.store import Progress, Store, StoreError

logger = logging.getLogger(__name__)

Write = Callable[[], Awaitable[object]]
CallEvent = Dialed | Provisional | Answered | DtmfReceived | LegEnded | ProofUpdated

RETRY_S = 0.5
"""How long to wait before offering the store again what it refused."""


class ProgressRecorder:
    """Writes the events of the line.

    Events of one call are written in the order they came; a store that is away holds a call's events back,
    never drops them. `late_watch_s` is how long an engine may still need the snapshot of an unconfirmed leg.
    """

    def __init__(
        self,
        store: Store,
        ending: Ending,
        live: LiveCalls,
        clock: Clock,
        late_watch_s: float,
    ) -> None:
        self._store = store
        self._ending = ending
        self._live = live
        self._clock = clock
        self._late_watch_s = late_watch_s
        self._queues: dict[str, deque[Write]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._disowned: set[str] = set()
        """Legs that far ends started, and that no call is of."""

    def on_event(self, event: LegEvent) -> None:
        """Queue one event of one call."""
        match event:
            case Incoming(call_id):
                self.disown(call_id)
            case LegEnded(call_id) if call_id in self._disowned:
                self._disowned.remove(call_id)
            case _:
                self._queue(event.call_id, self._writes(event))

    def own(self, call_id: str, write: Write, leg_id: str) -> None:
        """Queue the write that makes a call of a leg, before all that will be reported of it.

        The leg was told of as `leg_id`. A `StoreError` has the write tried again.
        """
        self._disowned -= {leg_id, call_id}
        self._queue(call_id, [write])

    def disown(self, call_id: str) -> None:
        """There is no call to this leg: nobody waits to hear of its end, not even a store that is away."""
        self._disowned.add(call_id)

    def note(self, call_id: str, event_type: EventType, data: dict[str, Any]) -> None:
        """Queue a fact of the conversation, behind what the line has reported of this call so far.

        `data` is JSON. It moves nothing in the call's row. To be called before the leg's `LegEnded` is reported: what
        comes later would stand behind `call.ended`.
        """
        progress = Progress(call_id, self._clock.now_ms(), event_type, data=data)
        self._queue(call_id, [lambda: self._store.record_progress(progress)])

    async def drained(self) -> None:
        """Wait until all that was reported so far is written."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _queue(self, call_id: str, writes: list[Write]) -> None:
        queue = self._queues.get(call_id)
        if queue is not None:
            queue.extend(writes)
            return
        self._queues[call_id] = deque(writes)
        self._run(self._drain(call_id))

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, call_id: str) -> None:
        queue = self._queues[call_id]
        while queue:
            try:
                await queue[0]()
            except StoreError:
                logger.exception("event of call %s not written yet", call_id)
                await asyncio.sleep(RETRY_S)
                continue
            queue.popleft()
        del self._queues[call_id]

    def _writes(self, event: CallEvent) -> list[Write]:
        """Return what an event has us write, each a step of its own: what is written is not written again."""
        match event:
            case LegEnded(call_id, at, audio=audio):
                heard: list[Write] = []
                if audio is not None and audio.flowed:
                    heard = [lambda: self._store.record_progress(_audio(call_id, at, audio))]
                return [*heard, lambda: self._settle(event)]
            case ProofUpdated(call_id, at, proof):
                return [
                    lambda: self._store.append_proof(call_id, at, proof),
                    lambda: self._note_late_answer(event),
                ]
            case Answered():
                return [lambda: self._note_answer(event)]
            case _:
                return [lambda: self._store.record_progress(self._progress(event))]

    async def _settle(self, ended: LegEnded) -> None:
        """Write the end. A watch that the last life left tells of it once more: only a better proof is news then."""
        self._disowned.discard(ended.call_id)  # Its end was told of before it was disowned.
        call = await self._ending.settle(ended)
        if ended.proof.result is not Result.CONFIRMED:  # The late-answer watch may still need the snapshot.
            self._clock.call_later(self._late_watch_s, lambda: self._run(self._forget_snapshot(ended.call_id)))
        known = None if call is None else call.proof_so_far.result
        if known is Result.UNCONFIRMED and ended.proof.result is Result.CONFIRMED:
            await self._store.append_proof(ended.call_id, ended.at, ended.proof)

    async def _note_answer(self, event: Answered) -> None:
        if not await self._is_answered(event.call_id):  # A leg of an earlier life tells of its answer again.
            await self._store.record_progress(self._progress(event))

    async def _note_late_answer(self, event: ProofUpdated) -> None:
        """A BYE after the end: there was a 2xx, which may cost money."""
        if event.proof.bye_sent_at is not None and not await self._is_answered(event.call_id):
            await self._store.record_progress(_answered(event.call_id, event.at, None, {}))

    async def _is_answered(self, call_id: str) -> bool:
        call = await self._store.get_call(call_id, None)
        return call is not None and call.answered_at is not None

    def _progress(self, event: Dialed | Provisional | Answered | DtmfReceived) -> Progress:
        """Translate a wire fact into a change of the row."""
        match event:
            case Dialed(call_id, at):
                return Progress(call_id, at, EventType.DIALED, fields={"dialed_at": at})
            case Provisional(call_id, at, status, ringing=False):
                fields: dict[str, int | None] = {"first_provisional_at": at}
                return Progress(call_id, at, EventType.PROVISIONAL, fields=fields, data={"status": status})
            case Provisional(call_id, at, status) if self._began_ringing(call_id):
                rung: dict[str, int | None] = {"first_provisional_at": at, "ringing_at": at}
                return Progress(call_id, at, EventType.RINGING, fields=rung, data={"status": status})
            case Provisional(call_id, at, status):
                return Progress(
                    call_id,
                    at,
                    EventType.RINGING,
                    to=State.RINGING,
                    fields={"first_provisional_at": at, "ringing_at": at},
                    data={"status": status},
                    late_event=EventType.PROVISIONAL,
                    late_fields={"first_provisional_at": at},
                )
            case Answered(call_id, at, session_timer):
                call = self._live.get(call_id)
                deadline = at + call.max_duration_ms if call else None
                return _answered(call_id, at, deadline, {"session_timer": session_timer})
            case DtmfReceived(call_id, at, digit, duration_ms):
                return Progress(call_id, at, EventType.DTMF, data={"digit": digit, "duration_ms": duration_ms})

    def _began_ringing(self, call_id: str) -> bool:
        """True for a call that a far end makes: it rings from its beginning, and the 180 is ours."""
        call = self._live.get(call_id)
        return call is not None and call.state is State.RINGING

    async def _forget_snapshot(self, call_id: str) -> None:
        try:
            await self._store.forget_snapshot(call_id)
        except StoreError:
            logger.exception("snapshot of call %s stays until the next start", call_id)


def _audio(call_id: str, at: int, audio: AudioCount) -> Progress:
    return Progress(call_id, at, EventType.AUDIO, data=msgspec.to_builtins(audio))


def _answered(call_id: str, at: int, deadline_at: int | None, data: dict[str, str]) -> Progress:
    """A 2xx: the call is answered, or, after a stop, it is a fact for the bill."""
    fields: dict[str, int | None] = {"answered_at": at}
    if deadline_at is not None:
        fields["deadline_at"] = deadline_at
    return Progress(
        call_id,
        at,
        EventType.ANSWERED,
        to=State.ANSWERED,
        fields=fields,
        data=dict(data),
        late_event=EventType.ANSWERED_AFTER_STOP,
        late_fields={"answered_on_wire_at": at},
    )
