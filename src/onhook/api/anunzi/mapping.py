"""From onhook's calls to Retell's words. The tables are the mapping; the functions apply them.

Only the 34 disconnection reasons that every SDK since 5.56 knows are used: newer values break strict clients.
"""

from collections.abc import Sequence
from typing import NamedTuple

from onhook.api.anunzi.schemas import CallStatus, DisconnectionReason, PhoneCall
from onhook.api.anunzi.transcripts import analysis, conversation_fields
from onhook.calls.call import Call, Event
from onhook.calls.causes import Reason
from onhook.calls.states import State
from onhook.store.store import Agent


class End(NamedTuple):
    """How a call that is over reads."""

    status: CallStatus
    reason: DisconnectionReason


STATUS_BY_STATE: dict[State, CallStatus] = {
    State.SCHEDULED: "registered",
    State.DIALING: "registered",
    State.RINGING: "registered",
    State.ANSWERED: "ongoing",
}
"""While a call lives its state decides."""

STOPPED = End("ended", "manual_stopped")
HUNG_UP = End("ended", "user_hangup")
TOO_LONG = End("ended", "max_duration_reached")
BROKEN = End("error", "error_unknown")
AGENT_HUNG_UP = End("ended", "agent_hangup")
MACHINE = End("ended", "voicemail_reached")
SILENT = End("ended", "inactivity")
EXPIRED = End("error", "registered_call_timeout")
NO_AUDIO = End("error", "error_no_audio_received")
AGENT_NOT_OPEN = End("error", "error_llm_websocket_open")
AGENT_GONE = End("error", "error_llm_websocket_lost_connection")
AGENT_FAILED = End("error", "error_llm_websocket_runtime")

UNANSWERED_END: dict[Reason, End] = {
    Reason.API_STOP: STOPPED,
    Reason.OPERATOR_STOP: STOPPED,
    Reason.HANGUP: End("not_connected", "dial_failed"),
    Reason.BUSY: End("not_connected", "dial_busy"),
    Reason.DECLINED: End("not_connected", "user_declined"),
    Reason.NO_ANSWER: End("not_connected", "dial_no_answer"),
    Reason.RING_TIMEOUT: End("not_connected", "dial_no_answer"),
    Reason.MAX_DURATION: End("not_connected", "dial_failed"),
    Reason.SCHEDULED_STOP: STOPPED,
    Reason.REGISTRATION_EXPIRED: EXPIRED,
    Reason.INVALID_DESTINATION: End("not_connected", "invalid_destination"),
    Reason.REDIRECTED: End("not_connected", "sip_routing_error"),
    Reason.AUTHENTICATION_FAILED: End("not_connected", "telephony_provider_permission_denied"),
    Reason.FORBIDDEN: End("not_connected", "telephony_provider_permission_denied"),
    Reason.MEDIA_REJECTED: End("not_connected", "dial_failed"),
    Reason.REJECTED: End("not_connected", "dial_failed"),
    Reason.CARRIER_UNAVAILABLE: End("not_connected", "telephony_provider_unavailable"),
    Reason.NO_RESPONSE: End("not_connected", "telephony_provider_unavailable"),
    Reason.CANCELED_ELSEWHERE: End("not_connected", "dial_no_answer"),
    Reason.CALLER_CANCELED: HUNG_UP,
    Reason.SESSION_EXPIRED: End("not_connected", "dial_failed"),
    Reason.DIALOG_LOST: End("not_connected", "dial_failed"),
    Reason.TRANSPORT_FAILED: End("not_connected", "telephony_provider_unavailable"),
    Reason.AGENT_HANGUP: AGENT_HUNG_UP,
    Reason.FAREWELL_OVERRUN: AGENT_HUNG_UP,
    Reason.VOICEMAIL: MACHINE,
    Reason.CALLER_SILENCE: SILENT,
    Reason.BOTH_SILENT: SILENT,
    Reason.NO_INBOUND_AUDIO: NO_AUDIO,
    Reason.AGENT_START_TIMEOUT: AGENT_NOT_OPEN,
    Reason.AGENT_LOST: AGENT_GONE,
    Reason.AGENT_LOOP: AGENT_FAILED,
    Reason.DIAL_BLOCKED: STOPPED,
    Reason.RESTART: BROKEN,
    Reason.SHUTDOWN: BROKEN,
}
"""A call that ended before anybody answered. A stop by API reads `ended`, as Anunzi has it, not `not_connected`."""

ANSWERED_END: dict[Reason, End] = dict.fromkeys(Reason, BROKEN) | {
    Reason.API_STOP: STOPPED,
    Reason.OPERATOR_STOP: STOPPED,
    Reason.HANGUP: HUNG_UP,
    Reason.MAX_DURATION: TOO_LONG,
    Reason.SCHEDULED_STOP: STOPPED,
    Reason.AGENT_HANGUP: AGENT_HUNG_UP,
    Reason.FAREWELL_OVERRUN: AGENT_HUNG_UP,
    Reason.VOICEMAIL: MACHINE,
    Reason.CALLER_SILENCE: SILENT,
    Reason.BOTH_SILENT: SILENT,
    Reason.NO_INBOUND_AUDIO: NO_AUDIO,
    Reason.AGENT_START_TIMEOUT: AGENT_NOT_OPEN,
    Reason.AGENT_LOST: AGENT_GONE,
    Reason.AGENT_LOOP: AGENT_FAILED,
}
"""A call that ended after the answer; what tore it down against everybody's will is an `error`."""


def status_of(call: Call) -> CallStatus:
    """Return a call's status in Retell's words."""
    end = end_of(call)
    return end.status if end is not None else STATUS_BY_STATE[call.state]


def end_of(call: Call) -> End | None:
    """Return how a call that is over reads, or None while it lives."""
    if call.cause is None:
        return None
    table = UNANSWERED_END if call.answered_at is None else ANSWERED_END
    return table[call.cause.reason]


def duration_ms_of(call: Call) -> int | None:
    """Return the talk time of a call that was answered and is over."""
    return call.duration_ms if call.answered_at is not None and call.is_over else None


def phone_call(call: Call, agent: Agent | None, log: Sequence[Event] = (), public_url: str | None = None) -> PhoneCall:
    """Return a call in Retell's shape; only what is known is there, of the conversation what the log tells."""
    end = end_of(call)
    details = call.details
    return PhoneCall(
        call_id=call.id,
        agent_id=call.agent_id,
        agent_name=agent.name if agent else None,
        agent_version=details.agent_version,
        call_status=status_of(call),
        direction=call.direction.value,
        from_number=call.from_number,
        to_number=call.to_number,
        metadata=details.metadata or None,
        retell_llm_dynamic_variables=details.dynamic_variables or None,
        custom_sip_headers=details.sip_headers or None,
        start_timestamp=call.answered_at,
        end_timestamp=call.ended_at,
        duration_ms=duration_ms_of(call),
        disconnection_reason=end.reason if end else None,
        data_storage_setting=details.data_storage_setting,
        call_analysis=analysis(call, log),
        **(conversation_fields(call, log, public_url) if call.is_over else {}),
    )
