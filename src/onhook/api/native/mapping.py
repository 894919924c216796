"""From the domain to our own API's bodies: the same words, times as text."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from msgspec.structs import asdict

from onhook.api.native.call_schemas import (
    CallOut,
    CauseOut,
    EventOut,
    Moments,
    Spans,
    Step,
    StopOut,
    StoppedCall,
    Timeline,
    Transcript,
    TurnOut,
    WordOut,
)
from onhook.api.times import iso_ms, iso_ms_or_none
from onhook.calls.call import Call, Event, EventType, Farewell
from onhook.calls.causes import Cause
from onhook.calls.proof import Proof, ProofStep, Result
from onhook.calls.timeline import moments, spans
from onhook.calls.timer import CallTimer, TimerKind

EndWord = Literal["confirmed", "pending", "unconfirmed", "already_ended"]

STOP_RESULT: dict[Result, EndWord] = {
    Result.CONFIRMED: "confirmed",
    Result.PENDING: "pending",
    Result.UNCONFIRMED: "unconfirmed",
}
"""A stop's result; a call that ended without a stop reads `already_ended`."""


def call_out(call: Call, timers: Sequence[CallTimer] = ()) -> CallOut:
    """Return a call with everything that is known of it, and of its timers."""
    proof, farewell = call.proof, _of_kind(timers, TimerKind.FAREWELL)
    scheduled = None if call.is_over else _of_kind(timers, TimerKind.STOP_AT)
    return CallOut(
        call_id=call.id,
        sip_call_id=call.sip_call_id,
        dialect=call.dialect,
        direction=call.direction,
        agent_id=call.agent_id,
        trunk_id=call.trunk_id,
        from_number=call.from_number,
        to_number=call.to_number,
        state=call.state,
        outcome=call.outcome,
        cause=cause_out(call.cause),
        created_at=iso_ms(call.created_at),
        updated_at=iso_ms(call.updated_at),
        dial_at=iso_ms_or_none(call.dial_at),
        deadline_at=iso_ms_or_none(call.deadline_at),
        stop_at=iso_ms_or_none(scheduled.at if scheduled else None),
        stop_at_set_by=scheduled.cause.initiator if scheduled else None,
        stop_at_reason=scheduled.cause.text if scheduled else None,
        dialed_at=iso_ms_or_none(call.dialed_at),
        ringing_at=iso_ms_or_none(call.ringing_at),
        answered_at=iso_ms_or_none(call.answered_at),
        answered_on_wire_at=iso_ms_or_none(call.answered_on_wire_at),
        ended_at=iso_ms_or_none(call.ended_at),
        stop_requested_at=iso_ms_or_none(call.stop.requested_at if call.stop else None),
        bye_sent_at=iso_ms_or_none(proof.bye_sent_at if proof else None),
        confirmed_at=iso_ms_or_none(proof.confirmed_at if proof else None),
        duration_ms=call.duration_ms,
        wire_duration_ms=call.wire_duration_ms,
        billable=call.billable,
        stop=stop_out(call, timers) if call.stop or (farewell and not call.is_over) else None,
        proof_result=call.proof_so_far.result if call.is_over else None,
        proof_method=proof.method if proof else None,
        proof=steps(proof),
        metadata=call.details.metadata,
        context=call.details.context,
    )


def stopped_call(call: Call, timers: Sequence[CallTimer] = (), farewell: Farewell | None = None) -> StoppedCall:
    """Return a stop's answer. `farewell` is what became of the last words of a call that ended without a stop."""
    return StoppedCall(
        call_id=call.id,
        state=call.state,
        outcome=call.outcome,
        cause=cause_out(call.cause),
        ended_at=iso_ms_or_none(call.ended_at),
        stop=stop_out(call, timers, farewell),
        proof=steps(call.proof),
    )


def stop_out(call: Call, timers: Sequence[CallTimer] = (), farewell: Farewell | None = None) -> StopOut:
    """Return the record of the first stop, or of the graceful one that is being carried out, or that there was none."""
    stop, proof, promise = call.stop, call.proof, _of_kind(timers, TimerKind.FAREWELL)
    if not call.is_over and promise is not None:
        return _winding_down(promise)
    return StopOut(
        result=result_of_end(call),
        requested_at=iso_ms_or_none(stop.requested_at if stop else None),
        requested_by=stop.cause.initiator if stop else None,
        reason=stop.cause.reason if stop else None,
        text=stop.cause.text if stop else None,
        request_id=stop.request_id if stop else None,
        bulk_id=stop.bulk_id if stop else None,
        deadline_at=None,
        farewell=stop.farewell if stop else farewell,
        bye_sent_at=iso_ms_or_none(proof.bye_sent_at if proof else None),
        confirmed_at=iso_ms_or_none(proof.confirmed_at if proof else None),
    )


