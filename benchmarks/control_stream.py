"""The control: a process that does nothing but send packets every 20 ms, on the core that the node is on.

What is late here is late because of the machine. `python -m benchmarks.control_stream PORT` sends to that port until
its standard input ends.
"""

import select
import socket
import sys
import time

from benchmarks.far_end import CONTROL_PAYLOAD
from benchmarks.machine import pin

STREAMS = 20
FRAME_S = 0.02
PACKET = bytes([0x80, CONTROL_PAYLOAD]) + bytes(170)


def main(port: int) -> None:
    """Send on all streams at each tick; deadlines are absolute, as the node's are."""
    pin(0)
    streams = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(STREAMS)]
    deadline = time.monotonic()
    while not select.select([sys.stdin], [], [], 0)[0]:
        for stream in streams:
            stream.sendto(PACKET, ("127.0.0.1", port))
        deadline += FRAME_S
        time.sleep(max(0.0, deadline - time.monotonic()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
