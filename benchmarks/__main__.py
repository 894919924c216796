"""`python -m benchmarks [NAME ...]`: run benchmarks one after another, each in a process of its own."""

import subprocess
import sys
import time

NAMES = (
    "start",
    "history",
    "group_commit",
    "end_call_cpu",
    "stop_to_bye",
    "stop_with_agent",
    "stop_600",
    "bulk_stop",
    "stop_storm",
    "calls_per_core",
    "voice_calls",
    "voice_latency",
    "voice_ticks",
    "webhooks",
)
LIMIT_S = 240


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; print a table; return 1 when any missed its gate."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    began = time.monotonic()
    results = [_run(name) for name in names or NAMES]
    print(f"\nAll in {time.monotonic() - began:.0f} s:")
    for line, _ in results:
        print(line)
    return int(any(code != 0 for _, code in results))


def _run(name: str) -> tuple[str, int]:
    """Run one benchmark; return its line (the only one that is not indented) and its exit code."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{name:<16} no result within {LIMIT_S} s", 1
    print(done.stdout, end="", flush=True)
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    return (lines[-1] if lines else f"{name:<16} failed with exit code {done.returncode}"), done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
