"""`onhook calls list --watch`: a screen that is drawn again and again, or a line for each change."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from onhook.cli.remote import Remote, RemoteError, call_path, patiently
from onhook.cli.show import live_line

Calls = list[dict[str, Any]]

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The terminal's other screen, without a cursor; what was on the first one comes back."""
TOP, REST = "\x1b[H", "\x1b[J"
LINE_END = "\x1b[K\n"
"""What was there is written over and the rest of each line cleared: clearing all of it first would flicker."""


def draw(look: Callable[[], Calls], interval_s: float, *, numbers: bool) -> NoReturn:
    """Keep the terminal's screen as the calls are, newest first, until Ctrl-C. Raises `RemoteError`."""
    calls = look()
    sys.stdout.write(ENTER)
    try:
        while True:
            width, height = shutil.get_terminal_size()
            lines = [line[:width] for line in screen(calls, datetime.now(UTC), height - 1, numbers=numbers)]
            sys.stdout.write(TOP + "".join(f"{line}{LINE_END}" for line in lines) + REST)
            sys.stdout.flush()
            time.sleep(interval_s)
            calls = patiently(look)
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def screen(calls: Calls, now: datetime, height: int, *, numbers: bool) -> list[str]:
    """Return at most `height` lines: how many calls there are in which state, then the calls that there is room for."""
    counted = Counter(call["state"] for call in calls)
    states = ", ".join(f"{count} {state}" for state, count in counted.most_common())
    title = f"{now:%H:%M:%SZ}  {len(calls)} call{'s' * (len(calls) != 1)}{': ' * bool(calls)}{states}"
    room = max(0, height - 2)
    shown = calls if len(calls) <= room else calls[: max(0, room - 1)]
    more = [f"... and {len(calls) - len(shown)} more"] if len(shown) < len(calls) else []
    return [title, "", *(live_line(call, now, numbers=numbers) for call in shown), *more]


def follow(
    server: Remote, look: Callable[[], Calls], interval_s: float, say: Callable[[dict[str, Any]], None]
) -> NoReturn:
    """Say how each call stands, and again when it stands otherwise, until Ctrl-C. Raises `RemoteError`.

    A call that is not among those looked at any more is said a last time: as it has ended.
    """
    known: dict[str, dict[str, Any]] = {}
    calls = look()
    while True:
        now = {call["call_id"]: call for call in reversed(calls)}
        left = [call for call_id in known if call_id not in now for call in _found(server, call_id)]
        for call in [*left, *now.values()]:
            if _standing(call) != _standing(known.get(call["call_id"])):
                say(call)
        known = now
        time.sleep(interval_s)
        calls = patiently(look)


def _standing(call: dict[str, Any] | None) -> tuple[str | None, ...] | None:
    return None if call is None else (call["state"], call["outcome"], call["proof_result"])


def _found(server: Remote, call_id: str) -> Calls:
    """Return a call, if it is there still."""
    try:
        return [patiently(lambda: server.get(call_path(call_id)))]
    except RemoteError as error:
        if error.status == 404:
            return []
        raise
