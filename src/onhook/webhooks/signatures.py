"""How deliveries are signed, so that a receiver can tell ours from anybody's.

Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`, several signatures
while a secret is being replaced. Beside it, each dialect's own header: Retell's `x-retell-signature`, and for TalkOver
the HMAC-SHA256 of the body in hexadecimal.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable

SECRET_PREFIX = "whsec_"  # noqa: S105 (a prefix)


def new_webhook_secret() -> str:
    """Return a new secret: `whsec_` and 24 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def key_of(secret: str) -> bytes:
    """Return the bytes that a secret signs with: what is encoded after `whsec_`, else the text itself."""
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


def standard_headers(delivery_id: str, timestamp_s: int, body: bytes, webhook_secrets: Iterable[str]) -> dict[str, str]:
    """Return the headers of Standard Webhooks; without a secret there is no signature."""
    signed = f"{delivery_id}.{timestamp_s}.".encode() + body
    signatures = [_standard_signature(key_of(secret), signed) for secret in webhook_secrets]
    headers = {"webhook-id": delivery_id, "webhook-timestamp": str(timestamp_s)}
    return headers | {"webhook-signature": " ".join(signatures)} if signatures else headers


def retell_signature(api_key: str, timestamp_ms: int, body: bytes) -> str:
    """Return the value of `x-retell-signature`: `v=<ms>,d=<hex>` over the body followed by the time."""
    digest = hmac.digest(api_key.encode(), body + str(timestamp_ms).encode(), hashlib.sha256)
    return f"v={timestamp_ms},d={digest.hex()}"


def body_signature(secret: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of the body, keyed by the secret as it is written, in lower-case hexadecimal."""
    return hmac.digest(secret.encode(), body, hashlib.sha256).hex()


def _standard_signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
