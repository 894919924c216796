"""The `onhook` command."""

import typer

from onhook.cli import audit, blocks, calls, environments, events, objects, serve, stops

app = typer.Typer(
    name="onhook",
    help="A self-hosted call server for AI phone agents that ends calls at once and proves it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
serve.register(app)
app.add_typer(environments.app, name="environments")
app.add_typer(objects.keys, name="keys")
app.add_typer(objects.agents, name="agents")
app.add_typer(objects.numbers, name="numbers")
app.add_typer(objects.trunks, name="trunks")
app.add_typer(calls.app, name="calls")
app.command("stop")(stops.stop)
app.add_typer(stops.app, name="stops")
app.add_typer(blocks.app, name="dial-blocks")
app.add_typer(events.app, name="events")
app.add_typer(audit.app, name="audit")
