"""`python -m onhook.node`: one node, as the supervisor starts it.

It is no command of `onhook`: to load the command line tool takes a tenth of a second, and the calls of a node that has
died would have to wait for it.
"""

import argparse
import logging
import sys
from pathlib import Path

import uvloop

from onhook.server import NodeError, run_node
from onhook.settings import Settings, SettingsError, load_settings
from onhook.store.secrets import SecretError
from onhook.store.store import StoreError
from onhook.supervisor import CANNOT_START


def main() -> int:
    """Run a node until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m onhook.node", description="Run one node under a supervisor.")
    parser.add_argument("--carrier", metavar="URI", help="SIP URI of the sandbox carrier")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    arguments = parser.parse_args()
    try:
        settings = load_settings(arguments.config)
        _log(settings)
        uvloop.run(run_node(settings, arguments.carrier))
    except SettingsError as error:
        return _refuse(f"configuration: {error}")
    except (NodeError, StoreError, SecretError, OSError) as error:
        return _refuse(str(error))
    return 0


def _refuse(reason: str) -> int:
    print(f"onhook: {reason}", file=sys.stderr)
    return CANNOT_START


def _log(settings: Settings) -> None:
    if settings.log_level == "INFO":  # uvicorn's start and stop say nothing that ours do not
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )


if __name__ == "__main__":
    sys.exit(main())
