"""Offers, answers, and reading what peers send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lines.sip.sdp import LocalMedia, RemoteMedia, SdpError, answer, offer, parse

pytestmark = pytest.mark.unit

LOCAL = LocalMedia("192.0.2.1", 4000, session_id=7, version=1)


def sdp(*lines: str, connection: str | None = "IN IP4 198.51.100.9") -> bytes:
    head = ["v=0", "o=- 1 1 IN IP4 198.51.100.9", "s=-", *([f"c={connection}"] if connection else []), "t=0 0"]
    return "\r\n".join([*head, *lines, ""]).encode()


AUDIO = "m=audio 5004 RTP/AVP 0 8 101"


def test_our_offer_reads_back_as_it_was_meant() -> None:
    remote = parse(offer(LOCAL))
    assert (remote.host, remote.port, remote.payload_type) == ("192.0.2.1", 4000, 0)
    assert (remote.dtmf_payload, remote.direction, remote.ptime) == (101, "sendrecv", 20)


def test_our_offer_is_exactly_this() -> None:
    assert offer(LOCAL).decode().split("\r\n") == [
        "v=0",
        "o=onhook 7 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 4000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]


def test_reads_an_offer_with_static_payloads_only() -> None:
    remote = parse(sdp("m=audio 5004 RTP/AVP 8 0"))
    assert (remote.payload_type, remote.dtmf_payload) == (8, None)


@pytest.mark.parametrize(("formats", "chosen"), [("0 8", 0), ("8 0", 8), ("18 8 0", 8), ("96 0", 0)])
def test_takes_the_peers_first_choice_of_our_codecs(formats: str, chosen: int) -> None:
    assert parse(sdp(f"m=audio 5004 RTP/AVP {formats}", "a=rtpmap:96 opus/48000/2")).payload_type == chosen


def test_a_static_number_that_is_mapped_to_something_else_is_not_ours() -> None:
    remote = parse(sdp("m=audio 5004 RTP/AVP 0 8", "a=rtpmap:0 GSM/8000", "a=rtpmap:8 pcma/8000/1"))
    assert remote.payload_type == 8


def test_finds_telephone_event_under_any_number_but_only_at_8000() -> None:
    lines = ("m=audio 5004 RTP/AVP 0 96 97", "a=rtpmap:96 telephone-event/48000", "a=rtpmap:97 Telephone-Event/8000")
    assert parse(sdp(*lines)).dtmf_payload == 97


def test_the_address_of_the_stream_wins_over_that_of_the_session() -> None:
    assert parse(sdp(AUDIO, "c=IN IP4 203.0.113.5")).host == "203.0.113.5"
    assert parse(sdp(AUDIO, "c=IN IP4 203.0.113.5", connection=None)).host == "203.0.113.5"


def test_ipv6_is_read_and_written() -> None:
    assert parse(sdp(AUDIO, connection="IN IP6 2001:db8::9")).host == "2001:db8::9"
    assert b"c=IN IP6 2001:db8::1\r\n" in offer(LocalMedia("2001:db8::1", 4000, 7, 1))


@pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly", "inactive"])
def test_reads_the_direction_of_the_stream_before_that_of_the_session(direction: str) -> None:
    assert parse(sdp(AUDIO, f"a={direction}")).direction == direction
    assert parse(sdp(f"a={direction}", AUDIO)).direction == direction
    assert parse(sdp("a=inactive", AUDIO, f"a={direction}")).direction == direction


@pytest.mark.parametrize(
    ("line", "direction"), [("a=sendrecv", "sendonly"), ("a=recvonly", "inactive"), ("a=inactive", "inactive")]
)
def test_an_unspecified_address_is_a_hold(line: str, direction: str) -> None:
    remote = parse(sdp(AUDIO, line, connection="IN IP4 0.0.0.0"))
    assert remote.direction == direction
    assert not remote.listens


@pytest.mark.parametrize(
    ("theirs", "ours", "answered"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "recvonly", "inactive"),
    ],
)
def test_an_answer_mirrors_the_direction(theirs: str, ours: str, answered: str) -> None:
    local = LocalMedia("192.0.2.1", 4000, 7, 2, direction=ours)
    assert parse(answer(parse(sdp(AUDIO, f"a={theirs}")), local)).direction == answered


def test_an_answer_names_the_one_chosen_codec_and_the_peers_key_number() -> None:
    remote = parse(sdp("m=audio 5004 RTP/AVP 18 8 0 97", "a=rtpmap:97 telephone-event/8000"))
    assert b"m=audio 4000 RTP/AVP 8 97\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:97 " in answer(remote, LOCAL)


def test_an_answer_refuses_the_other_streams_in_their_places() -> None:
    body = sdp(
        "m=video 6000 RTP/AVP 31", "m=audio 0 RTP/AVP 0", AUDIO, "m=audio 7000 RTP/SAVP 0", "m=image 9 udptl t38"
    )
    lines = [line for line in answer(parse(body), LOCAL).decode().split("\r\n") if line.startswith("m=")]
    assert lines == [
        "m=video 0 RTP/AVP 31",
        "m=audio 0 RTP/AVP 0",
        "m=audio 4000 RTP/AVP 0",
        "m=audio 0 RTP/SAVP 0",
        "m=image 0 udptl t38",
    ]


def test_an_answer_repeats_the_time_of_the_offer() -> None:
    body = sdp(AUDIO).replace(b"t=0 0", b"t=3034423619 3042462419")
    assert b"\r\nt=3034423619 3042462419\r\n" in answer(parse(body), LOCAL)


def test_an_answer_needs_no_more_than_the_chosen_stream() -> None:
    assert b"m=audio 4000 RTP/AVP 8\r\n" in answer(RemoteMedia("198.51.100.9", 5004, 8), LOCAL)


@pytest.mark.parametrize(("line", "expected"), [("a=ptime:30", 30), ("a=ptime:0", 20), ("a=ptime:x", 20), ("a=x", 20)])
def test_reads_the_packet_time(line: str, expected: int) -> None:
    assert parse(sdp(AUDIO, line)).ptime == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"hello",
        sdp(),
        sdp("m=audio 0 RTP/AVP 0"),
        sdp("m=audio 5004 RTP/AVP 18 96"),
        sdp("m=audio 5004 RTP/SAVP 0"),
        sdp("m=video 5004 RTP/AVP 0"),
        sdp("m=audio"),
        sdp("m=audio x RTP/AVP 0"),
        sdp("m=audio 99999 RTP/AVP 0"),
        sdp(AUDIO, connection=None),
        sdp(AUDIO, connection="IN IP4"),
        sdp(AUDIO, connection="IN IP4 media.example.com"),
        sdp(AUDIO, connection="IN IP4 300.1.1.1"),
    ],
)
def test_an_unusable_description_is_an_sdp_error(body: bytes) -> None:
    with pytest.raises(SdpError):
        parse(body)


def test_bare_line_feeds_are_tolerated() -> None:
    assert parse(sdp(AUDIO).replace(b"\r\n", b"\n")).port == 5004


_LINE = st.sampled_from(["m=audio 5004 RTP/AVP 0", "c=IN IP4 1.2.3.4", "a=rtpmap:0 PCMU/8000", "a=sendonly", "t=1 2"])


@given(st.lists(_LINE | st.text(max_size=30), max_size=12))
def test_no_description_crashes_the_reader(lines: list[str]) -> None:
    try:
        remote = parse("\r\n".join(["v=0", *lines]).encode("utf-8", "replace"))
    except SdpError:
        return
    assert parse(answer(remote, LOCAL)).port == LOCAL.port


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(body: bytes) -> None:
    with pytest.raises(SdpError):
        parse(b"\x00" + body)
