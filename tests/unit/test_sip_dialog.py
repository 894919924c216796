"""Dialogs: route sets, targets, sequence numbers."""

import pytest

from onhook.lines.sip.address import Destination, destination_of
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.message import Request, Response, parse
from tests.unit.sip_world import FAR, reply_to

pytestmark = pytest.mark.unit


def as_request(message: Request | Response) -> Request:
    assert isinstance(message, Request)
    return message


INVITE = as_request(
    parse(
        b"INVITE sip:+1202@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1\r\n"
        b"From: <sip:me@192.0.2.9>;tag=us\r\nTo: <sip:+1202@192.0.2.9>\r\nCall-ID: 1@x\r\nCSeq: 3 INVITE\r\n"
        b"Contact: <sip:onhook@192.0.2.1:5070>\r\nAuthorization: Digest x\r\n\r\n"
    )
)


def dialog(contact: str = "", record_route: str = "") -> Dialog:
    answer = parse(reply_to(INVITE, 200, {"Record-Route": record_route} if record_route else {}, contact=contact))
    assert isinstance(answer, Response)
    return Dialog.from_answer(INVITE, answer, FAR)


def numeric(destination: Destination) -> Destination | None:
    return destination if destination.is_numeric else None


def test_requests_go_to_the_contact_with_a_growing_cseq_and_new_branches() -> None:
    one = dialog(contact="<sip:far@198.51.100.1:5090;ob;x=a+b>")
    first, second = one.request("BYE"), one.request("BYE")
    assert first.uri == "sip:far@198.51.100.1:5090;ob;x=a+b", "the target stays as it was written"
    assert (first.cseq.sequence, second.cseq.sequence) == (4, 5)
    assert first.via.branch != second.via.branch
    assert (first.from_tag, first.to_tag, first.call_id) == ("us", "far", "1@x")
    assert first.first("Max-Forwards") == "70"
    assert one.next_hop(numeric) == Destination("udp", "198.51.100.1", 5090)


def test_the_record_route_reversed_is_the_route_set() -> None:
    one = dialog(record_route="<sip:198.51.100.2;lr>, <sip:198.51.100.3:5061;lr>")
    bye = one.request("BYE")
    assert bye.uri == "sip:far@192.0.2.9:5060"
    assert bye.raw("Route") == ["<sip:198.51.100.3:5061;lr>", "<sip:198.51.100.2;lr>"]
    assert one.next_hop(numeric) == Destination("udp", "198.51.100.3", 5061)


def test_a_strict_router_gets_its_own_uri_as_request_uri_and_the_target_last() -> None:
    one = dialog(record_route="<sip:198.51.100.2;lr>, <sip:198.51.100.3;method=INVITE?h=1>")
    bye = one.request("BYE")
    assert bye.uri == "sip:198.51.100.3", "a Request-URI has neither headers nor a method (RFC 3261 19.1.1)"
    assert bye.raw("Route") == ["<sip:198.51.100.2;lr>", "<sip:far@192.0.2.9:5060>"]


def test_the_ack_of_a_2xx_has_the_invites_number_and_credentials_and_its_own_branch() -> None:
    one = dialog()
    ack = one.ack(INVITE)
    assert (ack.method, ack.cseq.sequence, ack.first("Authorization")) == ("ACK", 3, "Digest x")
    assert ack.via.branch != INVITE.via.branch
    assert one.request("BYE").cseq.sequence == 4, "an ACK uses up no number"


def test_a_name_that_cannot_be_resolved_falls_back_to_where_the_2xx_came_from() -> None:
    one = dialog(contact="<sip:far@gw.example>")
    assert one.next_hop(numeric) == FAR
    assert one.next_hop(lambda hop: Destination(hop.transport, "198.51.100.9", hop.port)).host == "198.51.100.9"


def test_the_transport_of_the_next_hop_is_in_the_via() -> None:
    one = dialog(contact="<sip:far@198.51.100.1;transport=TCP>")
    assert one.request("BYE").via.transport == "TCP"
    assert one.next_hop(numeric) == Destination("tcp", "198.51.100.1", 5060)


@pytest.mark.parametrize("contact", ["<sips:far@198.51.100.1>", "<tel:+1202>", "nonsense", "<sip:x@y;transport=sctp>"])
def test_a_contact_that_we_cannot_reach_still_gets_its_bye_by_the_way_back(contact: str) -> None:
    one = dialog(contact=contact)
    assert one.next_hop(numeric) == FAR
    assert one.request("BYE").encode().startswith(b"BYE ")


def test_a_lower_number_of_the_far_end_is_refused_a_higher_one_taken() -> None:
    one = dialog()

    def bye(cseq: int) -> Request:
        return as_request(parse(INVITE.encode().replace(b"INVITE", b"BYE").replace(b"CSeq: 3", b"CSeq: %d" % cseq)))

    assert one.accepts(bye(10))
    assert one.accepts(bye(12))
    assert not one.accepts(bye(11))


def test_a_target_refresh_takes_only_a_usable_new_contact() -> None:
    one = dialog()
    answers = [
        parse(reply_to(INVITE, 200, contact=c)) for c in ("<sip:far@192.0.2.9:5060>", "<mailto:x>", "<sip:n@192.0.2.8>")
    ]
    assert [one.refresh_target(answer) for answer in answers] == [False, False, True]
    assert one.request("BYE").uri == "sip:n@192.0.2.8"


def test_uris_name_their_hop() -> None:
    assert destination_of("sip:a@[2001:db8::1]:5062;transport=tcp") == Destination("tcp", "2001:db8::1", 5062)
    assert destination_of("sip:a@h", "tcp") == Destination("tcp", "h", 5060)
    assert destination_of("sip:a@h;transport=tls") is None
