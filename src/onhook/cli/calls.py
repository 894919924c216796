"""`onhook calls`: list, watch, show and stop calls of a running server, over its own API."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from onhook.calls.states import State
from onhook.cli import watch
from onhook.cli.common import Code, ConfigOption, DataOption, JsonOption, NumbersOption, fail, print_json
from onhook.cli.remote import Remote, RemoteError, TokenOption, UrlOption, call_path
from onhook.cli.show import call_line, stop_line, timeline_lines
from onhook.cli.times import moment_or_span, span

app = typer.Typer(help="Calls of a running server.", no_args_is_help=True)

NOT_ENDED = [state for state in State if state is not State.ENDED]
"""In the order in which a call passes through them, so that one that moves on while we look is not missed."""
MOST = 50
AT_ONCE = 16
"""How many stops are asked for side by side, so that one far end that is slow to confirm holds up no other call."""
ASK_MS = 5000
"""The longest that the server waits for a proof; from then on the command looks again and again by itself."""
LOOK_S = 0.2
DEADLINE_MS = 5000
WAIT_MS = 1000
OVER = frozenset({"confirmed", "already_ended"})
STOPPED_FIELDS = ("call_id", "state", "outcome", "cause", "ended_at", "stop", "proof")


@app.command("list")
def list_calls(
    live: bool = typer.Option(False, "--live", help="Only calls that have not ended."),
    watching: bool = typer.Option(
        False, "--watch", help="Go on until Ctrl-C: on a terminal the screen is redrawn, else each change is a line."
    ),
    interval: int = typer.Option("1s", parser=span, help="How often --watch looks."),
    ids: bool = typer.Option(False, "--ids", help="Print the ids alone, one on a line, for scripts."),
    limit: int | None = typer.Option(None, min=1, help="How many calls at most. Default: 50; of live ones all."),
    numbers: bool = NumbersOption,
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """List calls, newest first.

    With --json one document, `{"items": [...]}`; with --watch a line of JSON for each change.
    """
    say = _speaker(ids=ids, as_json=as_json, numbers=numbers)
    with Remote(url, token, data, config) as server:
        look = partial(_live if live else _newest, server, limit)
        if watching and sys.stdout.isatty() and not (ids or as_json):
            watch.draw(look, max(interval, 100) / 1000, numbers=numbers)
        if watching:
            watch.follow(server, look, max(interval, 100) / 1000, say)
        calls = look()
    if as_json and not ids:
        print_json({"items": calls})
        return
    for call in calls:
        say(call)


@app.command("show")
def show(
    call_id: str = typer.Argument(help="The call's id."),
    numbers: bool = NumbersOption,
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """Show one call: its end, its timeline, its proof. With --json `{"call": ..., "timeline": ...}`."""
    with Remote(url, token, data, config) as server:
        call = server.get(call_path(call_id))
        timeline = server.get(call_path(call_id, "timeline"))
    if as_json:
        print_json({"call": call, "timeline": timeline})
        return
    typer.echo(call_line(call, numbers=numbers))
    for line in timeline_lines(call, timeline, numbers=numbers):
        typer.echo(line)


@app.command("stop")
def stop(
    call_ids: list[str] = typer.Argument(help="The ids of the calls."),
    wait: int | None = typer.Option(
        None, parser=span, help="How long to wait for the proofs. Default: 1s; with --graceful 1s after the deadline."
    ),
    graceful: str | None = typer.Option(
        None, "--graceful", help="Let the agent say this to its end first. Empty: the farewell of its settings."
    ),
    deadline: int | None = typer.Option(
        None, parser=span, help="When to end the call though the farewell is not at its end. Default: 5s, at most 30s."
    ),
    reason: str | None = typer.Option(None, help="Why; kept with the call."),
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """End calls, whatever state they are in.

    Exit code 0: all are confirmed, or were over already. 3: one has not been confirmed in time. 1: one could not be
    stopped; the others were. With --json `{"items": [...], "errors": [...]}`.
    """
    if deadline is not None and graceful is None:
        fail("--deadline goes with --graceful", Code.USAGE)
    body: dict[str, Any] = {"reason": reason} if reason else {}
    if graceful is not None:
        body |= {"mode": "graceful", "deadline_ms": DEADLINE_MS if deadline is None else deadline}
        body |= {"farewell": graceful} if graceful else {}
    wait_ms = body.get("deadline_ms", 0) + WAIT_MS if wait is None else wait
    with Remote(url, token, data, config) as server, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda call_id: (call_id, _stopped(server, call_id, body, wait_ms)), call_ids)
        raise typer.Exit(_tell_all(answers, as_json=as_json))


@app.command("stop-at")
def stop_at(
    call_id: str = typer.Argument(help="The call's id."),
    when: str | None = typer.Argument(None, help="+5m from now, or a moment with its time zone: 2026-11-20T15:00:00Z."),
    cancel: bool = typer.Option(False, "--cancel", help="Take the scheduled stop back instead."),
    reason: str | None = typer.Option(None, help="Why; kept with the call."),
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
    url: str | None = UrlOption,
    token: str | None = TokenOption,
) -> None:
    """Schedule the end of a call, in place of what was scheduled before; a moment that has passed ends it now."""
    if (when is None) is not cancel:
        fail("say when, or --cancel", Code.USAGE)
    body: dict[str, Any] = moment_or_span(when) if when is not None else {}
    path = call_path(call_id, "stop-at")
    with Remote(url, token, data, config) as server:
        call = server.delete(path) if cancel else server.put(path, body | ({"reason": reason} if reason else {}))
    if as_json:
        print_json(call)
        return
    if call["stop"] is not None:
        typer.echo(stop_line(call, _result(call)))
        return
    typer.echo(f"{call_id}  {call['state']}  stop at {call['stop_at'] or '-'}")


def _speaker(*, ids: bool, as_json: bool, numbers: bool) -> Callable[[dict[str, Any]], None]:
    """Return what prints one call on one line."""

    def say(call: dict[str, Any]) -> None:
        line = call["call_id"] if ids else json.dumps(call) if as_json else call_line(call, numbers=numbers)
        typer.echo(line)

    return say


def _stopped(server: Remote, call_id: str, body: dict[str, Any], wait_ms: int) -> dict[str, Any] | RemoteError:
    """End one call; return how it stands once its end is proved, or after `wait_ms`, or why it was not stopped."""
    until = time.monotonic() + wait_ms / 1000
    try:
        call = server.post(call_path(call_id, "stop"), body | {"wait_ms": min(wait_ms, ASK_MS)})
        while _result(call) in ("pending", "winding_down") and time.monotonic() < until:
            time.sleep(LOOK_S)
            call = server.get(call_path(call_id))
    except RemoteError as error:
        return error
    return call


def _tell_all(answers: Iterator[tuple[str, dict[str, Any] | RemoteError]], *, as_json: bool) -> Code:
    """Print how each stop went, as it comes; return the exit code."""
    items: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for call_id, answer in answers:
        if isinstance(answer, RemoteError):
            typer.echo(f"onhook: {call_id}: {answer}", err=True)
            errors.append({"call_id": call_id, "status": answer.status, "detail": str(answer)})
            continue
        items.append({name: answer[name] for name in STOPPED_FIELDS})
        if not as_json:
            typer.echo(stop_line(answer, _result(answer)))
    if as_json:
        print_json({"items": items, "errors": errors})
    if errors:
        return Code.NOT_DONE
    return Code.DONE if OVER.issuperset(map(_result, items)) else Code.NOT_CONFIRMED


def _result(call: dict[str, Any]) -> str:
    """Return how a stop stands, from its answer or from the call."""
    if call["stop"] is None:
        return "already_ended" if call["state"] == State.ENDED else "winding_down"
    return str(call["stop"]["result"])


def _newest(server: Remote, limit: int | None) -> list[dict[str, Any]]:
    return list(islice(_pages(server), limit or MOST))


def _live(server: Remote, limit: int | None) -> list[dict[str, Any]]:
    """Return the calls that have not ended, newest first."""
    found = {call["call_id"]: call for state in NOT_ENDED for call in _pages(server, state=state.value)}
    return sorted(found.values(), key=lambda call: str(call["created_at"]), reverse=True)[:limit]


def _pages(server: Remote, **query: str) -> Iterator[dict[str, Any]]:
    """Yield the calls of all pages."""
    page = server.get("/v1/calls", limit=200, **query)
    yield from page["items"]
    while page["next"]:
        page = server.get("/v1/calls", limit=200, cursor=page["next"], **query)
        yield from page["items"]
