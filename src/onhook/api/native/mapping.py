"""From the domain to our own API's bodies: the same words, times as text."""

from typing import Any, Literal

from msgspec.structs import asdict

from onhook.api.native.schemas import (
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
from onhook.calls.call import Call, Event, EventType
from onhook.calls.causes import Cause
from onhook.calls.proof import Proof, ProofStep, Result
from onhook.calls.timeline import moments, spans

StopWord = Literal["confirmed", "pending", "unconfirmed", "already_ended"]

STOP_RESULT: dict[Result, StopWord] = {
    Result.CONFIRMED: "confirmed",
    Result.PENDING: "pending",
    Result.UNCONFIRMED: "unconfirmed",
}
"""A stop's result; a call that ended without a stop reads `already_ended`."""


def call_out(call: Call) -> CallOut:
    """Return a call with everything that is known of it."""
    proof = call.proof
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
        stop=stop_out(call) if call.stop else None,
        proof_result=call.proof_so_far.result if call.is_over else None,
        proof_method=proof.method if proof else None,
        proof=steps(proof),
        metadata=call.details.metadata,
        context=call.details.context,
    )


def stopped_call(call: Call) -> StoppedCall:
    """Return a stop's answer."""
    return StoppedCall(
        call_id=call.id,
        state=call.state,
        outcome=call.outcome,
        cause=cause_out(call.cause),
        ended_at=iso_ms_or_none(call.ended_at),
        stop=stop_out(call),
        proof=steps(call.proof),
    )


def stop_out(call: Call) -> StopOut:
    """Return the record of the first stop, or that there was none to make."""
    stop, proof = call.stop, call.proof
    return StopOut(
        result=STOP_RESULT[stop.result] if stop else "already_ended",
        requested_at=iso_ms_or_none(stop.requested_at if stop else None),
        requested_by=stop.cause.initiator if stop else None,
        reason=stop.cause.reason if stop else None,
        text=stop.cause.text if stop else None,
        bye_sent_at=iso_ms_or_none(proof.bye_sent_at if proof else None),
        confirmed_at=iso_ms_or_none(proof.confirmed_at if proof else None),
    )


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
