"""HTTP Basic, as Twilio's clients log in: an account's SID and a token, or a key's id and its token."""

import base64
import binascii

from starlette.exceptions import HTTPException
from starlette.requests import Request

from onhook.agents.twilio import account_sid
from onhook.api.auth import services_of
from onhook.api.request_ids import request_id_of
from onhook.api.routing import CheckedRoute
from onhook.api.services import Caller
from onhook.store.secrets import hash_token


class TwilioRoute(CheckedRoute):
    """A route that wants HTTP Basic in place of a bearer token."""

    async def caller_of(self, request: Request) -> Caller:
        """Return who asks, or raise the HTTP error 401. Any key of the environment will do."""
        services = services_of(request)
        user, password = _credentials(request)
        key = await services.store.key_by_hash(hash_token(password))
        if key is None or key.revoked_at is not None or user not in {account_sid(key.environment_id), key.id}:
            raise HTTPException(401)
        return Caller(services, key, request_id_of(request))


def _credentials(request: Request) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise HTTPException(401) from error
    if scheme.lower() != "basic" or not colon:
        raise HTTPException(401)
    return user, password
