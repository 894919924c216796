"""`onhook stop` and `onhook stops`: many calls by one order, with a ledger of what became of each."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from onhook.cli.common import Code, ConfigOption, DataOption, JsonOption, NumbersOption, fail, print_json
from onhook.cli.remote import Remote, RemoteError, TokenOption, UnreachableError, UrlOption
from onhook.cli.selection import (
    AgentsOption,
    AllOption,
    LiveState,
    MetadataOption,
    PrefixesOption,
    TrunksOption,
    selector,
)
from onhook.cli.show import ledger_line, selector_words
from onhook.cli.times import span

app = typer.Typer(help="Orders to stop many calls, and what became of them.", no_args_is_help=True)

NDJSON = "application/x-ndjson"
SLACK_S = 15.0
"""How much longer than the wait an answer may be silent."""


def stop(
    agents: list[str] | None = AgentsOption,
    trunks: list[str] | None = TrunksOption,
    prefixes: list[str] | None = PrefixesOption,
    metadata: list[str] | None = MetadataOption,
    states: list[LiveState] | None = typer.Option(None, "--state", help="Calls in this state."),
    older_than: int | None = typer.Option(None, parser=span, help="Calls created at least so long ago, such as 10m."),
    everything: bool = AllOption,
    block_dials: bool = typer.Option(
        False, "--block-dials", help="Let no more calls of this kind be dialled, until the block is released."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only tell which calls would be stopped."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    wait: int = typer.Option("35s", parser=span, help="How long to wait for the proofs, at most 60s."),
    reason: str | None = typer.Option(None, help="Why; kept with each call."),
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """End every live call that is meant, at once, and tell what becomes of each as it is known.

    All that is given must hold for a call, each by one of its values. All stops are durable and on their way before the
    first line is printed: Ctrl-C leaves, the calls end all the same. Exit code 0: all are confirmed, or there was
    none and a dial block stands. 3: one has not been confirmed in time. 4: no live call matches. 1: not done, or not
    wanted when asked. With --json a line for the order, for each call, and for the result.
    """
    chosen = selector(agents, trunks, prefixes, metadata, everything, states, older_than)
    body: dict[str, Any] = {"selector": chosen, "block_dials": block_dials, "dry_run": dry_run, "wait_ms": wait}
    body |= {"reason": reason} if reason else {}
    with Remote(url, token, data, config) as server:
        if not (yes or dry_run):
            _ask_first(server, body)
        raise typer.Exit(_carry_out(server, body, as_json=as_json))


@app.command("list")
def list_stops(
    limit: int = typer.Option(50, min=1, max=1000, help="How many at most."),
    numbers: bool = NumbersOption,
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """List the orders that `onhook stop` gave, newest first: calls that matched, and what was meant."""
    with Remote(url, token, data, config) as server:
        found = server.get("/v1/stops", limit=limit)
    if as_json:
        print_json(found)
        return
    for one in found["items"]:
        meant = selector_words(one["selector"], numbers=numbers) + (" --dry-run" if one["dry_run"] else "")
        meant += f"  {one['reason']}" if one["reason"] else ""
        typer.echo(f"{one['requested_at']}  {one['id']}  {one['matched']:>5} calls  by {one['requested_by']}  {meant}")


@app.command("show")
def show_stop(
    stop_id: str = typer.Argument(help="Its id, from `onhook stop` or `onhook stops list`."),
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """Show the ledger of an order: how each of its calls stands now."""
    with Remote(url, token, data, config) as server:
        ledger = server.get(f"/v1/stops/{quote(stop_id, safe='')}")
    if as_json:
        print_json(ledger)
        return
    for item in ledger["items"]:
        typer.echo(ledger_line(item, ledger["requested_at"]))
    for line in _summary(ledger, ledger["result"]):
        typer.echo(line)


def _ask_first(server: Remote, body: dict[str, Any]) -> None:
    """Ask whether what would be stopped is what is meant; leave unless it is."""
    ledger = server.post("/v1/stops", body | {"dry_run": True})
    if ledger["matched"] == 0 and not body["block_dials"]:
        fail("no live call matches", Code.NO_MATCH)
    counted = Counter(item["state_before"] for item in ledger["items"])
    states = ", ".join(f"{count} {state}" for state, count in counted.most_common())
    question = f"Stop {_calls(ledger['matched'])}" + (f" ({states})" if states else "")
    if body["block_dials"]:
        question += ", and let no more of this kind be dialled"
    typer.echo(f"{question}? [y/N] ", nl=False, err=True)  # What is asked is no result: standard output stays clean.
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        fail("nothing was stopped; answer y, or give --yes")


def _carry_out(server: Remote, body: dict[str, Any], *, as_json: bool) -> Code:
    """Give the order, print its ledger as it fills, and return the exit code."""
    order: dict[str, Any] = {}
    try:
        for line in server.lines("POST", "/v1/stops", NDJSON, body["wait_ms"] / 1000 + SLACK_S, json=body):
            told = json.loads(line)
            order = order or told
            for text in [line.decode()] if as_json else _lines(told, order):
                typer.echo(text)
            if told["type"] == "result":
                return _code(order, told)
    except UnreachableError:
        if not order:
            raise
    raise RemoteError(f"the answer broke off. The stop goes on: `onhook stops show {order.get('id', 'ID')}` tells")


def _lines(told: dict[str, Any], order: dict[str, Any]) -> list[str]:
    """Return a line of the stream for people."""
    match told["type"]:
        case "call":
            return [ledger_line(told, order["requested_at"])]
        case "result":
            return _summary(order, told)
    return []


def _summary(order: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Return what became of an order, and what it leaves behind."""
    if order["dry_run"]:
        return [f"{_calls(order['matched'])} would be stopped"]
    counts = [
        f"{result[word]} {word}" for word in ("confirmed", "pending", "unconfirmed", "already_ended") if result[word]
    ]
    lines = [f"{order['id']}: {_calls(order['matched'])}{': ' * bool(counts)}{', '.join(counts)}"]
    if order["held"]:
        lines.append(f"{_calls(order['held'])} not dialled yet, held back")
    if order["dial_block_id"]:
        lines.append(f"dialling is blocked until `onhook dial-blocks release {order['dial_block_id']}`")
    return lines


def _code(order: dict[str, Any], result: dict[str, Any]) -> Code:
    if result["pending"] or result["unconfirmed"]:
        return Code.NOT_CONFIRMED
    return Code.DONE if order["matched"] or order["dial_block_id"] else Code.NO_MATCH


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"
