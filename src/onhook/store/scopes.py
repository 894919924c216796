"""What an API key may do."""

from enum import StrEnum

from onhook.store.store import ApiKey


class Scope(StrEnum):
    """One permission. None includes another."""

    CALLS_READ = "calls:read"
    CALLS_CREATE = "calls:create"
    CALLS_STOP = "calls:stop"
    CALLS_STOP_BULK = "calls:stop:bulk"
    ADMIN = "admin"


def scopes_of(key: ApiKey) -> tuple[Scope, ...]:
    """Return what a key may do; one that names nothing may do everything."""
    return tuple(Scope(name) for name in key.scopes) or tuple(Scope)


def allows(key: ApiKey, scope: Scope) -> bool:
    """Say whether a key may do something. Runs for every request."""
    return not key.scopes or scope in key.scopes
