"""`onhook events`: the log of all calls, as it is written."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from onhook.calls.call import EventType
from onhook.cli.common import ConfigOption, DataOption, JsonOption, NumbersOption
from onhook.cli.remote import PATIENCE_S, RETRY_S, Remote, TokenOption, UnreachableError, UrlOption
from onhook.cli.show import event_line

app = typer.Typer(help="What happens to calls, as it happens.", no_args_is_help=True)

SSE = "text/event-stream"
SILENCE_S = 45.0
"""How long a stream may be silent: three of its heartbeats."""


def event_type(text: str) -> str:
    """Return the name of a type of events; one that there is not is a usage error."""
    if text not in list(EventType):
        raise typer.BadParameter(f"{text!r} is no type of events, as call.ended is one")
    return text


@app.command("tail")
def tail(
    call: str | None = typer.Option(None, "--call", help="Only events of this call."),
    types: list[str] | None = typer.Option(
        None, "--type", parser=event_type, help="Only events of this type, such as call.ended. May be repeated."
    ),
    start: int | None = typer.Option(
        None, "--from", min=1, help="Begin with this place in the log of all calls; 1 is the first. Default: its end."
    ),
    until: str | None = typer.Option(
        None, "--until", parser=event_type, help="Leave after the first event of this type."
    ),
    numbers: bool = NumbersOption,
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """Print events as they are committed, each with its place in the log, until Ctrl-C.

    A connection that breaks, or a server that is started again, is followed from the place that was reached. With
    --json a line of JSON for each event.
    """
    query: dict[str, Any] = {"call_id": call, "type": types}
    with Remote(url, token, data, config) as server:
        for event in _events(server, query, None if start is None else start - 1):
            typer.echo(json.dumps(event) if as_json else event_line(event, numbers=numbers))
            if event["type"] == until:
                return


def _events(server: Remote, query: dict[str, Any], place: int | None) -> Iterator[dict[str, Any]]:
    """Yield the events after a place, over connections that break. Raises `RemoteError`."""
    reached_at: float | None = None
    away = False
    while True:
        try:
            for seen, event in _stream(server, query, place):
                place, reached_at, away = seen if seen is not None else place, time.monotonic(), False
                if event is not None:
                    yield event
        except UnreachableError as error:
            if reached_at is None or time.monotonic() - reached_at > SILENCE_S + PATIENCE_S:
                raise
            if not away:
                typer.echo(f"onhook: {error}; trying again", err=True)
            away = True
        time.sleep(RETRY_S)


def _stream(
    server: Remote, query: dict[str, Any], place: int | None
) -> Iterator[tuple[int | None, dict[str, Any] | None]]:
    """Yield what one stream says: a place in the log, and the event that is there.

    A heartbeat has no event, the greeting no place either. What is broken off before its empty line is not taken.
    """
    given = {name: value for name, value in (query | {"after": place}).items() if value is not None}
    seen, event = None, None
    for line in server.lines("GET", "/v1/events", SSE, SILENCE_S, params=given):
        field, _, value = line.partition(b": ")
        if field == b"id":
            seen = int(value)
        elif field == b"data":
            event = json.loads(value)
        elif not line:
            yield seen, event
            seen, event = None, None
