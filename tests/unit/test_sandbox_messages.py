"""How the sandbox reads SIP and SDP, and when it sends again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.lines.sandbox.carrier import SandboxCarrier
from onhook.lines.sandbox.media import Audio, UnusableSdp, answer_to, read_sdp, write_sdp
from onhook.lines.sandbox.transactions import Resender
from onhook.lines.sandbox.uas import (
    MalformedMessage,
    Request,
    Response,
    parameter,
    parse,
    place_of,
    reply_address,
    response,
    stamp,
    transaction_key,
    uri_of,
    user_of,
)
from onhook.testing.clock import ManualClock

pytestmark = pytest.mark.unit

INVITE = (
    b"INVITE sip:+12025550100;npdi@127.0.0.1:5070 SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 10.0.0.1:5062 ;rport;branch=z9hG4bKa, SIP / 2.0 / UDP 10.0.0.2;branch=z9hG4bKb\r\n"
    b'f: "Smith, \\"J\\"" <sip:j@10.0.0.1;x=1>;tag=abc\r\n'
    b"t: <sip:+12025550100@127.0.0.1>\r\n"
    b"Call-ID: one\r\n"
    b"CSeq: 7\r\n INVITE\r\n"
    b"Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n"
    b"Record-Route: <sip:p3;lr>\r\n"
    b"\r\nbody"
)


def request(data: bytes = INVITE) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def test_compact_forms_folded_lines_and_comma_lists_are_read() -> None:
    message = request()
    assert (message.method, message.cseq, message.cseq_method, message.call_id) == ("INVITE", 7, "INVITE", "one")
    assert message.branch == "z9hG4bKa"
    assert message.values("Record-Route") == ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"]
    assert message.values("From") == ['"Smith, \\"J\\"" <sip:j@10.0.0.1;x=1>;tag=abc']
    assert message.body == b"body"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"INVITE sip:x\r\n\r\n",
        b"INVITE sip:x HTTP/1.1\r\n\r\n",
        b"SIP/2.0 0x0 OK\r\n\r\n",
        INVITE.replace(b"CSeq: 7", b"CSeq: x"),
        INVITE.replace(b"Call-ID", b"Coil-ID"),
        INVITE.replace(b"t: ", b"no colon "),
        INVITE.replace(b"SIP/2.0/UDP", b"nonsense"),
        INVITE.replace(b":5062", b":99999"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse(data)


def test_the_topmost_via_gets_rport_and_received() -> None:
    stamped = stamp(request(), ("127.0.0.1", 4000))
    top, behind = stamped.values("Via")
    assert top == "SIP/2.0/UDP 10.0.0.1:5062 ;rport=4000;branch=z9hG4bKa;received=127.0.0.1"
    assert behind.endswith("z9hG4bKb")
    assert reply_address(stamped, ("127.0.0.1", 4000)) == ("127.0.0.1", 4000)


def test_without_rport_the_answer_goes_to_the_port_of_the_via() -> None:
    stamped = stamp(request(INVITE.replace(b";rport", b"")), ("127.0.0.1", 4000))
    assert reply_address(stamped, ("127.0.0.1", 4000)) == ("127.0.0.1", 5062)


def test_an_ack_and_its_invite_share_a_key_and_a_cancel_does_not() -> None:
    invite = transaction_key(request())
    assert transaction_key(request(INVITE.replace(b"INVITE", b"ACK"))) == invite
    assert transaction_key(request(INVITE.replace(b"INVITE", b"CANCEL"))) != invite


def test_a_response_copies_what_it_must_and_adds_a_tag_once() -> None:
    ok = response(request(), 200, tag="far")
    assert ok.to_tag == "far"
    again = parse(ok.encode())
    assert isinstance(again, Response)
    assert again.values("Via") == request().values("Via")
    assert again.header("From") == request().header("From")
    tagged = request(INVITE.replace(b"127.0.0.1>\r\n", b"127.0.0.1>;tag=known\r\n"))
    assert response(tagged, 200, tag="far").to_tag == "known"


def test_parameters_inside_brackets_and_quotes_do_not_count() -> None:
    assert parameter('";tag=1" <sip:a;tag=2>;tag=3', "tag") == "3"
    assert parameter("<sip:a;tag=2>", "tag") is None
    assert parameter("x;rport ;a=b", "rport") == ""


def test_users_and_places_are_taken_out_of_uris() -> None:
    assert user_of("sip:+120;npdi@h:1") == "+120"
    assert user_of("sip:h") == ""
    assert uri_of('"a" <sip:x@y;lr>;q=1') == "sip:x@y;lr"
    assert uri_of("sip:x@y;q=1") == "sip:x@y"
    nearby = ("127.0.0.1", 1)
    assert place_of("sip:u@127.0.0.9:5080;lr", nearby) == ("127.0.0.9", 5080)
    assert place_of("sip:127.0.0.9", nearby) == ("127.0.0.9", 5060)
    for elsewhere in ("sip:u@host.example", "sip:u@999.0.0.1", "sip:u@127.0.0.1:70000", "tel:+1"):
        assert place_of(elsewhere, nearby) == nearby


def test_an_sdp_answer_mirrors_codec_events_and_direction() -> None:
    offer = read_sdp(write_sdp(Audio("127.0.0.1", 4000, 8, 96, "sendonly"), 1))
    assert offer == Audio("127.0.0.1", 4000, 8, 96, "sendonly")
    assert answer_to(offer, "127.0.0.2", 5000) == Audio("127.0.0.2", 5000, 8, 96, "recvonly")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"c=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 9\r\n",
        b"m=audio 4000 RTP/AVP 0\r\n",
        b"c=IN IP4 999.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"c=IN IP4 127.0.0.1\r\nm=audio 70000 RTP/AVP 0\r\n",
    ],
)
def test_sdp_without_one_g711_stream_is_unusable(body: bytes) -> None:
    with pytest.raises(UnusableSdp):
        read_sdp(body)


def test_sending_again_doubles_up_to_t2_and_gives_up_after_64_t1() -> None:
    clock = ManualClock()
    sent: list[float] = []
    gave_up: list[float] = []
    Resender(clock, lambda: sent.append(clock.monotonic()), lambda: gave_up.append(clock.monotonic()))
    clock.advance(100)
    assert sent == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert gave_up == [32.0]


def test_a_stopped_resender_sends_nothing_more() -> None:
    clock = ManualClock()
    sent: list[float] = []
    resender = Resender(clock, lambda: sent.append(clock.monotonic()), lambda: None)
    clock.advance(0.5)
    resender.stop()
    clock.advance(100)
    assert sent == [0.5]
    assert clock.pending == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "::1"])
def test_a_host_that_no_contact_can_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="not an IPv4 address"):
        SandboxCarrier(host)


@settings(max_examples=300, deadline=None)
@given(st.data())
async def test_no_mutation_of_a_message_harms_the_carrier(data: st.DataObject) -> None:
    clock = ManualClock()
    carrier = SandboxCarrier(clock=clock)
    offered = INVITE.replace(b"body", write_sdp(Audio("127.0.0.1", 4000), 1))
    for method in (b"INVITE", b"INVITE", b"CANCEL", b"ACK", b"BYE"):
        tags = [dialog.tag for call in carrier.calls for dialog in call.dialogs if method in (b"ACK", b"BYE")]
        to = f"127.0.0.1>;tag={tags[0]}\r\n" if tags else "127.0.0.1>\r\n"
        message = bytearray(offered.replace(b"INVITE", method).replace(b"127.0.0.1>\r\n", to.encode()))
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(message) - 1))
            message[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        carrier.receive(bytes(message), ("127.0.0.1", 4000))
        clock.advance(0.3)
    await carrier.close()
    assert carrier.live_dialogs() == 0
