"""The far ends that speak: when a line's moment has come, and what is heard of it."""

import asyncio
import itertools
import socket
import struct

import pytest

from onhook.clock import SystemClock
from onhook.lines.sandbox.media import Audio
from onhook.lines.sandbox.talker import Line, Moment, Talker, When, loudness, recording

pytestmark = pytest.mark.unit

PAUSE = Line(When.AFTER_A_PROMPT, 0.8, say="yes")


def _hear(moment: Moment, *, loud: bool, ms: int) -> None:
    for _ in range(ms // 20):
        moment.hear(loud)


def test_nobody_answers_a_prompt_that_has_not_come() -> None:
    moment = Moment()
    _hear(moment, loud=False, ms=2000)
    assert not moment.has_come(PAUSE)


def test_an_answer_comes_once_the_prompt_has_paused_long_enough() -> None:
    moment = Moment()
    _hear(moment, loud=True, ms=1000)
    _hear(moment, loud=False, ms=780)
    assert not moment.has_come(PAUSE)
    _hear(moment, loud=False, ms=20)
    assert moment.has_come(PAUSE)


def test_a_short_noise_is_no_prompt() -> None:
    moment = Moment()
    _hear(moment, loud=True, ms=100)
    _hear(moment, loud=False, ms=2000)
    assert not moment.has_come(PAUSE)


def test_an_interruption_comes_while_the_prompt_goes_on() -> None:
    moment = Moment()
    _hear(moment, loud=True, ms=980)
    assert not moment.has_come(Line(When.OVER_A_PROMPT, 1.0, say="interruption"))
    _hear(moment, loud=True, ms=20)
    assert moment.has_come(Line(When.OVER_A_PROMPT, 1.0, say="interruption"))


def test_a_caller_who_never_speaks_is_spoken_to_in_the_end() -> None:
    moment = Moment()
    _hear(moment, loud=False, ms=16_000)
    assert moment.has_come(PAUSE)


@pytest.mark.parametrize("name", ["yes", "goodbye", "interruption", "machine"])
def test_each_recording_is_whole_frames_of_something_loud(name: str) -> None:
    frames = recording(name)
    assert all(len(frame) == 160 for frame in frames)
    assert max(map(loudness, frames)) > 2000


async def test_a_talker_sends_its_line_and_then_a_key_and_echoes_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.setblocking(False)
        talker = Talker("127.0.0.1", (Line(When.AT_ONCE, 0.1, say="yes"), Line(When.AT_ONCE, 0.1, press="5")))
        talker.remote = Audio("127.0.0.1", ear.getsockname()[1])
        talker.start(SystemClock())
        loop = asyncio.get_running_loop()
        heard: list[bytes] = []
        keys: list[bytes] = []
        sequences: list[int] = []
        async with asyncio.timeout(5):
            while len(keys) < 7:
                packet = await loop.sock_recv(ear, 2048)
                sequences.append(struct.unpack_from("!H", packet, 2)[0])
                (keys if packet[1] & 0x7F == 101 else heard).append(packet[12:])
        talker.close()
    assert b"".join(recording("yes")) in b"".join(heard)
    assert {key[0] for key in keys} == {5}
    assert keys[-1][1] & 0x80
    assert [(later - earlier) & 0xFFFF for earlier, later in itertools.pairwise(sequences)] == [1] * (
        len(sequences) - 1
    )
