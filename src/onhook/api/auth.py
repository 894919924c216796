"""Bearer tokens: who is calling. A token of either shape (`talq_...`, `key_...`) works on every endpoint."""

from starlette.exceptions import HTTPException
from starlette.requests import Request

from onhook.api.request_ids import request_id_of
from onhook.api.services import Caller, Services
from onhook.store.secrets import hash_token


def services_of(request: Request) -> Services:
    """Return the services of the application that serves `request`."""
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the application has no services")
    return services


async def authenticate(request: Request) -> Caller:
    """Return the caller that the Authorization header names, or raise the HTTP error 401.

    Raises `StoreError` when the keys cannot be read.
    """
    services = services_of(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401)
    # The look-up is by hash, so its time tells nothing about any token.
    key = await services.store.key_by_hash(hash_token(token.strip()))
    if key is None or key.revoked_at is not None:
        raise HTTPException(401)
    return Caller(services, key, request_id_of(request))
