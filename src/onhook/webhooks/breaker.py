"""Circuit breakers: an endpoint that fails again and again is left alone for a while, then tried with one delivery."""

import msgspec

FAILURES = 5
"""Failures in a row that open a breaker."""
OPEN_S = 30.0
OPEN_MAX_S = 600.0


class _Breaker(msgspec.Struct):
    failures: int = 0
    open_s: float = 0.0
    until: float = 0.0


class Breakers:
    """One breaker for each endpoint that failed last; a success forgets it. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._breakers: dict[str, _Breaker] = {}

    def succeeded(self, endpoint_id: str) -> None:
        """Close an endpoint's breaker."""
        self._breakers.pop(endpoint_id, None)

    def failed(self, endpoint_id: str, now: float) -> None:
        """Count a failure; open the breaker, each time for longer. While it is open failures count no more."""
        breaker = self._breakers.setdefault(endpoint_id, _Breaker())
        if now < breaker.until:
            return
        breaker.failures += 1
        if breaker.failures >= FAILURES:
            breaker.open_s = min(max(OPEN_S, breaker.open_s * 2), OPEN_MAX_S)
            breaker.until = now + breaker.open_s

    def room(self, endpoint_id: str, cap: int, now: float) -> int:
        """Return how many deliveries an endpoint may have under way: none, one on trial, or `cap`."""
        breaker = self._breakers.get(endpoint_id)
        if breaker is None or breaker.failures < FAILURES:
            return cap
        return 0 if now < breaker.until else 1

    def known(self) -> tuple[str, ...]:
        """Return the endpoints that failed last."""
        return tuple(self._breakers)
