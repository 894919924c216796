"""From a body to a signed request."""

import functools
from collections.abc import Callable

from onhook.calls.call import Dialect
from onhook.clock import Clock
from onhook.store.outbox import WebhookEndpoint
from onhook.store.store import ApiKey, Store
from onhook.webhooks.signatures import body_signature, retell_signature, standard_headers
from onhook.webhooks.transport import Request

USER_AGENT = "onhook"
SECRETS_KEPT = 256
"""Decrypted secrets kept at hand, each for as long as others are not used more."""
RESERVED = frozenset({"host", "content-length", "connection", "transfer-encoding"})
"""Headers that belong to the connection. An endpoint's own replace neither these nor ours."""


class RequestMaker:
    """Adds headers and signatures.

    `decrypt` returns a stored secret, and raises `SecretError`. `talkover_header` is the name of the header with
    the signature for TalkOver's endpoints, which TalkOver does not publish.
    """

    def __init__(self, store: Store, decrypt: Callable[[str], str], clock: Clock, talkover_header: str) -> None:
        self._store = store
        self._decrypt = functools.lru_cache(SECRETS_KEPT)(decrypt)
        self._clock = clock
        self._talkover_header = talkover_header

    async def make(self, endpoint: WebhookEndpoint, delivery_id: str, body: bytes) -> Request:
        """Return the request that takes `body` to an endpoint. Raises `SecretError`, `StoreError`."""
        ours = {"content-type": "application/json", "user-agent": USER_AGENT}
        ours |= await self._signatures(endpoint, delivery_id, body)
        taken = RESERVED | {name.lower() for name in ours}
        own = {name: value for name, value in endpoint.headers.items() if name.lower() not in taken}
        return Request(endpoint.http_method, endpoint.url, own | ours, body, endpoint.timeout_s)

    async def _signatures(self, endpoint: WebhookEndpoint, delivery_id: str, body: bytes) -> dict[str, str]:
        now = self._clock.now_ms()
        secrets = self._secrets(endpoint, now)
        headers = standard_headers(delivery_id, now // 1000, body, secrets)
        if endpoint.dialect is Dialect.TALKOVER and secrets:
            headers[self._talkover_header] = body_signature(secrets[0], body)
        if endpoint.dialect is Dialect.ANUNZI:
            key = await self._signing_key(endpoint.environment_id)
            if key is not None:
                headers["x-retell-signature"] = retell_signature(key, now, body)
        return headers

    def _secrets(self, endpoint: WebhookEndpoint, now: int) -> list[str]:
        """Return the secrets that sign now, the current one first."""
        stored = [endpoint.secret]
        if endpoint.previous_secret_until is not None and now < endpoint.previous_secret_until:
            stored.append(endpoint.previous_secret)
        return [self._decrypt(one) for one in stored if one is not None]

    async def _signing_key(self, environment_id: str) -> str | None:
        """Return the newest API key that is marked for signing."""
        keys = await self._store.find(ApiKey, environment_id)
        return next((self._decrypt(key.secret) for key in keys if key.secret and key.revoked_at is None), None)
