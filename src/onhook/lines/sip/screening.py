"""What is checked of a far end's INVITE before anybody is told of it (RFC 3261 sections 8.2 and 13.3.1)."""

import msgspec

from onhook.calls.causes import Cause, Reason
from onhook.lines.sip.in_dialog import SUPPORTED_EXTENSIONS
from onhook.lines.sip.message import Header, Request
from onhook.lines.sip.refresh import DEFAULT_INTERVAL_S
from onhook.lines.sip.sdp import SdpError, parse
from onhook.lines.sip.session_timer import RefreshAnswer, on_refresh

RETRY_AFTER_S = 10
"""When a caller that we have no room for may try again."""

DECLINING = frozenset({Reason.AGENT_HANGUP, Reason.DECLINED})
SCHEMES = ("sip:", "tel:")


class Refusal(msgspec.Struct, frozen=True):
    """A final response of 300 or more."""

    status: int
    headers: tuple[Header, ...] = ()


NO_ROOM = Refusal(503, (("Retry-After", str(RETRY_AFTER_S)),))


def refusal_of(invite: Request) -> Refusal | None:
    """Return how an INVITE outside any dialog must be refused; None when it may be answered."""
    unknown = invite.tokens("Require") - SUPPORTED_EXTENSIONS
    if not invite.uri.lower().startswith(SCHEMES):
        return Refusal(416)
    if unknown:
        return Refusal(420, (("Unsupported", ", ".join(sorted(unknown))),))
    if invite.contact_uri is None or not invite.from_tag:
        return Refusal(400)
    if not _is_readable(invite):
        return Refusal(415, (("Accept", "application/sdp"), ("Accept-Encoding", "identity")))
    session = session_of(invite, DEFAULT_INTERVAL_S)
    if session.status != 200:
        return Refusal(session.status, session.headers)
    try:
        if invite.body:
            parse(invite.body)
    except SdpError:
        return Refusal(488)
    return None


def session_of(invite: Request, interval_s: int) -> RefreshAnswer:
    """Decide on the session timer (RFC 4028 section 9); with an `interval_s` of 0 only a caller that asks gets one."""
    asked = invite.first("Session-Expires")
    return on_refresh(
        asked,
        min_se=invite.first("Min-SE"),
        supported="timer" in invite.tokens("Supported") and (asked is not None or interval_s > 0),
        allow=invite.raw("Allow"),
        interval_s=interval_s,
    )


def status_of_refusal(cause: Cause) -> int:
    """Return what a caller is told who is not answered: nobody wants this call (603), or not now (480)."""
    return 603 if cause.reason in DECLINING else 480


def _is_readable(invite: Request) -> bool:
    coding = (invite.first("Content-Encoding") or "identity").strip().lower()
    return not invite.body or (invite.is_sdp and coding == "identity")
