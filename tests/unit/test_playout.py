"""The play-out queue, and the packets it becomes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lines.media.g711 import MULAW_TO_ALAW
from onhook.lines.media.playout import MAX_QUEUED_FRAMES, Playout
from onhook.lines.media.sender import RtpSender
from onhook.lines.media.session import SILENCE

pytestmark = pytest.mark.unit


@given(st.lists(st.binary(max_size=500), max_size=12))
def test_what_is_played_in_pieces_comes_out_whole_then_silence(pieces: list[bytes]) -> None:
    playout = Playout()
    for piece in pieces:
        playout.play(piece)
    total = b"".join(pieces)
    frames = [playout.next() for _ in range(-(-len(total) // 160))]
    assert all(isinstance(frame, bytes) and len(frame) == 160 for frame in frames)
    assert b"".join(frame for frame in frames if isinstance(frame, bytes)) == total.ljust(len(frames) * 160, b"\xff")
    assert playout.next() == SILENCE
    assert playout.queued_ms == 0


def test_tells_how_long_the_queue_will_take() -> None:
    playout = Playout()
    playout.play(bytes(161))
    assert playout.queued_ms == 40
    playout.press("12")
    assert playout.queued_ms == 520
    sender = RtpSender(playout)
    sender.speak(0, 101)
    key, pause = [101] * 10, [0] * 2
    assert [sent_kind(sender.next_packet()) for _ in range(520 // 20)] == [0, 0, *key, *pause, *key, *pause]
    assert playout.queued_ms == 0


def sent_kind(packet: bytes) -> int:
    return packet[1] & 0x7F


def test_a_flush_tells_what_it_dropped_and_keeps_the_keys() -> None:
    playout = Playout()
    playout.play(bytes(1600))
    playout.press("5")
    playout.play(bytes(170))
    assert playout.flush() == 10 * 20 + 2 * 20
    assert playout.next() == "5"
    assert playout.next() == SILENCE
    assert playout.flush() == 0


def test_an_endless_talker_cannot_fill_the_memory() -> None:
    playout = Playout()
    for _ in range(20):
        playout.play(bytes(160 * 1000))
    assert playout.queued_ms == MAX_QUEUED_FRAMES * 20
    assert playout.flush() == MAX_QUEUED_FRAMES * 20


def header(packet: bytes) -> tuple[int, bool, int, int]:
    _, kind, sequence, timestamp, _ = struct.unpack("!BBHII", packet[:12])
    return kind & 0x7F, kind > 0x7F, sequence, timestamp


def test_each_tick_is_one_packet_of_silence_when_there_is_nothing_to_say() -> None:
    sender = RtpSender(Playout())
    packets = [sender.next_packet() for _ in range(4)]
    assert [packet[12:] for packet in packets] == [SILENCE] * 4
    headers = [header(packet) for packet in packets]
    first = headers[0]
    assert [kind for kind, *_ in headers] == [0] * 4
    assert [marker for _, marker, *_ in headers] == [True, False, False, False]
    assert [sequence for _, _, sequence, _ in headers] == [(first[2] + step) & 0xFFFF for step in range(4)]
    assert [timestamp for *_, timestamp in headers] == [(first[3] + 160 * step) & 0xFFFFFFFF for step in range(4)]
    assert len({packet[8:12] for packet in packets}) == 1


def test_skipped_time_moves_the_timestamp_and_marks_the_next_packet() -> None:
    sender = RtpSender(Playout())
    before = header(sender.next_packet())
    sender.skip(25)
    after = header(sender.next_packet())
    assert after[1]
    assert after[2] == (before[2] + 1) & 0xFFFF
    assert after[3] == (before[3] + 26 * 160) & 0xFFFFFFFF


def test_numbers_wrap_around() -> None:
    sender = RtpSender(Playout())
    headers = [header(sender.next_packet()) for _ in range(66_000)]
    assert len({sequence for _, _, sequence, _ in headers}) == 65_536
    sender.skip(2**32 // 160)
    assert 0 <= header(sender.next_packet())[3] < 2**32


def test_a_peer_with_alaw_gets_alaw() -> None:
    playout = Playout()
    sender = RtpSender(playout)
    sender.speak(8, None)
    playout.play(b"\x80" * 160)
    packets = [sender.next_packet(), sender.next_packet()]
    assert [sent_kind(packet) for packet in packets] == [8, 8]
    assert [packet[12:] for packet in packets] == [(b"\x80" * 160).translate(MULAW_TO_ALAW), b"\xd5" * 160]
