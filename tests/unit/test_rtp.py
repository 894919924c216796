"""RTP headers, order, symmetric RTP, and the way from packets to frames."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lines.media.g711 import MULAW_TO_ALAW
from onhook.lines.media.latch import Latch
from onhook.lines.media.receiver import RtpReceiver
from onhook.lines.media.rtp import ReorderBuffer, RtpPacket, pack, parse

pytestmark = pytest.mark.unit

SDP_ADDRESS = ("198.51.100.9", 5004)
REAL_ADDRESS = ("203.0.113.5", 31_000)
STRANGER = ("192.0.2.66", 6666)


def test_packs_the_header_of_rfc_3550() -> None:
    packed = pack(0, 0x1234, 0x01020304, 0xAABBCCDD, b"voice", marker=True)
    assert packed == bytes.fromhex("80 80 1234 01020304 aabbccdd") + b"voice"


@given(
    st.integers(0, 127),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(),
    st.booleans(),
)
def test_what_is_packed_reads_back(
    kind: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool
) -> None:
    packed = pack(kind, sequence, timestamp, ssrc, payload, marker=marker)
    assert parse(packed) == RtpPacket(kind, marker, sequence, timestamp, ssrc, payload)


def test_strips_csrcs_the_header_extension_and_padding() -> None:
    header = bytes.fromhex("b2 08 0001 00000002 00000003")
    csrcs, extension, padding = bytes(8), bytes.fromhex("bede 0001 00000000"), b"\x00\x00\x03"
    packet = parse(header + csrcs + extension + b"voice" + padding)
    assert packet is not None
    assert (packet.payload_type, packet.payload) == (8, b"voice")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        bytes(172),
        bytes.fromhex("40 00 0001 00000002 00000003") + b"voice",
        bytes.fromhex("8f 00 0001 00000002 00000003") + b"voice",
        bytes.fromhex("90 00 0001 00000002 00000003 bede ffff"),
        bytes.fromhex("a0 00 0001 00000002 00000003") + b"voice\x00",
        bytes.fromhex("a0 00 0001 00000002 00000003") + b"voice\xff",
    ],
)
def test_what_is_no_whole_packet_is_nothing(data: bytes) -> None:
    assert parse(data) is None


@given(st.binary(max_size=200))
def test_no_datagram_crashes_the_reader(data: bytes) -> None:
    for flags in (0x80, 0x8F, 0x90, 0xA0, 0xBF):
        packet = parse(bytes([flags]) + data)
        assert packet is None or len(packet.payload) <= len(data)


def ordered(*sequences: int) -> list[int]:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    return [ready for sequence in sequences for ready in buffer.push(sequence & 0xFFFF, sequence)]


def test_packets_in_order_pass_at_once() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    assert [buffer.push(sequence, sequence) for sequence in (5, 6, 7)] == [[5], [6], [7]]


@pytest.mark.parametrize(
    ("arrived", "passed"),
    [
        ([1, 3, 2, 4], [1, 2, 3, 4]),
        ([1, 4, 3, 2, 5], [1, 2, 3, 4, 5]),
        ([1, 2, 2, 3, 3], [1, 2, 3]),
        ([1, 3, 3, 2, 3], [1, 2, 3]),
        ([1, 3, 4, 5, 6], [1, 3, 4, 5, 6]),
        ([1, 3, 4, 5, 2, 6], [1, 3, 4, 5, 6]),
        ([1, 4, 6, 7, 8], [1, 4, 6, 7, 8]),
        ([65534, 65535, 65537, 65536, 65538], [65534, 65535, 65536, 65537, 65538]),
        ([100, 99, 101], [100, 101]),
    ],
)
def test_puts_packets_in_order_and_skips_what_is_lost(arrived: list[int], passed: list[int]) -> None:
    assert ordered(*arrived) == passed


@pytest.mark.parametrize("restart", [20_000, 60_000, 0])
def test_a_restarted_sender_is_followed_at_once(restart: int) -> None:
    assert ordered(10_000, 10_001, restart, restart + 1) == [10_000, 10_001, restart, restart + 1]


@given(st.integers(0, 65535), st.integers(5, 120), st.randoms(use_true_random=False), st.floats(0, 0.3))
def test_jitter_and_loss_never_disorder_or_repeat(start: int, count: int, chance: random.Random, loss: float) -> None:
    sequences = [start + offset for offset in range(count) if offset == 0 or chance.random() >= loss]
    arrival = sorted(sequences, key=lambda sequence: sequence + (sequence > start) * chance.random() * 2)
    passed = ordered(*arrival)
    assert passed == sorted(set(passed))
    assert len(passed) >= len(sequences) - ReorderBuffer.WINDOW


@given(st.lists(st.integers(0, 65535), max_size=200))
def test_the_window_bounds_what_waits(sequences: list[int]) -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    for sequence in sequences:
        buffer.push(sequence, sequence)
        assert len(buffer._waiting) < ReorderBuffer.WINDOW


class Heard:
    """A receiver with what it handed out."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.keys: list[tuple[str, int]] = []
        self.receiver = RtpReceiver(self.frames.append, lambda digit, duration: self.keys.append((digit, duration)))

    def take(self, sequence: int, payload: bytes, payload_type: int = 0, ssrc: int = 1) -> None:
        self.receiver.receive(RtpPacket(payload_type, False, sequence, sequence * 160, ssrc, payload))


