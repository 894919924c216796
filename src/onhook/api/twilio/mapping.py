"""From the domain to Twilio's call resource."""

from email.utils import formatdate

from onhook.agents.twilio import account_sid, call_sid
from onhook.api.twilio.schemas import CallResource, Status
from onhook.calls.call import Call, Direction
from onhook.calls.causes import Outcome
from onhook.calls.states import State

STATUS_BY_STATE: dict[State, Status] = {
    State.SCHEDULED: "queued",
    State.DIALING: "queued",
    State.RINGING: "ringing",
    State.ANSWERED: "in-progress",
}
STATUS_BY_OUTCOME: dict[Outcome, Status] = {
    Outcome.COMPLETED: "completed",
    Outcome.BUSY: "busy",
    Outcome.NO_ANSWER: "no-answer",
    Outcome.DECLINED: "no-answer",
    Outcome.CANCELED: "canceled",
    Outcome.FAILED: "failed",
}
"""A call that is over, `ending` included, by what became of it."""


def call_resource(call: Call) -> CallResource:
    """Return a call as Twilio shows it."""
    account, sid = account_sid(call.environment_id), call_sid(call.id)
    return CallResource(
        sid=sid,
        account_sid=account,
        from_=call.from_number,
        to=call.to_number,
        status=_status(call),
        direction="inbound" if call.direction is Direction.INBOUND else "outbound-api",
        date_created=_moment(call.created_at),
        date_updated=_moment(call.updated_at),
        start_time=_moment_or_none(call.answered_at),
        end_time=_moment_or_none(call.ended_at),
        duration=str(round(call.duration_ms / 1000)) if call.is_over else None,
        uri=f"/2010-04-01/Accounts/{account}/Calls/{sid}.json",
    )


def _status(call: Call) -> Status:
    return STATUS_BY_OUTCOME[call.outcome] if call.outcome is not None else STATUS_BY_STATE[call.state]


def _moment(ms: int) -> str:
    """Write a time as `Mon, 15 Jan 2024 10:30:00 +0000`, to the second below."""
    return formatdate(ms // 1000)


def _moment_or_none(ms: int | None) -> str | None:
    return None if ms is None else _moment(ms)
