"""One call for one wish: by the client's `idempotency_key`, and by what an SDK says of its own retries.

Retell's SDKs send a request again when its answer is lost, without any key; only the header
`x-stainless-retry-count` tells. So each first attempt of an SDK is remembered by its body, and a retry of the same
body by the same API key means the same call. What is remembered is the id that the call gets; it is written before
the call is, so neither a race nor a crash in between makes two.
"""

import hashlib

from pydantic import BaseModel

from onhook.api.anunzi.errors import failure
from onhook.api.routing import CallerRequest
from onhook.store.idempotency import OnceRequest

KEY_MS = 3_600_000
"""How long an `idempotency_key` is valid."""
RETRY_MS = 600_000
"""How long after its first attempt a retry of an SDK may come: it gives each attempt two minutes at most."""
RETRY_COUNT = "x-stainless-retry-count"


async def nonce_of(request: CallerRequest, body: BaseModel, idempotency_key: str | None = None) -> str:
    """Return what the ids of what a request creates are made from: the same for requests that mean the same.

    Raises the error 400 when the key was used with another body.
    """
    fingerprint = hashlib.sha256(f"{request.url.path}\n{body.model_dump_json()}".encode()).hexdigest()
    if idempotency_key is not None:
        return await _remembered(request, f"key:{idempotency_key}", fingerprint, KEY_MS)
    attempt = request.headers.get(RETRY_COUNT)
    if attempt is None:
        return request.nonce
    return await _remembered(request, f"body:{fingerprint}", fingerprint, RETRY_MS, afresh=attempt == "0")


async def forget_key(request: CallerRequest, idempotency_key: str | None) -> None:
    """Free the key of a request that was refused: a corrected one may use it."""
    if idempotency_key is not None:
        await request.caller.store.forget_once(_scope(request), f"key:{idempotency_key}")


async def _remembered(
    request: CallerRequest, name: str, fingerprint: str, valid_ms: int, *, afresh: bool = False
) -> str:
    now = request.caller.now_ms()
    wish = OnceRequest(_scope(request), name, fingerprint, request.nonce, now, now + valid_ms)
    begun = await request.caller.store.begin_once(wish, stale_before=now, afresh=afresh)
    if begun.request.fingerprint != fingerprint:
        raise failure(400, "This idempotency_key was used with another request.")
    return begun.request.nonce


def _scope(request: CallerRequest) -> str:
    return f"anunzi:{request.caller.key.id}"
