"""Bearer tokens: who is calling. A token of either shape (`talq_...`, `key_...`) works on every endpoint."""

from starlette.exceptions import HTTPException
from starlette.requests import Request

from onhook.api.services import Caller, Services
from onhook.store.secrets import hash_token, same_token


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
    digest = hash_token(token.strip())
    key = await services.store.key_by_hash(digest)
    if key is None or not same_token(key.token_sha256, digest) or key.revoked_at is not None:
        raise HTTPException(401)
    return Caller(services, key)
