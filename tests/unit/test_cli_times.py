"""Spans and moments on the command line."""

import pytest
import typer

from onhook.cli.times import moment_or_span, span

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("5s", 5000),
        ("5", 5000),
        ("0.1", 100),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
    ],
)
def test_a_span_is_read(text: str, ms: int) -> None:
    assert span(text) == ms


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 s", "5w", "1e3s", "5s5", "m5", "1.2.3"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        span(text)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("+5m", {"after_ms": 300_000}),
        ("2026-11-20T15:00:00Z", {"at": "2026-11-20T15:00:00.000Z"}),
        ("2026-11-20 15:00:00.5+01:00", {"at": "2026-11-20T14:00:00.500Z"}),
    ],
)
def test_a_moment_is_read_as_the_api_has_it(text: str, when: dict[str, object]) -> None:
    assert moment_or_span(text) == when


@pytest.mark.parametrize(
    "text", ["5m", "+", "+5x", "noon", "2026-11-20", "2026-11-20T15:00:00", "0001-01-01T00:00:00+23:00"]
)
def test_what_is_no_moment_or_could_be_two_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment_or_span(text)
