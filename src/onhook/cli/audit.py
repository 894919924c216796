"""`onhook audit`: who did what, and whether the log of it is still what it was. It reads the database itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import typer

from onhook.audit.heads import Heads
from onhook.audit.verify import Report, verify
from onhook.cli.common import (
    Code,
    ConfigOption,
    DataOption,
    JsonOption,
    fail,
    moment,
    print_json,
    settings_or_exit,
    with_store,
)
from onhook.provision import DEFAULT_ENVIRONMENT
from onhook.store.audit import AuditEntry, AuditLog
from onhook.store.store import Environment, Store

app = typer.Typer(help="The log of who did what, and its seals.", no_args_is_help=True)

PAGE = 500


@app.command("list")
def list_entries(
    environment: str = typer.Option(DEFAULT_ENVIRONMENT, "--environment", help="Whose log."),
    target: str | None = typer.Option(None, help="Only what was done to this call, key, agent, ..."),
    actor: str | None = typer.Option(None, help="Only what this one did, such as api_key:ID or operator."),
    action: str | None = typer.Option(None, help="Only acts of this name, such as call.stop."),
    after: int = typer.Option(0, min=0, help="Only entries after this one."),
    limit: int = typer.Option(100, min=1, max=100_000, help="How many of the newest that are left."),
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """List what was done, by whom and why, the oldest first."""
    wanted = {"target": target, "actor": actor, "action": action}
    conditions = {name: value for name, value in wanted.items() if value is not None}

    async def work(store: Store) -> list[AuditEntry]:
        found = [entry async for entry in _entries(store, environment, after) if _meets(entry, conditions)]
        return found[-limit:]

    entries = with_store(settings_or_exit(config, data), work)
    if as_json:
        print_json({"items": [_as_json(entry) for entry in entries]})
        return
    for entry in entries:
        typer.echo(_line(entry))


@app.command("verify")
def verify_log(
    environment: str | None = typer.Option(None, "--environment", help="Whose log. Default: every environment's."),
    as_json: bool = JsonOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """Check that no entry was changed, deleted, moved or cut off; a running server need not stop for it.

    Exit code 0: all is as it was sealed. 5: something is not; each finding names its entry. 1: it cannot be checked.
    """
    settings = settings_or_exit(config, data)
    heads = Heads(settings.audit_path)

    async def work(store: Store) -> list[Report]:
        known = {one.id for one in await store.find(Environment, None)}
        known |= set(await asyncio.to_thread(heads.environments))
        if environment is not None:
            known &= {environment}
        return [await verify(store, heads, one) for one in sorted(known)]

    reports = with_store(settings, work)
    if environment is not None and not reports:
        fail(f"no environment {environment}")
    if as_json:
        print_json({"reports": [msgspec.to_builtins(report) | {"intact": report.intact} for report in reports]})
    else:
        for report in reports:
            _tell(report)
    if not all(report.intact for report in reports):
        raise typer.Exit(Code.TAMPERED)


async def _entries(log: AuditLog, environment: str, after: int) -> AsyncIterator[AuditEntry]:
    while page := await log.audit_entries(environment, after, PAGE):
        for entry in page:
            yield entry
        after = page[-1].seq


def _meets(entry: AuditEntry, conditions: dict[str, str]) -> bool:
    return all(getattr(entry, name) == value for name, value in conditions.items())


def _line(entry: AuditEntry) -> str:
    """Return an entry for people."""
    details = [f"{name}={value}" for name, value in sorted(entry.data.items())]
    if entry.request_id is not None:
        details.append(f"request {entry.request_id}")
    why = f'  "{entry.reason}"' if entry.reason else ""
    return "  ".join([str(entry.seq), moment(entry.at), entry.actor, entry.action, entry.target, *details]) + why


def _as_json(entry: AuditEntry) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(entry)
    return told


def _tell(report: Report) -> None:
    """Print a report for people."""
    sealed = f"{report.sealed} entries sealed, {report.waiting} waiting for their seal"
    checkpoint = "no checkpoint" if report.checkpoint is None else f"checkpoint at {report.checkpoint}"
    verdict = "intact" if report.intact else "NOT INTACT"
    typer.echo(f"{report.environment_id}: {verdict}: {sealed}, {checkpoint}")
    for finding in report.findings:
        typer.echo(f"  {finding.kind}: {finding.text}")
    if report.untold:
        typer.echo(f"  and {report.untold} findings more")
    if report.checkpoints_from:
        typer.echo(
            f"  note: checkpoints begin at entry {report.checkpoints_from}; what was cut off before, they cannot tell"
        )
