"""`Idempotency-Key`: a create that is sent twice is carried out once, and answered twice.

The answer to a create (201) is kept for a day, encrypted, for it may hold a secret. A request that was refused is
forgotten: the corrected one may use the key. One that was cut off (a crash, a full disk) is carried out again under
the same `nonce`, so what it had created already is found under its id, not created twice.
"""

import hashlib
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from onhook.api.errors import ApiError
from onhook.api.native.errors import problem
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.store.idempotency import Begun, OnceRequest

KEEP_MS = 86_400_000
LEASE_MS = 10_000
"""How long a request without an answer is taken to be under way."""
KEY_HEADER = "idempotency-key"
REPLAYED = {"Idempotent-Replayed": "true"}
"""Says that nothing was done again."""
KEY = re.compile(r"[\x21-\x7e]{1,255}")
REFUSALS = (ApiError, HTTPException, RequestValidationError)
"""What a request ends with that did nothing."""

Handle = Callable[[Request], Coroutine[Any, Any, Response]]


class OnceRoute(CheckedRoute):
    """A route whose creates, those that answer 201, honour the header `Idempotency-Key`."""

    async def answer(self, handle: Handle, request: CallerRequest) -> Response:
        """Answer a request, or repeat the answer that it had."""
        if self.status_code != 201 or KEY_HEADER not in request.headers:
            return await handle(request)
        begun = await _begun(request)
        if not begun.mine:
            return _repeated(request, begun.request)
        response = await _carried_out(handle, request)
        sealed = request.caller.services.secrets.encrypt(bytes(response.body).decode())
        await request.caller.store.finish_once(begun.request.scope, begun.request.key, response.status_code, sealed)
        return response


class SameRoute(CheckedRoute):
    """A route whose POST honours the header `Idempotency-Key` by the ids of what it makes.

    A request that is sent again finds what the first has made, by an id of the same `nonce`, and is answered with how
    that stands now.
    """

    async def answer(self, handle: Handle, request: CallerRequest) -> Response:
        """Answer a request, as the one that it is."""
        if request.method != "POST" or KEY_HEADER not in request.headers:
            return await handle(request)
        own_nonce = request.nonce
        await _begun(request)
        response = await _carried_out(handle, request)
        if request.nonce != own_nonce:
            response.headers.update(REPLAYED)
        return response


async def _begun(request: CallerRequest) -> Begun:
    """Enter a request under its key; its nonce is that of the key's first request then. Raises the error 422."""
    key = request.headers[KEY_HEADER]
    if KEY.fullmatch(key) is None:
        raise problem(422, "Idempotency-Key must be 1 to 255 visible characters.", code="invalid_idempotency_key")
    now = request.caller.now_ms()
    wish = OnceRequest(_scope(request), key, await _fingerprint(request), request.nonce, now, now + KEEP_MS)
    begun = await request.caller.store.begin_once(wish, stale_before=now - LEASE_MS)
    if begun.request.fingerprint != wish.fingerprint:
        raise problem(422, "This Idempotency-Key was used with another request.", code="idempotency_key_reused")
    request.nonce = begun.request.nonce
    return begun


async def _carried_out(handle: Handle, request: CallerRequest) -> Response:
    """Carry a request out; one that is refused leaves its key free."""
    try:
        return await handle(request)
    except REFUSALS:
        await request.caller.store.forget_once(_scope(request), request.headers[KEY_HEADER])
        raise


def _repeated(request: CallerRequest, held: OnceRequest) -> Response:
    """Return the answer that the key's request had. Raises the error 409."""
    if held.status is None or held.answer is None:
        detail = "The first request with this Idempotency-Key is still under way."
        raise problem(409, detail, code="request_under_way").with_headers({"Retry-After": "1"})
    body = request.caller.services.secrets.decrypt(held.answer)
    return Response(body, held.status, REPLAYED, media_type="application/json")


async def _fingerprint(request: CallerRequest) -> str:
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode())
    digest.update(await request.body())
    return digest.hexdigest()


def _scope(request: CallerRequest) -> str:
    return f"native:{request.caller.environment_id}"