def result_of_end(call: Call) -> EndWord:
    """Return how the stop of a call stands, `already_ended` for a call that ended without one."""
    return STOP_RESULT[call.stop.result] if call.stop else "already_ended"


def farewell_of(log: Sequence[Event]) -> Farewell | None:
    """Return what became of the farewell that a graceful stop asked for, by the log of a call that ended by itself."""
    if not any(event.type is EventType.FAREWELL_STARTED for event in log):
        return None
    said = next((event.data["farewell"] for event in log if event.type is EventType.CONVERSATION_ENDED), None)
    return next((word for word in get_args(Farewell) if word == said), "skipped")


def cause_out(cause: Cause | None) -> CauseOut | None:
    """Return a cause, if there is one."""
    return CauseOut.model_validate(asdict(cause)) if cause else None


def steps(proof: Proof | None) -> list[Step]:
    """Return the steps of a proof; none while there is none."""
    return [_step(step) for step in proof.steps] if proof else []


def timeline(call: Call, events: list[Event]) -> Timeline:
    """Return a call's log, the moments in it, and the spans that follow from those."""
    found = moments(call, events)
    return Timeline(
        call_id=call.id,
        state=call.state,
        moments=Moments.model_validate({name: iso_ms_or_none(at) for name, at in asdict(found).items()}),
        spans_ms=Spans.model_validate(asdict(spans(found))),
        events=[event_out(one) for one in events],
    )


def transcript(call: Call, events: list[Event]) -> Transcript:
    """Return what was said; nothing of a call of which less than everything may be kept."""
    kept = call.details.data_storage_setting == "everything"
    turns = [event.data for event in events if event.type is EventType.TURN and kept]
    return Transcript(call_id=call.id, turns=[_turn(data) for data in turns])


def event_out(event: Event) -> EventOut:
    """Return one line of a call's log."""
    return EventOut(seq=event.seq, at=iso_ms(event.at), type=event.type.value, data=_texts(event.data))


def _winding_down(promise: CallTimer) -> StopOut:
    """Return a graceful stop whose farewell is not over."""
    return StopOut(
        result="winding_down",
        requested_at=iso_ms(promise.set_at),
        requested_by=promise.cause.initiator,
        reason=promise.cause.reason,
        text=promise.cause.text,
        request_id=promise.request_id,
        bulk_id=None,
        deadline_at=iso_ms(promise.at),
        farewell=None,
        bye_sent_at=None,
        confirmed_at=None,
    )


def _of_kind(timers: Sequence[CallTimer], kind: TimerKind) -> CallTimer | None:
    return next((timer for timer in timers if timer.kind is kind), None)


def _turn(data: dict[str, Any]) -> TurnOut:
    return TurnOut(
        role=data["role"],
        text=data["text"],
        start_ms=data["start_ms"],
        end_ms=data["end_ms"],
        interrupted=data.get("interrupted", False),
        latency_ms=data.get("latency_ms"),
        words=[WordOut.model_validate(word) for word in data.get("words") or ()],
    )


def _step(step: ProofStep) -> Step:
    return Step(
        method=step.method,
        cseq=step.cseq,
        sent=step.sent,
        at=iso_ms(step.at),
        count=step.count,
        last_at=iso_ms_or_none(step.last_at),
        status=step.status,
        answered_at=iso_ms_or_none(step.answered_at),
        remote_tag=step.remote_tag,
    )


def _texts(data: dict[str, Any]) -> dict[str, Any]:
    """Write the times in an event's data (fields named `at` or `..._at`) as text."""
    return {name: _text(name, value) for name, value in data.items()}


def _text(name: str, value: Any) -> Any:
    match value:
        case dict():
            return _texts(value)
        case list() | tuple():
            return [_text(name, one) for one in value]
        case int() if name == "at" or name.endswith("_at"):
            return iso_ms(value)
        case _:
            return value
