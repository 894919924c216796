"""Write the reference pages that are made from tables in the code; `--check` only compares.

    python docs/generate.py
"""

import sys
from pathlib import Path

from onhook.calls.causes import BY_STATUS, REGISTRY
from onhook.calls.states import mermaid

REFERENCE = Path(__file__).parent / "reference"

STATES = """# The states of a call

Generated from `src/onhook/calls/states.py` by `docs/generate.py`.

```mermaid
{diagram}
```

`ending` means that a stop is durable and irrevocable: audio and agent are cut, the SIP exchange is under way.
`ended` means settled on the wire; it carries the proof.
"""


def states() -> str:
    """Return the page about states."""
    return STATES.format(diagram=mermaid())


def causes() -> str:
    """Return the page about causes."""
    lines = [
        "# Why calls end",
        "",
        "Generated from `src/onhook/calls/causes.py` by `docs/generate.py`.",
        "",
        "An answered call that ends has the outcome `completed`; the column says what an unanswered one has.",
        "",
        "| reason | meaning | SIP statuses | unanswered outcome | Q.850 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for reason, entry in REGISTRY.items():
        statuses = ", ".join(str(status) for status, one in BY_STATUS.items() if one is reason) or "-"
        lines.append(f"| `{reason}` | {entry.meaning} | {statuses} | `{entry.unanswered}` | {entry.q850 or '-'} |")
    return "\n".join([*lines, ""])


PAGES = {"states.md": states, "causes.md": causes}


def main() -> int:
    """Write or compare all pages; return 1 when a page is stale."""
    stale = []
    for name, page in PAGES.items():
        path = REFERENCE / name
        if not path.exists() or path.read_text() != page():
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(page())
    if stale and "--check" in sys.argv:
        print(f"stale: {', '.join(stale)}; run python docs/generate.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
