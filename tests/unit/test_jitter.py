"""The jitter buffer: a network of numbers before it, a clock of 20 ms behind it."""

import random
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onhook.lines.media.g711 import mulaw_to_linear
from onhook.lines.media.jitter import CALM_TICKS, MAX_CONCEALED, MAX_WAIT, START_WAIT, JitterBuffer, Sequence
from onhook.lines.media.session import SILENCE

pytestmark = pytest.mark.unit

LOUD = 40
"""Frames are told apart by their code, 1 to 40: all loud, so that none of them is left out as a quiet one."""


class Packet(NamedTuple):
    """A packet of 20 ms, the `number`th of its stream, and when it comes (ms); the fields may lie."""

    at_ms: float
    number: int
    sequence: int
    timestamp: int
    ssrc: int = 1


def voice(number: int) -> bytes:
    return bytes([number % LOUD + 1]) * 160


def packet(number: int, at_ms: float | None = None, first: int = 65_530, origin: int = 2**32 - 500) -> Packet:
    """Return a packet that is sent at its time, numbered across the wrap of both counters."""
    at_ms = number * 20.0 if at_ms is None else at_ms
    return Packet(at_ms, number, (first + number) & 0xFFFF, (origin + number * 160) & 0xFFFFFFFF)


def heard(packets: Iterable[Packet], ticks: int, phase_ms: float = 10) -> list[int | None]:
    """Return the frames played in `ticks` by number (modulo `LOUD`), None where none had come."""
    buffer, coming, played = JitterBuffer(), sorted(packets), list[int | None]()
    for tick in range(ticks):
        while coming and coming[0].at_ms <= tick * 20 + phase_ms:
            one = coming.pop(0)
            buffer.push(one.ssrc, one.sequence, one.timestamp, voice(one.number))
        frame, arrived = buffer.pop()
        assert len(frame) == 160
        played.append(frame[0] - 1 if arrived else None)
    return played


def wanted(first: int, last: int) -> list[int | None]:
    return [number % LOUD for number in range(first, last)]


def gaps(played: list[int | None]) -> int:
    """Return how many ticks had nothing to play after the first that had."""
    begun = played[next(index for index, frame in enumerate(played) if frame is not None) :]
    return begun.count(None)


def test_a_steady_stream_is_played_whole_and_in_order_after_the_first_wait() -> None:
    played = heard((packet(number) for number in range(100)), 100)
    assert played[:START_WAIT] == [None] * START_WAIT
    assert played[START_WAIT:] == wanted(0, 98)


def test_nothing_is_heard_before_the_first_packet() -> None:
    buffer = JitterBuffer()
    assert [buffer.pop() for _ in range(500)] == [(SILENCE, False)] * 500


def test_a_calm_network_is_waited_for_no_longer_than_needed() -> None:
    played = heard((packet(number) for number in range(600)), 600)
    assert played[-1] == (599 - 1) % LOUD, "one frame of reserve is left of two"
    assert gaps(played) == 0


@pytest.mark.parametrize("swing_ms", [19, 45, 90])
def test_a_shaking_network_costs_few_gaps_and_a_bounded_delay(swing_ms: int) -> None:
    swings = random.Random(swing_ms)
    played = heard((packet(number, number * 20 + swings.random() * swing_ms) for number in range(1500)), 1500)
    assert gaps(played) <= 12
    delays = {(tick - frame) % LOUD for tick, frame in enumerate(played) if frame is not None}
    assert max(delays) <= MAX_WAIT + 1


def test_a_far_end_whose_clock_is_slow_costs_one_gap_in_a_while() -> None:
    played = heard((packet(number, number * 20 * 1.001) for number in range(12_000)), 12_000)
    assert gaps(played) <= 16, "12 frames are missing from its 12000"
    assert in_order(played)


def test_a_far_end_whose_clock_is_fast_gains_no_delay() -> None:
    played = heard((packet(number, number * 20 / 1.001) for number in range(12_000)), 11_900)
    assert gaps(played) == 0
    assert in_order(played)
    newest = int(11_899 * 1.001)
    assert (newest - (played[-1] or 0)) % LOUD <= 4


