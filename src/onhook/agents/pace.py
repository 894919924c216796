"""How fast a peer is listened to: a flood of one must not take the turns of all others in the process."""

import asyncio

RATE = 6_000_000
"""Bytes a second; audio in base64 for six hundred calls."""
BURST = 250_000
"""Bytes that are taken at one go; half a minute of audio."""
PER_MESSAGE = 1_000
"""What a message costs besides its length: one of a few bytes is work, too."""


class Pace:
    """Counts what one peer sends."""

    def __init__(self) -> None:
        self._spent = 0

    async def spend(self, size: int) -> None:
        """Take a message of so many bytes; wait when there were too many of late."""
        self._spent += size + PER_MESSAGE
        if self._spent >= BURST:
            spent, self._spent = self._spent, 0
            await asyncio.sleep(spent / RATE)
