"""The Reason header of a CANCEL or BYE (RFC 3326): why, in a number and perhaps in words."""

import logging

from onhook.calls.causes import REGISTRY, Cause
from onhook.lines.sip.message import Header, quote, to_wire

log = logging.getLogger(__name__)

MAX_TEXT = 64

_SIP_CAUSE = {"CANCEL": 487, "BYE": 200}
"""Status codes for the free text. A CANCEL must not say 200: phones read that as answered elsewhere."""


def q850_header(cause: Cause) -> list[Header]:
    """Return the Q.850 number of a cause; it may stand in responses, too (RFC 6432)."""
    q850 = cause.q850 if cause.q850 is not None else REGISTRY[cause.reason].q850
    return [("Reason", f"Q.850;cause={q850}")] if q850 is not None else []


def reason_headers(cause: Cause, method: str, *, send_text: bool) -> list[Header]:
    """Return the Reason headers for `method`.

    The Q.850 number always goes; the actor's free text only with `send_text`, cut to 64 characters. Text with control
    characters is left out: a call is ended whatever its reason looks like.
    """
    headers = q850_header(cause)
    if send_text and cause.text:
        try:
            text = quote(to_wire(cause.text[:MAX_TEXT]))
        except ValueError:
            log.warning("the reason text of a %s has control characters and is not sent", method)
        else:
            headers.append(("Reason", f"SIP;cause={_SIP_CAUSE[method]};text={text}"))
    return headers
