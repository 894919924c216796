"""The port to the memory of requests: a client that asks twice under one key is served once.

A request is entered before it is carried out, with a `nonce` from which the ids of all it creates are made, and
its answer is entered afterwards. When the process dies in between, whoever takes the request up again gets the
same nonce and so the same ids: what had been created is found, not created twice.
"""

from typing import Protocol

import msgspec


class OnceRequest(msgspec.Struct, frozen=True):
    """A request under its key. `fingerprint` tells other requests under the same key apart.

    `scope` is whose key it is. `status` and `answer` are None until it was answered; `answer` is encrypted. Times
    are ms; from `expires_at` on the key is free again.
    """

    scope: str
    key: str
    fingerprint: str
    nonce: str
    begun_at: int
    expires_at: int
    status: int | None = None
    answer: str | None = None


class Begun(msgspec.Struct, frozen=True):
    """What is entered under the key now; `mine` is True for the one who is to carry the request out."""

    request: OnceRequest
    mine: bool


class OnceRequests(Protocol):
    """Errors are `StoreError`, as for every store."""

    async def begin_once(self, request: OnceRequest, *, stale_before: int, afresh: bool = False) -> Begun:
        """Enter a request, unless one stands under its scope and key.

        One of the same fingerprint that has no answer and was begun at `stale_before` or earlier is taken up again
        under its nonce. `afresh` replaces what stands. Forgets some expired requests.
        """
        ...

    async def finish_once(self, scope: str, key: str, status: int, answer: str) -> None:
        """Enter the answer of a request."""
        ...

    async def forget_once(self, scope: str, key: str) -> None:
        """Free a key whose request did nothing."""
        ...
