"""Times as text, UTC. Inside onhook a time is an int: ms since the epoch."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_seconds(ms: int) -> str:
    """Write a time as `2024-01-15T10:30:00Z`."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_ms(ms: int) -> str:
    """Write a time as `2024-01-15T10:30:00.123Z`."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{ms % 1000:03d}Z"


def iso_ms_or_none(ms: int | None) -> str | None:
    """Write a time that may not have come yet."""
    return None if ms is None else iso_ms(ms)


def iso_microseconds(ms: int) -> str:
    """Write a time as `2024-01-15T10:30:00.123000Z`."""
    return f"{iso_ms(ms)[:-1]}000Z"


def ms_of(moment: datetime) -> int:
    """Return the time (ms since the epoch) of a moment that has a time zone."""
    return (moment - EPOCH) // timedelta(milliseconds=1)
