"""What the commands share: exit codes, settings, a store opened from the shell, output for people and for programs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer

from onhook.clock import SystemClock
from onhook.settings import Settings, SettingsError, load_settings
from onhook.store.audit import Act
from onhook.store.secrets import SecretBox, SecretError, load_or_create_key
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Store, StoreError
from onhook.supervisor import CANNOT_START

T = TypeVar("T")

DataOption = typer.Option(None, "--data", help="Data directory. Default: ONHOOK_DATA_DIR, else ./onhook-data.")
ConfigOption = typer.Option(None, "--config", envvar="ONHOOK_CONFIG", help="TOML file with settings.")
JsonOption = typer.Option(False, "--json", help="Print JSON, for programs.")
NumbersOption = typer.Option(False, "--numbers", help="Print whole phone numbers, not the last 4 digits alone.")

clock = SystemClock()


class Code(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    NOT_DONE = 1
    USAGE = 2
    NOT_CONFIRMED = 3
    NO_MATCH = 4
    TAMPERED = 5
    CANNOT_START = CANNOT_START
    INTERRUPTED = 130


MEANINGS = {
    Code.DONE: "done; of a stop: every end is confirmed, or the call was over already",
    Code.NOT_DONE: "not done; the message says why",
    Code.USAGE: "the command line cannot be understood",
    Code.NOT_CONFIRMED: "stopped, but the far end of at least one call has not confirmed it in time",
    Code.NO_MATCH: "`stop`: no live call matches, and no dial block was asked for",
    Code.TAMPERED: "`audit verify`: the audit log is not what it was; the findings say where",
    Code.CANNOT_START: "the configuration cannot be used, or an address is taken; trying again does not help",
    Code.INTERRUPTED: "left by Ctrl-C",
}
"""What the exit codes mean (docs/reference/cli.md is made of it)."""


def operator() -> Act:
    """Return who works at the command line, as the audit log tells it."""
    return Act("operator", clock.now_ms())


def fail(message: str, code: int = Code.NOT_DONE) -> NoReturn:
    """Say what is wrong and leave."""
    typer.echo(f"onhook: {message}", err=True)
    raise typer.Exit(code)


def settings_or_exit(config: Path | None, data: Path | None) -> Settings:
    """Return the settings, or leave with the reason why they cannot be used."""
    try:
        return load_settings(config, data_dir=data)
    except SettingsError as error:
        fail(f"configuration: {error}", CANNOT_START)


def with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store beside a server that may be running, do `work`, close it."""

    async def run() -> T:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = SqliteStore(settings.database_path)
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except (StoreError, OSError) as error:
        fail(f"database {settings.database_path}: {error}")


def secret_box(settings: Settings) -> SecretBox:
    """Return the box for secrets that must be read again, with the configured or the generated key."""
    try:
        if settings.secret_key is not None:
            return SecretBox(settings.secret_key.get_secret_value().encode())
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return SecretBox(load_or_create_key(settings.data_dir / "secret.key"))
    except (SecretError, OSError) as error:
        fail(f"configuration: {error}", CANNOT_START)


def moment(at_ms: int) -> str:
    """Return a time for people, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(document, indent=2))
