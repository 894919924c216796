"""`python -m onhook` is the `onhook` command."""

import gc


def main() -> None:
    """Load the commands, without a search for garbage meanwhile, for what is loaded stays; then run one."""
    gc.disable()
    from onhook.cli import app  # noqa: PLC0415

    gc.enable()
    app()


if __name__ == "__main__":
    main()
