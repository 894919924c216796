"""Which calls a command means: the options that make a selector of our own API."""

from enum import StrEnum
from typing import Any

import typer

from onhook.cli.common import Code, fail

AgentsOption = typer.Option(None, "--agent", help="Calls of this agent's id. May be repeated, as those below.")
TrunksOption = typer.Option(None, "--trunk", help="Calls over this trunk's id.")
PrefixesOption = typer.Option(None, "--prefix", help="Calls to numbers that begin so, such as +44.")
MetadataOption = typer.Option(None, "--metadata", help="Calls with this in their metadata, as name=value.")
AllOption = typer.Option(False, "--all", help="Every call; goes with no other choice.")


class LiveState(StrEnum):
    """States that a call can be chosen by."""

    SCHEDULED = "scheduled"
    DIALING = "dialing"
    RINGING = "ringing"
    ANSWERED = "answered"


def selector(
    agents: list[str] | None,
    trunks: list[str] | None,
    prefixes: list[str] | None,
    metadata: list[str] | None,
    everything: bool,
    states: list[LiveState] | None = None,
    older_than_ms: int | None = None,
) -> dict[str, Any]:
    """Return the selector that the options make, or leave: calls are chosen by something, or all of them in words."""
    chosen: dict[str, Any] = {
        "agent_ids": agents,
        "trunk_ids": trunks,
        "number_prefixes": prefixes,
        "metadata": _pairs(metadata or []),
        "states": [state.value for state in states or ()],
    }
    given = {name: value for name, value in chosen.items() if value}
    if older_than_ms is not None:
        given["older_than_ms"] = older_than_ms
    if everything == bool(given):
        fail("--all goes with no other choice" if everything else "say which calls, or --all", Code.USAGE)
    return given or {"all": True}


def _pairs(written: list[str]) -> dict[str, str]:
    """Return metadata written as `name=value`."""
    pairs = [one.partition("=") for one in written]
    if not all(name and equals for name, equals, _ in pairs):
        fail("--metadata is written as name=value", Code.USAGE)
    if len({name for name, _, _ in pairs}) < len(pairs):
        fail("--metadata names something twice: all that is given must be in a call", Code.USAGE)
    return {name: value for name, _, value in pairs}
