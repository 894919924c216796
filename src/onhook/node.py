"""`python -m onhook.node`: one node, as the supervisor starts it.

It is no command of `onhook`: to load the command line tool takes a tenth of a second, and the calls of a node that has
died would have to wait for it.
"""

import argparse
import gc
import logging
import sys
from pathlib import Path


def main() -> int:
    """Run a node until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m onhook.node", description="Run one node under a supervisor.")
    parser.add_argument("--carrier", metavar="URI", help="SIP URI of the sandbox carrier")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    arguments = parser.parse_args()
    gc.disable()  # What is loaded now stays, until `run_node` enables it: a search only makes the start longer.
    return _run(arguments.config, arguments.carrier)


def _run(config: Path | None, carrier_uri: str | None) -> int:
    import uvloop  # noqa: PLC0415 (all of these are loaded without the garbage collector)

    from onhook.process import NodeError  # noqa: PLC0415
    from onhook.server import run_node  # noqa: PLC0415
    from onhook.settings import SettingsError, load_settings  # noqa: PLC0415
    from onhook.store.secrets import SecretError  # noqa: PLC0415
    from onhook.store.store import StoreError  # noqa: PLC0415
    from onhook.supervisor import CANNOT_START  # noqa: PLC0415

    try:
        settings = load_settings(config)
        _log(settings.log_level)
        uvloop.run(run_node(settings, carrier_uri))
    except SettingsError as error:
        reason = f"configuration: {error}"
    except (NodeError, StoreError, SecretError, OSError) as error:
        reason = str(error)
    else:
        return 0
    print(f"onhook: {reason}", file=sys.stderr)
    return CANNOT_START


def _log(level: str) -> None:
    if level == "INFO":  # uvicorn's start and stop say nothing that ours do not
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
