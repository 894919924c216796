"""Reading and writing SIP messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lines.sip.message import (
    MAX_LINES,
    MessageError,
    Request,
    Response,
    from_wire,
    new_branch,
    new_tag,
    parse,
    parse_uri,
    quote,
    respond,
    split_list,
    stamp_source,
    tag_of,
    to_wire,
    uri_of,
)

pytestmark = pytest.mark.unit

BYE = (
    b"BYE sip:onhook@192.0.2.1 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP p1.example:5060;branch=z9hG4bKa;rport, SIP/2.0/TCP p2.example;branch=z9hG4bKb\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKc\r\n"
    b"Record-Route: <sip:p1.example;lr>\r\n"
    b'From: "A, B" <sip:a@b;tag=no>;tag=far\r\n'
    b"To: <sip:c@d>;tag=near\r\n"
    b"Call-ID: 1@x\r\n"
    b"CSeq: 7 BYE\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def request(data: bytes = BYE) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def with_line(line: bytes) -> bytes:
    return BYE.replace(b"Content-Length: 0\r\n", line + b"\r\nContent-Length: 0\r\n")


def test_a_request_is_read() -> None:
    bye = request()
    assert (bye.method, bye.uri, bye.call_id) == ("BYE", "sip:onhook@192.0.2.1", "1@x")
    assert (bye.cseq.sequence, bye.cseq.method) == (7, "BYE")
    assert (bye.from_tag, bye.to_tag) == ("far", "near"), "a tag inside the URI is the URI's own"
    assert (bye.via.branch, bye.via.sent_by) == ("z9hG4bKa", "p1.example:5060")
    assert [via.split()[1].split(";")[0] for via in bye.all("Via")] == ["p1.example:5060", "p2.example", "192.0.2.9"]


def test_a_response_is_read() -> None:
    message = parse(BYE.replace(b"BYE sip:onhook@192.0.2.1 SIP/2.0", b"SIP/2.0 481 Call Does Not Exist", 1))
    assert isinstance(message, Response)
    assert (message.status, message.phrase) == (481, "Call Does Not Exist")


def test_compact_forms_and_odd_case_and_folding_are_understood() -> None:
    data = (
        b"OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bKx\r\nf: <sip:a@b>;\r\n  tag=1\r\n"
        b"T:\r\n\t<sip:c@d>\r\ni : 2@y\r\ncSEQ: 1 OPTIONS\r\nk: timer\r\nl: 0\r\n\r\n"
    )
    options = request(data)
    assert (options.from_tag, options.call_id, options.first("To")) == ("1", "2@y", "<sip:c@d>")
    assert options.tokens("Supported") == {"timer"}


def test_bare_line_feeds_and_leading_blank_lines_are_tolerated() -> None:
    assert request(b"\r\n\r\n" + BYE.replace(b"\r\n", b"\n")).call_id == "1@x"


def test_the_body_is_cut_to_its_content_length_and_must_be_there() -> None:
    assert request(BYE.replace(b"Length: 0", b"Length: 3") + b"abcdef").body == b"abc"
    with pytest.raises(MessageError, match="Content-Length"):
        parse(BYE.replace(b"Length: 0", b"Length: 7") + b"abcdef")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CSeq: 7 BYE", b"CSeq: 7 INVITE"),
        (b"CSeq: 7 BYE", b"CSeq: 2147483648 BYE"),
        (b"CSeq: 7 BYE", b"CSeq: BYE"),
        (b"Call-ID: 1@x\r\n", b""),
        (b"Call-ID: 1@x", b"Call-ID 1@x"),
        (b"Call-ID: 1@x", b"Call-ID: 1@x\rEvil: 1"),
        (b"SIP/2.0/UDP p1.example:5060", b"nonsense"),
        (b"p1.example:5060", b"p1.example:99999"),
        (b"BYE sip:onhook@192.0.2.1 SIP/2.0", b"BYE  SIP/2.0"),
        (b"BYE sip:onhook@192.0.2.1 SIP/2.0", b"SIP/2.0 99 Low"),
        (b"Content-Length: 0", b"Content-Length: -1"),
        (b"Record-Route", b"Record Route"),
    ],
)
def test_a_broken_message_is_an_error(old: bytes, new: bytes) -> None:
    with pytest.raises(MessageError):
        parse(BYE.replace(old, new, 1))


def test_a_flood_of_lines_is_an_error() -> None:
    with pytest.raises(MessageError, match="lines"):
        parse(with_line(b"\r\n".join([b"X: y"] * MAX_LINES)))


@given(st.binary(max_size=400))
def test_random_bytes_never_crash_the_parser(data: bytes) -> None:
    with pytest.raises(MessageError):
        parse(data)


@given(st.integers(0, len(BYE) - 1), st.binary(max_size=4), st.integers(0, 6))
def test_a_damaged_message_is_read_or_refused(at: int, junk: bytes, cut: int) -> None:
    try:
        message = parse(BYE[:at] + junk + BYE[at + cut :])
    except MessageError:
        return
    assert message.cseq.sequence >= 0
    assert isinstance((message.from_tag, message.to_tag, message.contact_uri, message.q850), tuple)


def test_what_was_read_is_written_again_byte_for_byte() -> None:
    odd = with_line('X-Odd: "ünïcode \\" , <" ;a=%41'.encode()).replace(b"Content-Length: 0\r\n", b"")
    assert request(odd).encode() == odd.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")


def test_a_response_copies_every_via_and_record_route_and_tags_the_to_once() -> None:
    bye = request()
    response = parse(respond(bye, 200, tag="mine").encode())
    assert response.raw("Via") == bye.raw("Via")
    assert response.raw("Record-Route") == ["<sip:p1.example;lr>"]
    assert response.to_tag == "near", "a To that has a tag keeps it"
    untagged = request(BYE.replace(b";tag=near", b""))
    assert respond(untagged, 481, tag="mine").to_tag == "mine"
    assert respond(untagged, 100, tag="mine").to_tag == ""


def test_the_source_is_written_into_the_top_via_only() -> None:
    stamped = stamp_source(request(), "198.51.100.7", 40_000)
    assert stamped.via.parameters["received"] == "198.51.100.7"
    assert stamped.via.parameters["rport"] == "40000"
    assert stamped.all("Via")[1:] == request().all("Via")[1:]


def test_a_peer_that_lies_about_its_source_is_corrected() -> None:
    lying = request(BYE.replace(b";rport,", b";received=10.0.0.1,", 1))
    stamped = stamp_source(lying, "198.51.100.7", 40_000)
    assert stamped.via.parameters == {"branch": "z9hG4bKa", "received": "198.51.100.7"}


def test_lists_split_outside_quotes_and_brackets_only() -> None:
    assert split_list('"a, \\", b" <sip:x,y@z>;p=1, <sip:q>') == ['"a, \\", b" <sip:x,y@z>;p=1', "<sip:q>"]


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        ('"<x>" <sip:a@b;transport=tcp>;expires=3', "sip:a@b;transport=tcp"),
        ("sip:a@b;tag=1", "sip:a@b"),
        ("<sip:a@b", None),
        ("<>", None),
        ("", None),
        ('<sip:a"b@c>', None),
    ],
)
def test_the_uri_of_an_address(address: str, uri: str | None) -> None:
    assert uri_of(address) == uri


@pytest.mark.parametrize(
    "uri", ["tel:+1202", "sips:a@b", "sip:a@b:0", "sip:a@b:70000", "sip:a b", "", "sip:a@b;self=1"]
)
def test_a_uri_that_we_cannot_reach_is_none(uri: str) -> None:
    assert parse_uri(uri) is None


def test_tags_are_found_whatever_surrounds_them() -> None:
    assert tag_of('"tag=x" <sip:a;tag=y>; TAG = z ;b') == "z"
    assert tag_of("<sip:a>") == ""


def test_people_s_text_goes_as_utf8_and_never_splits_a_header() -> None:
    assert to_wire("Zoë").encode("latin-1") == "Zoë".encode()
    assert from_wire(to_wire("Zoë 中")) == "Zoë 中"
    for evil in ("a\r\nBye: 1", "a\nb", "a\x00b", "a\x7f"):
        with pytest.raises(ValueError, match="control"):
            to_wire(evil)
    assert quote('a"b\\') == '"a\\"b\\\\"'


def test_the_q850_cause_of_a_reason_is_found() -> None:
    assert request(with_line(b'Reason: SIP;cause=200;text="x", Q.850 ;cause=17 ;text="busy"')).q850 == 17
    assert request().q850 is None


def test_branches_and_tags_do_not_repeat() -> None:
    assert len({new_branch() for _ in range(1000)}) == len({new_tag() for _ in range(1000)}) == 1000
    assert new_branch().startswith("z9hG4bK")
