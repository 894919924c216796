"""A call as it was at one of its events: a delivery that comes late must not tell what was not known then."""

from typing import Any

import msgspec

from onhook.calls.call import Call, Event, EventType
from onhook.calls.proof import Proof, Result
from onhook.calls.states import State

BEFORE_ANSWER = frozenset({EventType.CREATED, EventType.RINGING})
BEFORE_END = BEFORE_ANSWER | {EventType.ANSWERED}
AFTER_END = frozenset(
    {EventType.STOP_REQUESTED, EventType.ENDED, EventType.PROOF_UPDATED, EventType.ANSWERED_AFTER_STOP}
)
"""The rest are plain facts, which may come before or after the end: their time decides."""
END_FIELDS = ("ended_at", "outcome", "cause", "stop", "proof")
EARLY_TIMES = ("dialed_at", "first_provisional_at", "ringing_at", "answered_on_wire_at")


def call_as_of(call: Call, event: Event) -> Call:
    """Return the call without what happened to it after `event`."""
    changes: dict[str, Any] = {"updated_at": event.at}
    changes |= {name: None for name in EARLY_TIMES if (getattr(call, name) or 0) > event.at}
    if event.type in AFTER_END or _is_fact_after_end(call, event):
        return msgspec.structs.replace(call, **changes | _end(call, event))
    changes |= dict.fromkeys(END_FIELDS)
    if event.type in BEFORE_ANSWER or (call.answered_at or 0) > event.at:
        changes["answered_at"] = None
    live = msgspec.structs.replace(call, **changes)
    return msgspec.structs.replace(live, state=_live_state(live, event))


def _is_fact_after_end(call: Call, event: Event) -> bool:
    return event.type not in BEFORE_END and call.ended_at is not None and call.ended_at <= event.at


def _end(call: Call, event: Event) -> dict[str, Any]:
    """Return the fields of the end as an event has them: the stop knows no proof yet, the end knows the first."""
    if event.type is EventType.STOP_REQUESTED:
        stop = msgspec.structs.replace(call.stop, result=Result.PENDING) if call.stop else None
        return {"state": State.ENDING, "proof": None, "stop": stop}
    if "proof" not in event.data:
        return {}
    proof = msgspec.convert(event.data["proof"], Proof)
    stop = msgspec.structs.replace(call.stop, result=proof.result) if call.stop else None
    return {"state": State.ENDED, "proof": proof, "stop": stop}


def _live_state(call: Call, event: Event) -> State:
    if event.type is EventType.CREATED:
        return State(event.data["state"])
    if call.answered_at is not None:
        return State.ANSWERED
    return State.DIALING if call.ringing_at is None else State.RINGING