def in_order(played: list[int | None]) -> bool:
    """Return True when no frame is older than one before it; frames may be left out."""
    numbers = [frame for frame in played if frame is not None]
    return all(0 < (after - before) % LOUD < LOUD // 2 for before, after in pairwise(numbers))


def test_what_comes_late_is_played_late_and_the_next_such_delay_costs_nothing() -> None:
    late = [packet(number, number * 20 + (60 if number in (50, 80) else 0)) for number in range(100)]
    for number in (51, 52, 81, 82):
        late[number] = packet(number, late[number - 1].at_ms)
    played = heard(late, 100)
    assert gaps(played[:60]) > 0
    assert gaps(played[60:]) == 0
    assert in_order(played)


def test_a_burst_after_a_stall_of_the_network_is_played_but_not_hoarded() -> None:
    stalled = [packet(number, 2200.0 if 80 <= number < 110 else None) for number in range(200)]
    played = heard(stalled, 200)
    after = played[111:]
    assert None not in after
    assert (110 - (after[0] or 0)) % LOUD <= MAX_WAIT + 1


@given(st.permutations(range(8)), st.integers(0, 7))
def test_packets_that_change_places_are_played_in_their_order(order: list[int], twice: int) -> None:
    buffer = JitterBuffer()
    for number in range(-2, 0):
        one = packet(number + 20)
        buffer.push(one.ssrc, one.sequence, one.timestamp, voice(0))
    for number in [*order, order[twice]]:
        one = packet(number + 20)
        buffer.push(one.ssrc, one.sequence, one.timestamp, voice(number + 1))
    played = [buffer.pop() for _ in range(12)]
    frames = [frame[0] - 1 for frame, arrived in played if arrived]
    assert frames[-8:] == list(range(1, 9))


@given(st.lists(st.integers(0, 99), max_size=15, unique=True))
def test_single_losses_are_covered_and_move_nothing(missing: list[int]) -> None:
    lost = {number for number in missing if number not in (0, 99)}
    played = heard((packet(number) for number in range(100) if number not in lost), 100)
    for tick, frame in enumerate(played[START_WAIT:]):
        if frame is not None:
            assert frame == tick % LOUD
    assert sum(frame is not None for frame in played) >= 98 - len(lost) - 2 * START_WAIT


def test_a_loss_is_covered_by_what_was_heard_last_ever_fainter_then_by_silence() -> None:
    buffer, out = JitterBuffer(), []
    for number in range(10):
        one = packet(number)
        if number < 5:
            buffer.push(1, one.sequence, one.timestamp, b"\x10" * 160)
        out.append(buffer.pop())
    assert [arrived for _, arrived in out] == [False] * 2 + [True] * 5 + [False] * 3
    levels = [abs(int(np.frombuffer(mulaw_to_linear(frame), dtype=np.int16)[0])) for frame, _ in out[6:]]
    assert levels[0] > levels[1] > levels[2] > levels[3] > 0
    out = [buffer.pop() for _ in range(3)]
    assert out == [(SILENCE, False)] * 3


def test_a_pause_of_the_far_end_is_silence_not_a_loss() -> None:
    talk = [packet(number) for number in range(20)]
    talk += [
        Packet(number * 20.0, number, (65_530 + number - 30) & 0xFFFF, packet(number).timestamp)
        for number in range(50, 70)
    ]
    played = heard(talk, 75)
    assert played[22 + MAX_CONCEALED : 52] == [None] * (30 - MAX_CONCEALED)
    assert played[52:72] == wanted(50, 70), "after the pause all is where it was"


def test_a_short_pause_that_is_known_in_time_is_not_covered() -> None:
    buffer = JitterBuffer()
    for number, sequence in ((0, 0), (1, 1), (3, 2)):
        buffer.push(1, sequence, number * 160, b"\x10" * 160)
    out = [buffer.pop() for _ in range(START_WAIT + 4)]
    assert out[START_WAIT + 2] == (SILENCE, False)
    assert out[START_WAIT + 3] == (b"\x10" * 160, True)


def test_a_far_end_whose_timestamps_stand_still_in_a_pause_is_heard_again_at_once() -> None:
    for pause_ticks in (20, 300):
        talk = [packet(number) for number in range(20)]
        talk += [packet(number, (number + pause_ticks) * 20.0) for number in range(20, 60)]
        played = heard(talk, 62 + pause_ticks)
        assert [frame for frame in played if frame is not None] == wanted(0, 60)
        assert None not in played[20 + pause_ticks + START_WAIT : 60 + pause_ticks]


def test_a_key_between_is_no_loss() -> None:
    buffer, out = JitterBuffer(), []
    for number in range(30):
        is_key = 10 <= number < 20
        buffer.push(1, number, 1600 if is_key else number * 160, b"" if is_key else voice(number))
        out.append(buffer.pop())
    assert [arrived for _, arrived in out].count(False) == START_WAIT + 10
    assert out[15] == (SILENCE, False)


def test_another_source_begins_anew() -> None:
    first = [packet(number) for number in range(20)]
    other = [
        Packet(number * 20.0, number, (7 + number) & 0xFFFF, 99 + number * 160, ssrc=2) for number in range(20, 60)
    ]
    played = heard(first + other, 60)
    assert played[20 + START_WAIT :] == wanted(20, 60 - START_WAIT)


def test_a_sender_that_restarts_its_numbers_is_heard_again() -> None:
    first = [packet(number) for number in range(20)]
    anew = [Packet(number * 20.0, number, 30_000 + number, 5 + number * 160) for number in range(20, 60)]
    assert heard(first + anew, 60)[20 + START_WAIT :] == wanted(20, 60 - START_WAIT)


def test_packets_that_come_twice_cost_nothing() -> None:
    twice = [packet(number, number * 20.0 + late) for number in range(300) for late in (0, 150)]
    played = heard(twice, 300)
    assert gaps(played) == 0
    assert in_order(played)


@given(
    ptime=st.sampled_from([10, 20, 30, 40, 60, 100]),
    origin=st.integers(0, 2**32 - 1),
    first=st.integers(0, 65_535),
    phase=st.integers(0, 19),
)
@example(ptime=30, origin=2**32 - 100, first=65_535, phase=7)
def test_any_packet_time_is_played_whole(ptime: int, origin: int, first: int, phase: int) -> None:
    sound = np.random.default_rng(1).integers(0, 256, 8000, dtype=np.uint8).tobytes()
    size, buffer, played, sent = ptime * 8, JitterBuffer(), b"", 0
    for tick in range(CALM_TICKS - 60):
        while (sent + 1) * ptime <= tick * 20 + phase and (sent + 1) * size <= len(sound):
            piece = sound[sent * size : (sent + 1) * size]
            buffer.push(1, (first + sent) & 0xFFFF, (origin + sent * size) & 0xFFFFFFFF, piece)
            sent += 1
        played += buffer.pop()[0]
    from_start = played[played.index(sound[:160]) :]
    assert from_start.startswith(sound[: 160 * (sent * size // 160)])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 400),
            st.integers(0, 60),
            st.sampled_from([0, 0, 0, 1, 80, 160 * 60]),
            st.sampled_from([1, 1, 2]),
        ),
        max_size=80,
    ),
    st.lists(st.integers(1, 12), max_size=80),
)
@settings(max_examples=200)
def test_no_network_makes_it_fail_or_grow(packets: list[tuple[int, int, int, int]], pops: list[int]) -> None:
    buffer = JitterBuffer()
    for index, (sequence, position, shift, ssrc) in enumerate(packets):
        buffer.push(ssrc, sequence, position * 160 + shift, voice(index)[: 160 + shift])
        for _ in range(pops[index % len(pops)] - 1 if pops else 0):
            frame, _ = buffer.pop()
            assert len(frame) == 160
    left = sum(buffer.pop()[1] for _ in range(200))
    assert left <= MAX_WAIT + 2


@given(st.lists(st.integers(0, 65_535), min_size=1, max_size=50))
def test_a_number_is_new_once(numbers: list[int]) -> None:
    sequence = Sequence(numbers[0])
    for number in numbers[1:]:
        taken = sequence.take(number)
        assert sequence.take(number) is None
        assert taken is None or sequence.has(number)


def test_numbers_tell_ahead_from_behind_across_the_wrap() -> None:
    sequence = Sequence(65_534)
    assert [sequence.take(number) for number in (65_535, 1, 0, 0, 65_534, 40_000, 40_001)] == [
        1,
        2,
        -1,
        None,
        None,
        0,
        1,
    ]
    assert not sequence.has(39_999)
