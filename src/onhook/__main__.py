"""`python -m onhook` is the `onhook` command."""

from onhook.cli import app

app()
