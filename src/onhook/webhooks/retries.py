"""What follows from an attempt: success, another attempt and when, or giving up."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from onhook.calls.call import Dialect
from onhook.store.outbox import Attempt, Claim, DeliveryState, EndpointStatus, Finished, attempt_id

NATIVE_DELAYS_S = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
"""Between the attempts of a native endpoint, about 27 h in all, each up to `JITTER` shorter or longer."""
NATIVE_RETRIES = len(NATIVE_DELAYS_S)
JITTER = 0.2
DIALECT_DELAYS_S = (5, 30, 120, 600, 1800, 3600)
"""Between the attempts of a dialect's endpoint; the last one repeats. Neither vendor publishes its own."""
RETRY_AFTER_MAX_S = 3600
GONE = 410
THROTTLED = (429, 503)


class Tried(msgspec.Struct, frozen=True):
    """One attempt: what was sent, when (ms), for how long, and the answer or the error."""

    body: bytes
    at: int
    duration_ms: int
    status: int | None = None
    headers: dict[str, str] = {}
    text: str = ""
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """True for any 2xx."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def fault(self) -> str | None:
        """What went wrong, in words."""
        if self.succeeded:
            return None
        return self.error or f"HTTP {self.status}"


def finished(claim: Claim, tried: Tried, now: int, random: Callable[[], float]) -> Finished:
    """Return what becomes of a delivery after an attempt. `random` returns numbers from 0 to 1."""
    made = claim.delivery.attempt + 1
    delay_s = None if tried.succeeded else retry_delay_s(claim, tried, now, random)
    state = DeliveryState.DUE if delay_s is not None else DeliveryState.DONE if tried.succeeded else DeliveryState.DEAD
    return Finished(
        delivery_id=claim.delivery.id,
        state=state,
        next_at=now + round((delay_s or 0) * 1000),
        attempt=_record(claim, tried, made, state),
        error=tried.fault,
        endpoint_status=_status(claim, tried, state),
    )


def retry_delay_s(claim: Claim, tried: Tried, now: int, random: Callable[[], float]) -> float | None:
    """Return how long to wait before the next attempt, None when there is none left.

    A receiver that asks for a pause (429 or 503 with Retry-After) gets it, up to an hour; one that is gone (410)
    is not asked again.
    """
    done = claim.delivery.attempt
    if done >= claim.endpoint.max_retries or tried.status == GONE:
        return None
    native = claim.endpoint.dialect is Dialect.NATIVE
    delays = NATIVE_DELAYS_S if native else DIALECT_DELAYS_S
    delay = float(delays[min(done, len(delays) - 1)])
    if native:
        delay *= 1 + JITTER * (2 * random() - 1)
    return max(delay, _retry_after_s(tried, now))


def _retry_after_s(tried: Tried, now: int) -> float:
    """Return the pause that an answer asks for, in seconds or as a date (RFC 9110 10.2.3); 0 for none."""
    value = next((value for name, value in tried.headers.items() if name.lower() == "retry-after"), None)
    if value is None or tried.status not in THROTTLED:
        return 0.0
    if value.isdecimal():
        asked = float(value)
    else:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return 0.0
        asked = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now / 1000
    return min(max(asked, 0.0), RETRY_AFTER_MAX_S)


def _record(claim: Claim, tried: Tried, made: int, state: DeliveryState) -> Attempt:
    delivery = claim.delivery
    return Attempt(
        id=attempt_id(delivery.id, made),
        delivery_id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        environment_id=delivery.environment_id,
        call_id=delivery.call_id,
        event=delivery.event,
        attempt=made,
        status="success" if tried.succeeded else "retrying" if state is DeliveryState.DUE else "failed",
        request_payload=tried.body.decode(),
        duration_ms=tried.duration_ms,
        created_at=tried.at,
        http_status=tried.status,
        response_body=None if tried.status is None else tried.text,
        response_headers=tried.headers,
        error=tried.fault,
    )


def _status(claim: Claim, tried: Tried, state: DeliveryState) -> EndpointStatus | None:
    """Return the status that the endpoint changes to, None to leave it."""
    if tried.status == GONE:
        return "disabled"
    if state is DeliveryState.DEAD:
        return "error"
    return "active" if tried.succeeded and claim.endpoint.status == "error" else None
