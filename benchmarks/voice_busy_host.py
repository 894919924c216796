"""An agent process that is busy all the time: one of its threads computes without end, and does not hold the GIL.

What it hosts goes on beside that. It may use all cores, whatever the line process is kept to.
"""

import hashlib
import os
import threading

from onhook.agents.host import main

ROUNDS = 20_000
"""Of a hash: about 10 ms without the interpreter's lock."""


def compute() -> None:
    """Keep a core busy."""
    while True:
        hashlib.pbkdf2_hmac("sha256", b"busy", b"host", ROUNDS)


if __name__ == "__main__":
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    threading.Thread(target=compute, daemon=True).start()
    main()
