"""What a benchmark found, against its gate."""

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NoReturn

import msgspec

ROUNDS = 3
"""How often a benchmark that misses is run before that counts: a shared machine has bad moments."""


class Verdict(msgspec.Struct, frozen=True):
    """One benchmark's result.

    `score` is the figure as a share of the gate: 1.0 or less passes. With several gates it is the worst of them.
    """

    name: str
    figure: str
    gate: str
    score: float
    details: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the gate holds."""
        return self.score <= 1.0

    def __str__(self) -> str:
        return f"{self.name:<16} {self.figure:<62} gate {self.gate:<46} {'PASS' if self.passed else 'MISS'}"


def finish(measure: Callable[[], Verdict]) -> NoReturn:
    """Measure, print the best of up to `ROUNDS` rounds (the first that passes is the last), leave with 0 or 1.

    Each round has a process of its own, so that none inherits another's memory.
    """
    best = _measured(measure)
    for number in range(2, ROUNDS + 1):
        if best.passed:
            break
        print(f"    missed: {best.figure}; round {number} of {ROUNDS}", flush=True)
        best = min(best, _measured(measure), key=lambda verdict: verdict.score)
    print(best)
    for line in best.details:
        print(f"    {line}")
    sys.exit(0 if best.passed else 1)


def _measured(measure: Callable[[], Verdict]) -> Verdict:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure).result()
