"""From onhook's calls to TalkOver's words. The tables are the mapping; the functions apply them."""

import phonenumbers

from onhook.api.talkover.schemas import ActiveCall, AgentLabel, CallItem, CallItemWithAgent, Status
from onhook.api.times import iso_seconds
from onhook.calls.call import Call
from onhook.calls.causes import Outcome, Reason
from onhook.calls.states import OVER, State
from onhook.store.store import Agent

STATUS_BY_STATE: dict[State, Status] = {
    State.SCHEDULED: "initiated",
    State.DIALING: "initiated",
    State.RINGING: "ringing",
    State.ANSWERED: "answered",
}
"""While a call lives its state decides; TalkOver has no word of its own for a delayed call."""

STATUS_BY_OUTCOME: dict[Outcome, Status] = {
    Outcome.COMPLETED: "completed",
    Outcome.CANCELED: "completed",
    Outcome.BUSY: "busy",
    Outcome.NO_ANSWER: "no-answer",
    Outcome.DECLINED: "no-answer",
    Outcome.FAILED: "failed",
}
"""Once a call is over (a stop is durable, or the wire ended it) its outcome decides."""

ENDED_REASON: dict[Reason, str] = {
    Reason.API_STOP: "ended_by_api",
    Reason.OPERATOR_STOP: "ended_by_operator",
    Reason.HANGUP: "hangup",
    Reason.BUSY: "busy",
    Reason.DECLINED: "declined",
    Reason.NO_ANSWER: "no_answer",
    Reason.RING_TIMEOUT: "no_answer",
    Reason.MAX_DURATION: "max_call_duration",
    Reason.SCHEDULED_STOP: "ended_by_api",
    Reason.REGISTRATION_EXPIRED: "no_answer",
    Reason.INVALID_DESTINATION: "invalid_number",
    Reason.REDIRECTED: "error",
    Reason.AUTHENTICATION_FAILED: "error",
    Reason.FORBIDDEN: "error",
    Reason.MEDIA_REJECTED: "error",
    Reason.REJECTED: "error",
    Reason.CARRIER_UNAVAILABLE: "error",
    Reason.NO_RESPONSE: "error",
    Reason.CANCELED_ELSEWHERE: "no_answer",
    Reason.CALLER_CANCELED: "hangup",
    Reason.SESSION_EXPIRED: "error",
    Reason.DIALOG_LOST: "error",
    Reason.TRANSPORT_FAILED: "error",
    Reason.AGENT_HANGUP: "ended_by_agent",
    Reason.FAREWELL_OVERRUN: "ended_by_agent",
    Reason.VOICEMAIL: "voicemail",
    Reason.CALLER_SILENCE: "inactivity",
    Reason.BOTH_SILENT: "inactivity",
    Reason.NO_INBOUND_AUDIO: "error",
    Reason.AGENT_START_TIMEOUT: "error",
    Reason.AGENT_LOST: "error",
    Reason.AGENT_LOOP: "error",
    Reason.DIAL_BLOCKED: "ended_by_operator",
    Reason.RESTART: "error",
    Reason.SHUTDOWN: "error",
}
"""`ended_by_api` is TalkOver's; it publishes no other value, so the rest are ours."""


def status_of(call: Call) -> Status:
    """Return a call's status in TalkOver's words."""
    return STATUS_BY_STATE[call.state] if call.outcome is None else STATUS_BY_OUTCOME[call.outcome]


def ended_reason_of(call: Call) -> str:
    """Return why a call that is over ended."""
    if call.cause is None:
        raise ValueError(f"call {call.id} is not over")
    return ENDED_REASON[call.cause.reason]


def states_and_outcomes(status: Status) -> tuple[tuple[State, ...], tuple[Outcome | None, ...]]:
    """Return which states, and among the calls that are over which outcomes, have this status."""
    states = tuple(state for state, word in STATUS_BY_STATE.items() if word == status)
    if states:
        return states, ()
    return tuple(sorted(OVER)), tuple(outcome for outcome, word in STATUS_BY_OUTCOME.items() if word == status)


def duration_s(call: Call, now: int) -> int:
    """Return the seconds since the answer, or the final talk time; 0 before an answer."""
    if call.is_over:
        return call.duration_ms // 1000
    return max(0, now - call.answered_at) // 1000 if call.answered_at is not None else 0


def call_item(call: Call, now: int) -> CallItem:
    """Return a line of an agent's call list."""
    return CallItem(
        id=call.id,
        sid=call.sip_call_id,
        to=call.to_number,
        from_=call.from_number,
        to_formatted=national(call.to_number),
        from_formatted=national(call.from_number),
        is_testing=call.details.is_testing,
        direction=call.direction.value,
        status=status_of(call),
        duration=duration_s(call, now),
        created_at=iso_seconds(call.created_at),
        updated_at=iso_seconds(call.updated_at),
    )


def call_item_with_agent(call: Call, now: int, agent: Agent | None) -> CallItemWithAgent:
    """Return a line of the environment's call list; an agent that is deleted keeps only its id."""
    label = AgentLabel(id=call.agent_id, name=agent.name if agent else "", label=agent.label if agent else "")
    return CallItemWithAgent(**dict(call_item(call, now)), agent=label)


def active_call(call: Call, now: int) -> ActiveCall:
    """Return a call that is going on; it started when it was answered, before that when it was created."""
    return ActiveCall(
        id=call.id,
        agent_id=call.agent_id,
        to=call.to_number,
        status=status_of(call),
        started_at=iso_seconds(call.answered_at or call.created_at),
        duration_seconds=duration_s(call, now),
    )


def national(number: str) -> str:
    """Write an E.164 number as its country does, such as `(202) 555-0100`."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return number
    text: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return text
