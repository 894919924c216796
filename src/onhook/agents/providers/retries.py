"""Which failures of a provider are worth one more try, and how soon.

Only what failed before the first byte of an answer is tried again, and only once: a caller waits for it. Nothing here
waits by itself, so a limit or the end of the call that cuts the wait cuts the retry.
"""

PAUSE_S = 0.25
"""How long a provider gets to recover that does not say how long it needs."""
LONGEST_PAUSE_S = 2.0
"""What a caller can be asked to wait at most."""
THROTTLED = 429
PASSING = frozenset({500, 502, 503, 504})
"""HTTP statuses (RFC 9110 section 15.6) of troubles that may be over soon."""


def pause_after(status: int, retry_after: str | None) -> float | None:
    """Return in how many seconds a request that was answered with `status` may be tried again, None when it may not.

    `retry_after` is the answer's `Retry-After` (RFC 9110 section 10.2.3) in seconds; a date is too far away. Who is
    throttled without being told for how long is not to come back.
    """
    if retry_after is None:
        return PAUSE_S if status in PASSING else None
    if status != THROTTLED and status not in PASSING:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        return None
    return max(seconds, PAUSE_S) if 0 <= seconds <= LONGEST_PAUSE_S else None
