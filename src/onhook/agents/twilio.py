"""Twilio's names for our objects, and its signature: what a bot made for Twilio expects to find.

A SID is two letters and 32 hexadecimal digits. Ours are made from our own ids and nothing is stored for them.
"""

import base64
import hashlib
import hmac
import re
import secrets

_CALL_ID = re.compile(r"call_([0-9a-f]{27})")
_UUID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})")
_CALL_SID = re.compile(r"CA([0-9a-f]{32})")
_PADDING = "00000"
"""Makes the 27 digits of one shape of our ids as long as the 32 of the other."""


def account_sid(environment_id: str) -> str:
    """Return the SID of an environment: the first 128 bits of its id's SHA-256."""
    return "AC" + hashlib.sha256(environment_id.encode()).hexdigest()[:32]


def new_stream_sid() -> str:
    """Return the SID of one connection to a bot."""
    return "MZ" + secrets.token_hex(16)


def call_sid(call_id: str) -> str:
    """Return the SID of a call; an id of neither of our shapes stays as it is."""
    if (match := _CALL_ID.fullmatch(call_id)) is not None:
        return f"CA{match[1]}{_PADDING}"
    return "CA" + call_id.replace("-", "") if _UUID.fullmatch(call_id) else call_id


def call_ids(sid: str) -> tuple[str, ...]:
    """Return which calls `sid` may mean: a SID of ours, or a call's own id as it is."""
    match = _CALL_SID.fullmatch(sid)
    if match is None:
        return (sid,)
    digits = match[1]
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return (f"call_{digits[:27]}", uuid) if digits.endswith(_PADDING) else (uuid,)


def websocket_signature(auth_token: str, url: str) -> str:
    """Return the `X-Twilio-Signature` of a connection: base64 of the HMAC-SHA1 of its URL, `wss://` and all.

    SHA-1 is Twilio's choice; as a keyed hash it is sound.
    """
    return base64.b64encode(hmac.digest(auth_token.encode(), url.encode(), "sha1")).decode()
