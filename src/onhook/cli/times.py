"""Spans and moments as people write them on the command line."""

import re
from datetime import UTC, datetime

import typer

UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
NUMBER = r"[0-9]+(?:\.[0-9]+)?"
PART = re.compile(f"({NUMBER})(ms|s|m|h|d)")


def span(text: str) -> int:
    """Return a span in ms: `500ms`, `5s`, `1h30m`; a bare number counts seconds. A bad one is a usage error."""
    written = f"{text}s" if re.fullmatch(NUMBER, text) else text
    if re.fullmatch(f"(?:{PART.pattern})+", written) is None:
        raise typer.BadParameter(f"{text!r} is no span of time: write 500ms, 5s, 10m, 1h30m")
    return round(sum(float(number) * UNIT_MS[unit] for number, unit in PART.findall(written)))


def moment_or_span(text: str) -> dict[str, str | int]:
    """Return when something is to happen, as our own API has it: `after_ms` of `+5m`, `at` of an ISO 8601 moment.

    A moment without a time zone could mean two things, and is a usage error as well.
    """
    if text.startswith("+"):
        return {"after_ms": span(text[1:])}
    try:
        at = datetime.fromisoformat(text)
        utc = at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is no moment: write +5m, or 2026-11-20T15:00:00Z") from error
    if at.tzinfo is None:
        raise typer.BadParameter(f"{text} needs a time zone: write {text}Z for UTC, or {text}+01:00")
    return {"at": utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
