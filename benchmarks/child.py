"""Helper processes: started as modules of this package, spoken to in lines of JSON."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Child:
    """A helper process; it ends when its standard input does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, question: str, kind: type[T]) -> T:
        """Send a line, return the line that comes back."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n".encode())
        self._process.stdin.flush()
        return self.hear(kind)

    def hear(self, kind: type[T]) -> T:
        """Return the next line that the child says. Raises `RuntimeError` when it has died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} died")
        return msgspec.json.decode(line, type=kind)


@contextlib.contextmanager
def child(module: str, *arguments: str) -> Iterator[Child]:
    """Run `python -m benchmarks.MODULE` while the context is open."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Child(process)
    finally:
        process.kill()
        process.communicate()
