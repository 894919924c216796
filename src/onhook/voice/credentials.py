"""What a bot is shown, so that it knows us, and what it hangs up with: a key of the call's own environment."""

from collections.abc import Callable

from onhook.agents.definition import DefinitionError
from onhook.agents.twilio import account_sid
from onhook.store.store import ApiKey, Store


async def signing_credentials(store: Store, decrypt: Callable[[str], str], environment_id: str) -> dict[str, str]:
    """Return `account_sid` and `auth_token` of an environment: its newest key that is kept to sign, not revoked.

    Raises `DefinitionError` when there is none, `StoreError`, or `SecretError` when the key cannot be decrypted.
    """
    for key in await store.find(ApiKey, environment_id):  # newest first
        if key.secret is not None and key.revoked_at is None:
            return {"account_sid": account_sid(environment_id), "auth_token": decrypt(key.secret)}
    raise DefinitionError(
        "url: connections to a bot are signed, and this environment has no key that signs;"
        " make one with `onhook keys create --signs`"
    )
