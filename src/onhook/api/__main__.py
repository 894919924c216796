"""Write the OpenAPI documents: `python -m onhook.api docs/reference`."""

import json
import sys
from pathlib import Path

from onhook.api.app import ROUTERS, openapi_document


def main(directory: Path) -> None:
    """Write `openapi-<dialect>.json` for each dialect into `directory`."""
    for dialect in ROUTERS:
        text = json.dumps(openapi_document(dialect), indent=2, ensure_ascii=False)
        (directory / f"openapi-{dialect}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
