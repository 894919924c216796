"""Who calls whom: what the INVITE of a far end says, as a person reads it."""

from urllib.parse import unquote

import phonenumbers

from onhook.lines.sip.invite import ENGINE_HEADERS
from onhook.lines.sip.message import Request, from_wire, uri_of

MAX_CHARS = 128
"""Longer user parts are cut."""

_SEPARATORS = str.maketrans("", "", "-.()")
"""What may stand between digits for the eye (RFC 3966 section 5.1.1). `%20` is met, too."""


def called_number(invite: Request) -> str:
    """Return whom the caller wants: the user of the Request-URI, else of To."""
    return number_of(invite.uri) or number_of(uri_of(invite.first("To") or "") or "")


def calling_number(invite: Request) -> str:
    """Return who calls: what the network asserts (RFC 3325), else what the caller says of itself in From.

    A caller that asked the network not to tell (RFC 3323) is not told.
    """
    is_private = "id" in (invite.first("Privacy") or "").replace(" ", "").lower().split(";")
    asserted = [] if is_private else invite.all("P-Asserted-Identity")
    parties = [*asserted, invite.first("From") or ""]
    return next((number for party in parties if (number := number_of(uri_of(party) or ""))), "")


def number_of(uri: str) -> str:
    """Return the number in a `sip` or `tel` URI as E.164 where it can be read so, else the user part as it stands.

    Digits without a plus are taken for E.164 only where they make a valid number; a national one may look like a
    foreign one, so what is not valid stays as it is.
    """
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "tel":
        user = rest
    else:
        user, at, _ = rest.partition("@")
        if not at:
            return ""
    bare, *parameters = user.split(";")
    context = next((text.partition("+")[2] for text in parameters if text.lower().startswith("phone-context=+")), "")
    return _e164(from_wire(unquote(bare.partition(":")[0], "latin-1"))[:MAX_CHARS], context)


def shown_headers(invite: Request) -> dict[str, str]:
    """Return the headers that are not the engine's own; lines of one name are joined by commas."""
    found: dict[str, str] = {}
    for name, value in invite.headers:
        if name.lower() not in ENGINE_HEADERS:
            text = from_wire(value)
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _e164(user: str, context: str) -> str:
    digits = user.translate(_SEPARATORS).replace(" ", "")
    if digits.startswith("+"):
        return digits if _is_number(digits[1:]) else user
    if not _is_number(digits):
        return user
    if context:
        return f"+{context}{digits}" if _is_number(context) else user
    full = f"+{digits.removeprefix('00')}"
    return full if _is_valid(full) else user


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_valid(number: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False
