"""Twilio's call resource, as far as we know what it asks."""

from typing import Literal

from pydantic import Field

from onhook.api.schema import Schema

Status = Literal["queued", "ringing", "in-progress", "completed", "busy", "no-answer", "canceled", "failed"]


class CallResource(Schema):
    """A call. Times are RFC 2822, UTC; `duration` is seconds as text, null until the call is over."""

    sid: str
    account_sid: str
    api_version: Literal["2010-04-01"] = "2010-04-01"
    from_: str = Field(serialization_alias="from")
    to: str
    status: Status
    direction: Literal["inbound", "outbound-api"]
    date_created: str
    date_updated: str
    start_time: str | None
    end_time: str | None
    duration: str | None
    uri: str
