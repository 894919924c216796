"""`onhook calls`: list, show and stop calls of a running server, over its own API."""

import os
from pathlib import Path
from typing import Any

import httpx
import typer

from onhook.cli.common import ConfigOption, DataOption, fail, settings_or_exit
from onhook.cli.show import call_line, timeline_lines
from onhook.provision import read_sandbox

app = typer.Typer(help="Calls of a running server.", no_args_is_help=True)

UrlOption = typer.Option(None, "--url", envvar="ONHOOK_URL", help="Base URL of the server.")
TokenOption = typer.Option(None, "--token", envvar="ONHOOK_TOKEN", help="API key; the sandbox's if there is one.")


@app.command("list")
def list_calls(
    live: bool = typer.Option(False, "--live", help="Only calls that are not ended."),
    limit: int = typer.Option(50, min=1, max=200),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """List calls, newest first."""
    query: dict[str, str | int] = {"limit": limit} | ({"live": "true"} if live else {})
    with _client(url, token, data, config) as client:
        for call in _json(client.get("/v1/calls", params=query))["items"]:
            typer.echo(call_line(call))


@app.command("show")
def show(
    call_id: str,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """Show one call: its end, its proof, its timeline."""
    with _client(url, token, data, config) as client:
        call = _json(client.get(f"/v1/calls/{call_id}"))
        timeline = _json(client.get(f"/v1/calls/{call_id}/timeline"))
    typer.echo(call_line(call))
    for line in timeline_lines(call, timeline):
        typer.echo(line)


@app.command("stop")
def stop(
    call_id: str,
    wait: float = typer.Option(1.0, "--wait", min=0, max=30, help="Seconds to wait for the proof."),
    reason: str | None = typer.Option(None, help="Why; kept with the call."),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """End one call, whatever state it is in. Exit code 0: confirmed or over already, 3: not confirmed yet."""
    body: dict[str, Any] = {"wait_ms": round(wait * 1000)} | ({"reason": reason} if reason else {})
    with _client(url, token, data, config) as client:
        answer = _json(client.post(f"/v1/calls/{call_id}/stop", json=body))
    result = answer["stop"]["result"]
    typer.echo(f"{answer['call_id']}  {answer['state']}  {answer['outcome']}  {result}")
    if result not in ("confirmed", "already_ended"):
        raise typer.Exit(3)


def _client(url: str | None, token: str | None, data: Path | None, config: Path | None) -> httpx.Client:
    """Return a client for the server: as told, else the sandbox of the data directory, else the defaults."""
    settings = settings_or_exit(config, data)
    sandbox = read_sandbox(settings.data_dir)
    base_url = url or (sandbox.base_url if sandbox else f"http://{settings.http_bind}")
    token = token or os.environ.get("ONHOOK_TOKEN") or (sandbox.token if sandbox else None)
    if token is None:
        fail("no API key: give --token or ONHOOK_TOKEN (`onhook keys create` makes one)")
    return httpx.Client(base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def _json(response: httpx.Response) -> dict[str, Any]:
    body = response.json() if response.content else {}
    if response.is_error:
        fail(f"{response.status_code} {body.get('detail') or body.get('title') or response.reason_phrase}")
    answer: dict[str, Any] = body
    return answer
