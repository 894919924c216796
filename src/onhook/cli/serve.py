"""`onhook serve|phone|demo|doctor`."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import typer
import uvloop

from onhook.cli.common import ConfigOption, DataOption, fail, settings_or_exit
from onhook.cli.probes import busy_ports
from onhook.supervisor import CANNOT_START, Supervisor, leave_with_supervisor


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the application."""
    app.command()(serve)
    app.command()(phone)
    app.command()(demo)
    app.command()(doctor)


def serve(
    sandbox: bool = typer.Option(False, "--sandbox", help="Call the built-in sandbox carrier; never dial out."),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """Run the server until Ctrl-C or SIGTERM, which end all calls. Exit code 78: it cannot start as configured."""
    settings = settings_or_exit(config, data)
    busy = busy_ports(settings)
    if busy:
        fail("\n        ".join(busy), CANNOT_START)
    raise typer.Exit(Supervisor(settings, config, sandbox=sandbox).run())


def phone(
    host: str = typer.Option("127.0.0.1", help="IPv4 address to listen on; callers must reach it."),
    port: int = typer.Option(5070, help="UDP port to listen on."),
    quiet: bool = typer.Option(False, "--quiet", help="Do not print what happens."),
    call: str | None = typer.Option(None, "--call", metavar="URI", help="Do not listen: call this SIP URI, once."),
    caller: str = typer.Option("+12025550177", "--from", metavar="NUMBER", help="The number that --call shows."),
    tcp: bool = typer.Option(False, "--tcp", help="Make --call over TCP."),
    supervised: bool = typer.Option(False, "--supervised", hidden=True),
) -> None:
    """Run the sandbox carrier, a SIP far end that misbehaves on demand, by the last two digits dialled; or call."""
    from onhook.lines.sandbox import run_phone  # noqa: PLC0415

    if supervised:
        leave_with_supervisor()
    printer = (lambda _line: None) if quiet else typer.echo
    if call is not None:
        _call(call, caller, host, "tcp" if tcp else "udp", printer)
        return
    try:
        uvloop.run(run_phone(host, port, printer))
    except KeyboardInterrupt:
        sys.exit(0)
    except (OSError, ValueError) as error:
        fail(f"cannot listen on {host}:{port}: {error}")


def _call(uri: str, caller: str, host: str, transport: str, printer: Callable[[str], None]) -> None:
    """Make one call, and leave with `NOT_DONE` when it is not answered."""
    from onhook.lines.sandbox import Plan, run_call  # noqa: PLC0415 (the supervisor stays light)

    try:
        status = uvloop.run(run_call(uri, Plan(from_number=caller), transport, host, printer))
    except KeyboardInterrupt:
        sys.exit(0)
    except (OSError, ValueError) as error:
        fail(f"cannot call {uri}: {error}")
    if status != 200:
        fail(f"not answered: {status}" if status else "no answer at all")


def demo(
    leave: bool = typer.Option(False, "--exit", help="Leave after the tour instead of staying up."),
) -> None:
    """Place three real calls, end them, prove it, then stay up for you to try."""
    from onhook.cli.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(asyncio.run(run_demo(stay=not leave)))


def doctor(data: Path | None = DataOption, config: Path | None = ConfigOption) -> None:
    """Check configuration, database, ports and trunk, and say what to do. Exit code 1: something is wrong."""
    from onhook.cli.doctor import examine  # noqa: PLC0415

    settings = settings_or_exit(config, data)
    findings = asyncio.run(examine(settings))
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.part}: {finding.text}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
