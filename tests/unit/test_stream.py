"""Cutting a TCP stream into SIP messages."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lines.sip.stream import MessageStream, StreamError

pytestmark = pytest.mark.unit


def message(body: bytes = b"", header: bytes = b"Content-Length: %d") -> bytes:
    return b"OPTIONS sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n" + header % len(body) + b"\r\nTo: <sip:a@b>\r\n\r\n" + body


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.data())
def test_messages_come_out_whole_however_the_stream_is_cut(bodies: list[bytes], data: st.DataObject) -> None:
    wire = b"\r\n\r\n".join(message(body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    stream = MessageStream()
    received: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        received += stream.feed(wire[start:end])
    assert received == [message(body) for body in bodies]


def test_one_byte_at_a_time_is_enough() -> None:
    stream = MessageStream()
    wire = message(b"v=0\r\n\r\n")
    received = [found for byte in wire for found in stream.feed(bytes([byte]))]
    assert received == [wire]


@pytest.mark.parametrize("header", [b"l: %d", b"L:%d", b"CONTENT-LENGTH : %d", b"Content-Length:\r\n  %d  "])
def test_reads_every_legal_spelling_of_the_length(header: bytes) -> None:
    wire = message(b"12345", header)
    assert MessageStream().feed(wire + message()) == [wire, message()]


def test_swallows_keep_alives() -> None:
    stream = MessageStream()
    assert stream.feed(b"\r\n\r\n") == []
    assert stream.feed(b"\r") == []
    assert stream.feed(b"\n" + message() + b"\r\n") == [message()]


def test_a_length_inside_the_body_or_another_header_does_not_count() -> None:
    body = b"\r\nContent-Length: 7\r\n"
    wire = message(body)
    assert MessageStream().feed(wire) == [wire]
    odd = b"OPTIONS sip:a@b SIP/2.0\r\nX-Content-Length: 9\r\nl: 0\r\n\r\n"
    assert MessageStream().feed(odd) == [odd]


@pytest.mark.parametrize("header", [b"X: %d", b"l: -%d", b"l: x%d", b"l: 1\r\nContent-Length: %d", b"l: 99999%d"])
def test_a_message_without_one_readable_length_is_an_error(header: bytes) -> None:
    with pytest.raises(StreamError):
        MessageStream().feed(message(b"12", header))


def test_an_endless_header_is_an_error() -> None:
    stream = MessageStream()
    line = b"X: " + b"a" * 1000 + b"\r\n"
    assert stream.feed(line * 65) == []
    with pytest.raises(StreamError, match="header"):
        stream.feed(line)


def test_a_huge_body_is_an_error_before_it_arrives() -> None:
    with pytest.raises(StreamError, match="body"):
        MessageStream().feed(b"OPTIONS sip:a@b SIP/2.0\r\nl: 65537\r\n\r\n")


@given(st.binary(max_size=400))
def test_bytes_come_out_as_they_went_in_or_not_at_all(data: bytes) -> None:
    with contextlib.suppress(StreamError):
        assert b"".join(MessageStream().feed(data)) in data
