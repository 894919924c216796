"""Why a call ended: one registry of reasons, and the protocol numbers that go with them.

A cause has three parts: who (initiator), why (reason), and what the protocol said (SIP status, Q.850
cause). The registry below is the only list of reasons; each dialect maps them to its own words in its
`mapping.py`, and `docs/reference/causes.md` is generated from it.
"""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """What became of the call, in one word. Frozen once written."""

    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    CANCELED = "canceled"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a call ended."""

    API_STOP = "api_stop"
    OPERATOR_STOP = "operator_stop"
    HANGUP = "hangup"
    BUSY = "busy"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    RING_TIMEOUT = "ring_timeout"
    MAX_DURATION = "max_duration"
    SCHEDULED_STOP = "scheduled_stop"
    REGISTRATION_EXPIRED = "registration_expired"
    INVALID_DESTINATION = "invalid_destination"
    REDIRECTED = "redirected"
    AUTHENTICATION_FAILED = "authentication_failed"
    FORBIDDEN = "forbidden"
    MEDIA_REJECTED = "media_rejected"
    REJECTED = "rejected"
    CARRIER_UNAVAILABLE = "carrier_unavailable"
    NO_RESPONSE = "no_response"
    CANCELED_ELSEWHERE = "canceled_elsewhere"
    CALLER_CANCELED = "caller_canceled"
    SESSION_EXPIRED = "session_expired"
    DIALOG_LOST = "dialog_lost"
    TRANSPORT_FAILED = "transport_failed"
    AGENT_HANGUP = "agent_hangup"
    FAREWELL_OVERRUN = "farewell_overrun"
    VOICEMAIL = "voicemail"
    CALLER_SILENCE = "caller_silence"
    BOTH_SILENT = "both_silent"
    NO_INBOUND_AUDIO = "no_inbound_audio"
    AGENT_START_TIMEOUT = "agent_start_timeout"
    AGENT_LOST = "agent_lost"
    AGENT_LOOP = "agent_loop"
    DIAL_BLOCKED = "dial_blocked"
    RESTART = "restart"
    SHUTDOWN = "shutdown"


class ReasonEntry(msgspec.Struct, frozen=True):
    """One line of the registry.

    `unanswered` is the outcome when the call ends for this reason before it was answered; an answered
    call that ends is `completed`, whatever the reason. `q850` goes into the SIP Reason header.
    """

    meaning: str
    unanswered: Outcome
    q850: int | None = None


REGISTRY: dict[Reason, ReasonEntry] = {
    Reason.API_STOP: ReasonEntry("somebody stopped the call through an API", Outcome.CANCELED, 16),
    Reason.OPERATOR_STOP: ReasonEntry("an operator stopped the call on the server", Outcome.CANCELED, 16),
    Reason.HANGUP: ReasonEntry("the far end sent a BYE", Outcome.COMPLETED, 16),
    Reason.BUSY: ReasonEntry("the callee is busy (486, 600)", Outcome.BUSY, 17),
    Reason.DECLINED: ReasonEntry("the callee declined (603, 607)", Outcome.DECLINED, 21),
    Reason.NO_ANSWER: ReasonEntry("the network gave up ringing (408, 480)", Outcome.NO_ANSWER, 19),
    Reason.RING_TIMEOUT: ReasonEntry("our ring time-out passed", Outcome.NO_ANSWER, 19),
    Reason.MAX_DURATION: ReasonEntry("the call reached its maximum duration", Outcome.CANCELED, 16),
    Reason.SCHEDULED_STOP: ReasonEntry("the moment came for which a stop was scheduled", Outcome.CANCELED, 16),
    Reason.REGISTRATION_EXPIRED: ReasonEntry("nobody called in for the registered call", Outcome.FAILED, 102),
    Reason.INVALID_DESTINATION: ReasonEntry(
        "the number does not exist (404, 410, 416, 484, 485, 604)", Outcome.FAILED, 1
    ),
    Reason.REDIRECTED: ReasonEntry("the carrier redirected the call (3xx); not followed", Outcome.FAILED, 23),
    Reason.AUTHENTICATION_FAILED: ReasonEntry("the carrier refused our credentials (401, 407)", Outcome.FAILED, 21),
    Reason.FORBIDDEN: ReasonEntry("the carrier forbids the call (403)", Outcome.FAILED, 21),
    Reason.MEDIA_REJECTED: ReasonEntry("no common media (415, 488, 606)", Outcome.FAILED, 88),
    Reason.REJECTED: ReasonEntry("the carrier rejected the call (other 4xx, 6xx)", Outcome.FAILED, 31),
    Reason.CARRIER_UNAVAILABLE: ReasonEntry("the carrier cannot take the call (5xx)", Outcome.FAILED, 41),
    Reason.NO_RESPONSE: ReasonEntry("the carrier never replied (timer B)", Outcome.FAILED, 102),
    Reason.CANCELED_ELSEWHERE: ReasonEntry("the INVITE was cancelled by somebody else (487)", Outcome.NO_ANSWER, 31),
    Reason.CALLER_CANCELED: ReasonEntry("the caller gave up before we answered (CANCEL)", Outcome.NO_ANSWER, 16),
    Reason.SESSION_EXPIRED: ReasonEntry("the session timer ran out (RFC 4028)", Outcome.FAILED, 102),
    Reason.DIALOG_LOST: ReasonEntry(
        "the far end no longer knows the call (481 or 408 in the dialog)", Outcome.FAILED, 41
    ),
    Reason.TRANSPORT_FAILED: ReasonEntry("nothing could be sent to the carrier", Outcome.FAILED, 38),
    Reason.AGENT_HANGUP: ReasonEntry("the agent hung up, its last words played out", Outcome.CANCELED, 16),
    Reason.FAREWELL_OVERRUN: ReasonEntry(
        "the agent hung up, and its last words did not end in time", Outcome.CANCELED, 16
    ),
    Reason.VOICEMAIL: ReasonEntry("an answering machine answered, and the agent leaves those", Outcome.NO_ANSWER, 16),
    Reason.CALLER_SILENCE: ReasonEntry("the caller said nothing for too long", Outcome.NO_ANSWER, 16),
    Reason.BOTH_SILENT: ReasonEntry("neither side said anything for too long", Outcome.NO_ANSWER, 16),
    Reason.NO_INBOUND_AUDIO: ReasonEntry("no RTP came from the far end", Outcome.FAILED, 102),
    Reason.AGENT_START_TIMEOUT: ReasonEntry("the agent did not start in time", Outcome.FAILED, 41),
    Reason.AGENT_LOST: ReasonEntry(
        "the agent crashed, hung, lost its connection, or could not be put on the call", Outcome.FAILED, 41
    ),
    Reason.AGENT_LOOP: ReasonEntry("the agent called its tools in a loop", Outcome.FAILED, 41),
    Reason.DIAL_BLOCKED: ReasonEntry("a dial block kept the call from being dialled, or taken", Outcome.CANCELED),
    Reason.RESTART: ReasonEntry("the server restarted while the call was live", Outcome.CANCELED, 41),
    Reason.SHUTDOWN: ReasonEntry("the server was shut down while the call was live", Outcome.CANCELED, 41),
}

BY_STATUS: dict[int, Reason] = {
    401: Reason.AUTHENTICATION_FAILED,
    403: Reason.FORBIDDEN,
    404: Reason.INVALID_DESTINATION,
    407: Reason.AUTHENTICATION_FAILED,
    408: Reason.NO_ANSWER,
    410: Reason.INVALID_DESTINATION,
    415: Reason.MEDIA_REJECTED,
    416: Reason.INVALID_DESTINATION,
    480: Reason.NO_ANSWER,
    484: Reason.INVALID_DESTINATION,
    485: Reason.INVALID_DESTINATION,
    486: Reason.BUSY,
    487: Reason.CANCELED_ELSEWHERE,
    488: Reason.MEDIA_REJECTED,
    600: Reason.BUSY,
    603: Reason.DECLINED,
    604: Reason.INVALID_DESTINATION,
    606: Reason.MEDIA_REJECTED,
    607: Reason.DECLINED,
}
"""SIP final responses with a reason of their own (RFC 3261 section 21, RFC 8197 for 607)."""


MAX_CAUSE_TEXT = 200


class Cause(msgspec.Struct, frozen=True):
    """Who ended the call, why, and in which protocol words.

    `initiator` is one of `api_key:ID`, `callee`, `caller`, `agent`, `timer`, `operator`, `carrier`,
    `system`. `text` is free text of the actor, at most `MAX_CAUSE_TEXT` characters.
    """

    initiator: str
    reason: Reason
    sip_status: int | None = None
    q850: int | None = None
    text: str | None = None


def reason_of_status(status: int) -> Reason:
    """Return the reason for an INVITE's final response of 300 or more."""
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status < 400:
        return Reason.REDIRECTED
    return Reason.CARRIER_UNAVAILABLE if 500 <= status < 600 else Reason.REJECTED


def cause_of_status(status: int, q850: int | None = None) -> Cause:
    """Return the cause of a call that the far end refused with `status`.

    The callee is named when the status speaks for a person (busy, declined), the carrier otherwise.
    `q850` is the number of a Reason header (RFC 3326) when the response carried one.
    """
    reason = reason_of_status(status)
    person = reason in (Reason.BUSY, Reason.DECLINED)
    return Cause(
        initiator="callee" if person else "carrier",
        reason=reason,
        sip_status=status,
        q850=q850 if q850 is not None else REGISTRY[reason].q850,
    )


def outcome_of(cause: Cause, *, answered: bool) -> Outcome:
    """Return the outcome: an answered call is `completed`, else the registry decides."""
    return Outcome.COMPLETED if answered else REGISTRY[cause.reason].unanswered
