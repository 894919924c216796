"""What the kernel tells about time, memory and disk."""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

DISK = Path("/var/tmp")
"""A disk on every Linux, where /tmp may be memory."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a directory on a real disk, deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-", dir=DISK) as directory:
        yield Path(directory)


def cpu_ns(pid: int) -> int:
    """Return the CPU time of a process, all threads, in ns (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def pss_kb(pid: int) -> int:
    """Return the proportional set size of a process in KB."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def rss_kb() -> int:
    """Return our own resident set size in KB."""
    return _kilobytes(Path("/proc/self/status"), "VmRSS")


def pin(core: int) -> None:
    """Keep this process, and children that it starts from now on, on one core (the last, when there are fewer)."""
    os.sched_setaffinity(0, {min(core, (os.cpu_count() or 1) - 1)})


def waited_ms() -> float:
    """Return how long our main thread has been ready to run but had no core, in ms; 0 where no count is kept."""
    path = Path("/proc/self/schedstat")
    return int(path.read_text().split()[1]) / 1e6 if path.exists() else 0.0


def load() -> str:
    """Say how busy the machine is: the load average of the last minute and the number of cores."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def fdatasync_us(file: int, page: bytes) -> float:
    """Append a page to a file, and return how long it took to be on disk, in us."""
    began = time.perf_counter_ns()
    os.write(file, page)
    os.fdatasync(file)
    return (time.perf_counter_ns() - began) / 1000


def _kilobytes(path: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{path} does not tell {name}")
    return int(found[1])