def test_frames_of_any_packet_time_come_out_as_20_ms() -> None:
    heard = Heard()
    voice = bytes(range(240)) + bytes(range(240))
    heard.take(1, voice[:240])
    heard.take(2, voice[240:])
    assert heard.frames == [voice[:160], voice[160:320], voice[320:480]]


def test_alaw_becomes_mulaw() -> None:
    heard = Heard()
    heard.take(1, (b"\x80" * 160).translate(MULAW_TO_ALAW), payload_type=8)
    assert heard.frames == [b"\x80" * 160]


def test_a_new_ssrc_starts_over() -> None:
    heard = Heard()
    heard.take(5, b"a" * 160)
    heard.take(7, b"c" * 160)
    heard.take(3, b"x" * 160, ssrc=2)
    heard.take(4, b"y" * 160, ssrc=2)
    assert heard.frames == [b"a" * 160, b"x" * 160, b"y" * 160]


def test_an_unknown_payload_is_ignored_but_keeps_its_place() -> None:
    heard = Heard()
    heard.take(1, b"a" * 160)
    heard.take(2, b"comfort noise", payload_type=13)
    heard.take(3, b"b" * 160)
    assert heard.frames == [b"a" * 160, b"b" * 160]


def latch() -> Latch:
    found = Latch()
    found.aim(SDP_ADDRESS)
    return found


def test_hears_nobody_before_an_sdp() -> None:
    assert [Latch().accepts(SDP_ADDRESS, 1) for _ in range(9)] == [False] * 9


def test_hears_the_announced_address_at_once() -> None:
    found = latch()
    assert found.accepts(SDP_ADDRESS, 1)
    assert found.destination == SDP_ADDRESS


def test_latches_to_the_real_source_after_three_packets_of_one_ssrc() -> None:
    found = latch()
    assert [found.accepts(REAL_ADDRESS, 1) for _ in range(3)] == [False, False, True]
    assert found.destination == REAL_ADDRESS


def test_changing_ssrcs_or_sources_do_not_add_up() -> None:
    found = latch()
    assert not any(found.accepts(REAL_ADDRESS, ssrc) for ssrc in range(9))
    assert not any(found.accepts(("203.0.113.5", port), 1) for port in range(9))
    assert found.destination == SDP_ADDRESS


def test_a_new_sdp_starts_the_probation_over() -> None:
    found = latch()
    assert [found.accepts(REAL_ADDRESS, 1) for _ in range(2)] == [False, False]
    found.aim(SDP_ADDRESS)
    assert [found.accepts(REAL_ADDRESS, 1) for _ in range(3)] == [False, False, True]


def test_ignores_strangers_after_the_latch() -> None:
    found = latch()
    assert [found.accepts(REAL_ADDRESS, 1) for _ in range(3)][-1]
    assert not any(found.accepts(STRANGER, 1) for _ in range(9))
    assert found.destination == REAL_ADDRESS


def test_a_stranger_who_came_first_yields_to_the_announced_address() -> None:
    found = latch()
    assert [found.accepts(STRANGER, 1) for _ in range(3)][-1]
    assert found.accepts(SDP_ADDRESS, 2)
    assert found.destination == SDP_ADDRESS
    assert not found.accepts(STRANGER, 1)


def test_a_re_invite_with_a_new_address_moves_the_stream() -> None:
    found = latch()
    assert found.accepts(SDP_ADDRESS, 1)
    found.aim(REAL_ADDRESS)
    assert found.destination == REAL_ADDRESS
    assert found.accepts(REAL_ADDRESS, 1)
    assert not any(found.accepts(SDP_ADDRESS, 1) for _ in range(9))


def test_a_re_invite_with_the_same_address_keeps_the_source_and_opens_the_latch() -> None:
    found = latch()
    assert [found.accepts(REAL_ADDRESS, 1) for _ in range(3)][-1]
    found.aim(SDP_ADDRESS)
    assert found.destination == REAL_ADDRESS
    moved = ("203.0.113.5", 32_000)
    assert [found.accepts(moved, 1) for _ in range(3)] == [False, False, True]
    assert found.destination == moved
