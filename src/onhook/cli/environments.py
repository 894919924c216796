"""`onhook environments`: the tenants of a server, and `--environment` of the commands whose objects belong to one."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import typer

from onhook.cli.common import ConfigOption, DataOption, clock, fail, moment, operator, settings_or_exit, with_store
from onhook.provision import DEFAULT_ENVIRONMENT, ensure_environment
from onhook.settings import Settings
from onhook.store.store import Environment, Store

T = TypeVar("T")

app = typer.Typer(help="Environments: what belongs to one cannot be seen from another.", no_args_is_help=True)

EnvironmentOption = typer.Option(
    DEFAULT_ENVIRONMENT, "--environment", help="Whose: an environment of `onhook environments list`."
)
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@app.command("add")
def add(
    name: str = typer.Argument(help="Its name, for --environment: lower-case letters, digits and hyphens."),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """Add an environment, with nothing in it. It stays for good, and so does its name."""
    if NAME.fullmatch(name) is None:
        fail(f"the name must be 1 to 63 lower-case letters, digits and hyphens, such as acme, not {name}")

    async def work(store: Store) -> bool:
        await ensure_environment(store, clock)  # The default one is the oldest.
        if await store.get(Environment, name, None) is not None:
            return False
        await store.put(Environment(name, name, clock.now_ms()), operator())
        return True

    if not with_store(settings_or_exit(config, data), work):
        fail(f"{name} is there already")


@app.command("list")
def list_environments(data: Path | None = DataOption, config: Path | None = ConfigOption) -> None:
    """List the environments, newest first."""
    for one in with_store(settings_or_exit(config, data), lambda store: store.find(Environment, None)):
        typer.echo(f"{one.id}  created {moment(one.created_at)}")


def in_environment(settings: Settings, environment: str, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do `work` as `with_store` does, but leave when there is no such environment; the default one is made."""

    async def checked(store: Store) -> T:
        await ensure_environment(store, clock)
        if await store.get(Environment, environment, None) is None:
            fail(f"no environment {environment}; `onhook environments list` names them")
        return await work(store)

    return with_store(settings, checked)
