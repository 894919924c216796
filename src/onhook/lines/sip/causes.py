"""Why a leg ends when nobody asked for it, or why its INVITE never left."""

from onhook.calls.causes import Cause, Reason

NOT_SENT = Cause("system", Reason.TRANSPORT_FAILED, q850=38)
STOPPED_FIRST = Cause("system", Reason.API_STOP, q850=16)
HELD_BACK = Cause("system", Reason.DIAL_BLOCKED)
"""Why an INVITE may not leave. Where a stop was it, its cause is written already, and stays."""
NO_REPLY = Cause("carrier", Reason.NO_RESPONSE, q850=102)
OTHER_FORK_WON = Cause("system", Reason.HANGUP, q850=16)
NO_MEDIA = Cause("system", Reason.MEDIA_REJECTED, q850=88)
GAVE_UP = Cause("caller", Reason.CALLER_CANCELED, sip_status=487, q850=16)
