"""The memory of requests of the `MemoryStore`."""

import msgspec

from onhook.store import rules
from onhook.store.idempotency import Begun, OnceRequest


class MemoryOnce:
    """Requests by scope and key."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str], OnceRequest] = {}

    def begin(self, request: OnceRequest, stale_before: int, *, afresh: bool) -> Begun:
        """Enter a request, or return the one that stands."""
        name = request.scope, request.key
        begun = rules.begun(None if afresh else self._requests.get(name), request, stale_before)
        self._requests[name] = begun.request
        return begun

    def finish(self, scope: str, key: str, status: int, answer: str) -> None:
        """Enter the answer of a request."""
        held = self._requests.get((scope, key))
        if held is not None:
            self._requests[scope, key] = msgspec.structs.replace(held, status=status, answer=answer)

    def forget(self, scope: str, key: str) -> None:
        """Free a key."""
        self._requests.pop((scope, key), None)
