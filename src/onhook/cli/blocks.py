"""`onhook dial-blocks`: what no call may be dialled for until somebody releases it."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from onhook.cli.common import ConfigOption, DataOption, JsonOption, NumbersOption, print_json
from onhook.cli.remote import Remote, TokenOption, UrlOption
from onhook.cli.selection import AgentsOption, AllOption, MetadataOption, PrefixesOption, TrunksOption, selector
from onhook.cli.show import selector_words

app = typer.Typer(help="Blocks that keep calls from being dialled.", no_args_is_help=True)


@app.command("list")
def list_blocks(
    numbers: bool = NumbersOption,
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """List the dial blocks that stand, newest first."""
    with Remote(url, token, data, config) as server:
        found = server.get("/v1/dial-blocks")
    if as_json:
        print_json(found)
        return
    for block in found["items"]:
        meant = selector_words(block["selector"], numbers=numbers)
        why = f"  {block['reason']}" if block["reason"] else ""
        typer.echo(f"{block['created_at']}  {block['id']}  by {block['created_by']}  {meant}{why}")


@app.command("add")
def add_block(
    agents: list[str] | None = AgentsOption,
    trunks: list[str] | None = TrunksOption,
    prefixes: list[str] | None = PrefixesOption,
    metadata: list[str] | None = MetadataOption,
    everything: bool = AllOption,
    reason: str | None = typer.Option(None, help="Why; kept with the block."),
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """Let nothing more be dialled of what is meant, and print the block's id. Calls that are up stay up."""
    body: dict[str, Any] = {"selector": selector(agents, trunks, prefixes, metadata, everything)}
    body |= {"reason": reason} if reason else {}
    with Remote(url, token, data, config) as server:
        block = server.post("/v1/dial-blocks", body)
    if as_json:
        print_json(block)
        return
    typer.echo(block["id"])


@app.command("release")
def release_block(
    block_id: str = typer.Argument(help="Its id, from `onhook dial-blocks list`."),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """Let be dialled again what a block held back; scheduled calls whose time has come are dialled at once."""
    with Remote(url, token, data, config) as server:
        server.delete(f"/v1/dial-blocks/{quote(block_id, safe='')}")
