"""`onhook calls`: list, show and stop calls of a running server, over its own API."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from onhook.calls.states import State
from onhook.cli.common import ConfigOption, DataOption
from onhook.cli.remote import Remote, RemoteError, TokenOption, UrlOption
from onhook.cli.show import call_line, timeline_lines

app = typer.Typer(help="Calls of a running server.", no_args_is_help=True)

NOT_ENDED = [state for state in State if state is not State.ENDED]
"""In the order in which a call passes through them, so that one that moves on while we look is not missed."""

PROOF_MISSING = 3
"""Exit code of a stop that the far end has not confirmed."""


@app.command("list")
def list_calls(
    live: bool = typer.Option(False, "--live", help="Only calls that have not ended."),
    ids: bool = typer.Option(False, "--ids", help="Print the ids alone, one on a line, for scripts."),
    limit: int = typer.Option(50, min=1, max=10_000, help="How many calls at most."),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """List calls, newest first."""
    with Remote(url, token, data, config) as server:
        calls = _live(server) if live else list(islice(_pages(server), limit))
    for call in calls[:limit]:
        typer.echo(call["call_id"] if ids else call_line(call))


@app.command("show")
def show(
    call_id: str = typer.Argument(help="The call's id."),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """Show one call: its end, its timeline, its proof."""
    path = f"/v1/calls/{quote(call_id, safe='')}"
    with Remote(url, token, data, config) as server:
        call = server.get(path)
        timeline = server.get(f"{path}/timeline")
    typer.echo(call_line(call))
    for line in timeline_lines(call, timeline):
        typer.echo(line)


@app.command("stop")
def stop(
    call_ids: list[str] = typer.Argument(help="The ids of the calls."),
    wait: float = typer.Option(1.0, "--wait", min=0, max=5, help="Seconds to wait for each proof."),
    reason: str | None = typer.Option(None, help="Why; kept with the call."),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """End calls, whatever state they are in.

    Exit code 0: all are confirmed, or were over already. 3: the far end of one has not confirmed yet. 1: one could
    not be stopped; the others were.
    """
    body: dict[str, Any] = {"wait_ms": round(wait * 1000)} | ({"reason": reason} if reason else {})
    with Remote(url, token, data, config) as server:
        codes = [_stop(server, call_id, body) for call_id in call_ids]
    for code in (1, PROOF_MISSING):
        if code in codes:
            raise typer.Exit(code)


def _stop(server: Remote, call_id: str, body: dict[str, Any]) -> int:
    """End one call and print how it went; return the exit code that this would be."""
    try:
        answer = server.post(f"/v1/calls/{quote(call_id, safe='')}/stop", body)
    except RemoteError as error:
        typer.echo(f"onhook: {call_id}: {error}", err=True)
        return 1
    result = answer["stop"]["result"]
    typer.echo(f"{call_id}  {answer['state']}  {answer['outcome']}  {result}")
    return 0 if result in ("confirmed", "already_ended") else PROOF_MISSING


def _live(server: Remote) -> list[dict[str, Any]]:
    """Return the calls that have not ended, newest first."""
    found = {call["call_id"]: call for state in NOT_ENDED for call in _pages(server, state=state.value)}
    return sorted(found.values(), key=lambda call: str(call["created_at"]), reverse=True)


def _pages(server: Remote, **query: str) -> Iterator[dict[str, Any]]:
    """Yield the calls of all pages."""
    page = server.get("/v1/calls", limit=200, **query)
    yield from page["items"]
    while page["next"]:
        page = server.get("/v1/calls", limit=200, cursor=page["next"], **query)
        yield from page["items"]
