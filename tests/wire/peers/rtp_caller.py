"""A caller with a voice: listens until the agent has said its sentence, then speaks, presses a key, or talks over it.

Sends 20 ms of mu-law each 20 ms, the noise of the place when it is silent. Shares no code with onhook.
"""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.wire.peers.rtp_tap import FRAME, RtpTap

QUIET_FRAMES = 45
"""The agent has ended its turn when nothing was heard for 0.9 s: longer than its pauses between sentences."""
LOUD_FRAMES = 10

_LOUD = bytes(1 if (~code & 0x70) >> 4 >= 2 else 0 for code in range(256))
"""Says of each code of mu-law whether its sample is beyond 400 of 32768."""
_NOISE = bytes(random.Random(5).choices([0xFE, 0xFF, 0x7F, 0x7E], k=FRAME * 50))
"""A second of the faintest noise of a line."""


@dataclass(frozen=True)
class Say:
    """Speak `mulaw`, once the agent has ended its turn, or `over` the agent after so many ms of it."""

    mulaw: bytes
    over_ms: int | None = None


@dataclass(frozen=True)
class Press:
    """Press a key, once the agent has ended its turn."""

    key: str


class RtpCaller(RtpTap):
    """Goes through its steps, one for each turn of the agent. `noise` is mu-law, repeated without end."""

    def __init__(self, steps: Sequence[Say | Press], noise: bytes = _NOISE) -> None:
        super().__init__()
        self._noise = noise
        self._steps = list(steps)
        self._words = b""
        self._read = self._loud = self._quiet = 0
        self._talker = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> "RtpCaller":
        super().__enter__()
        self._talker.start()
        return self

    def _talk(self) -> None:
        start, tick = time.monotonic(), 0
        while not self._closing:
            tick += 1
            time.sleep(max(0.0, start + tick * 0.02 - time.monotonic()))
            if self._peer is None:
                continue
            self._listen()
            if not self._words:
                self._take_step()
            at = tick * FRAME % len(self._noise)
            frame, self._words = self._words[:FRAME], self._words[FRAME:]
            frame += self._noise[at + len(frame) : at + FRAME]
            with self._changed:
                if not self._closing:
                    self._send(0, tick * FRAME, frame)

    def _listen(self) -> None:
        """Count what came since the last tick: loud frames of this turn, quiet ones after them."""
        with self._changed:
            newest = max(self._frames, default=-1) + 1
            oldest = max(self._read, min(self._frames, default=0))
            came = [self._frames.get(number, b"") for number in range(oldest, newest)]
        self._read = newest
        for frame in came:
            if sum(frame.translate(_LOUD)) > 8:
                self._loud, self._quiet = self._loud + 1, 0
            else:
                self._quiet += 1

    def _take_step(self) -> None:
        if not self._steps:
            return
        step = self._steps[0]
        over_ms = step.over_ms if isinstance(step, Say) else None
        its_turn_is_over = self._loud >= LOUD_FRAMES and self._quiet >= QUIET_FRAMES
        if not (its_turn_is_over if over_ms is None else self._loud * 20 >= over_ms):
            return
        del self._steps[0]
        self._loud = 0
        if isinstance(step, Press):
            with self._changed:
                self.press(step.key, 100)
            return
        self._words = step.mulaw
