"""How our INVITE, its copies, its CANCEL and our reasons look."""

from collections.abc import Mapping

import pytest

from onhook.calls.causes import Cause, Reason
from onhook.lines.engine import DialOrder, Trunk
from onhook.lines.sip.credentials import Account
from onhook.lines.sip.invite import build_cancel, build_invite, reissue, trunk_destination, user_part
from onhook.lines.sip.message import Request, Response, parse
from onhook.lines.sip.reason import reason_headers
from tests.unit.sip_world import NOTHING, STOP, reply_to

pytestmark = pytest.mark.unit

CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth"'


def invite(trunk: Trunk | None = None, headers: Mapping[str, str] = NOTHING) -> Request:
    order = DialOrder(
        "c1", "id@x", trunk or Trunk("t", "sip:gw.example:5080"), "+12025550100", "+12025550123", dict(headers)
    )
    built = build_invite(
        order, tag="us", sent_by="192.0.2.1:5070", transport="udp", user_agent="onhook/test", sdp=b"v=0"
    )
    message = parse(built.encode())
    assert isinstance(message, Request)
    return message


def refusal(request: Request, status: int, **headers: str) -> Response:
    message = parse(reply_to(request, status, headers))
    assert isinstance(message, Response)
    return message


def test_an_invite_names_both_sides_and_offers_a_session_timer() -> None:
    one = invite()
    assert one.uri == "sip:+12025550123@gw.example:5080"
    assert one.first("From") == "<sip:+12025550100@gw.example>;tag=us"
    assert one.first("To") == "<sip:+12025550123@gw.example:5080>"
    assert (one.call_id, str(one.cseq), one.first("Max-Forwards")) == ("id@x", "1 INVITE", "70")
    assert one.contact_uri == "sip:onhook@192.0.2.1:5070"
    assert (one.first("Session-Expires"), one.tokens("Supported")) == ("1800", {"timer"})
    assert "update" in one.tokens("Allow")
    assert one.first("P-Asserted-Identity") is None
    assert one.is_sdp


@pytest.mark.parametrize(
    ("number_format", "written"), [("e164", "+442071838750"), ("plain", "442071838750"), ("national", "2071838750")]
)
def test_numbers_are_written_as_the_trunk_wants_them(number_format: str, written: str) -> None:
    assert user_part("+442071838750", number_format) == written


def test_what_is_no_number_cannot_break_the_uri() -> None:
    assert user_part("a b>\r\n@x", "plain") == "a%20b%3E%0D%0A%40x"
    assert user_part("anonymous", "national") == "anonymous"


def test_the_trunk_s_identity_fields_are_used() -> None:
    trunk = Trunk("t", "sip:gw.example", from_user="acct7", from_domain="corp.example", identity=True)
    one = invite(trunk)
    assert one.first("From") == "<sip:acct7@corp.example>;tag=us"
    assert one.first("P-Asserted-Identity") == "<sip:+12025550100@corp.example>"


def test_a_trunk_without_session_timer_offers_none() -> None:
    assert invite(Trunk("t", "sip:gw.example", session_expires_s=0)).first("Session-Expires") is None


@pytest.mark.parametrize("uri", ["sips:gw", "gw.example", "sip:gw;transport=ws", ""])
def test_a_trunk_uri_that_we_cannot_use_is_an_error(uri: str) -> None:
    with pytest.raises(ValueError, match="trunk"):
        trunk_destination(Trunk("t", uri))


def test_custom_headers_go_along_in_utf8() -> None:
    assert b"X-Name: Zo\xc3\xab\r\n" in invite(headers={"X-Name": "Zoë"}).encode()


@pytest.mark.parametrize(
    "headers",
    [{"X": "a\r\nBye: 1"}, {"Via": "x"}, {"call-id": "x"}, {"i": "x"}, {"X Y": "1"}, {"": "1"}, {"X\r\n": "1"}],
)
def test_a_header_that_would_break_or_replace_ours_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        invite(headers=headers)


def test_a_reissued_invite_has_the_next_number_a_new_branch_and_fresh_credentials() -> None:
    first = reissue(invite(), authorization=[("Authorization", "old")])
    second = reissue(first, authorization=[("Proxy-Authorization", "new")], session=[("Session-Expires", "3600")])
    assert (second.cseq.sequence, second.call_id, second.from_tag) == (3, "id@x", "us")
    assert len({invite().via.branch, first.via.branch, second.via.branch}) == 3
    assert (second.first("Authorization"), second.first("Proxy-Authorization")) == (None, "new")
    assert second.raw("Session-Expires") == ["3600"]


def test_a_cancel_copies_what_identifies_the_invite() -> None:
    one = invite()
    cancel = build_cancel(one, reason_headers(STOP, "CANCEL", send_text=False))
    assert (cancel.uri, cancel.call_id, str(cancel.cseq)) == (one.uri, one.call_id, "1 CANCEL")
    assert cancel.raw("Via") == one.raw("Via")
    assert (cancel.first("To"), cancel.first("From")) == (one.first("To"), one.first("From"))
    assert cancel.raw("Reason") == ["Q.850;cause=16"]


def test_the_reason_carries_text_only_when_asked_quoted_and_short() -> None:
    cause = Cause("api_key:1", Reason.API_STOP, text='say "no" ' + "x" * 100)
    assert reason_headers(cause, "BYE", send_text=False) == [("Reason", "Q.850;cause=16")]
    number, text = reason_headers(cause, "BYE", send_text=True)
    assert number == ("Reason", "Q.850;cause=16")
    assert text[1].startswith('SIP;cause=200;text="say \\"no\\" xxx')
    assert len(text[1]) == len('SIP;cause=200;text=""') + 64 + len("\\\\")


def test_a_text_with_line_breaks_is_left_out_and_the_number_stays() -> None:
    cause = Cause("api_key:1", Reason.API_STOP, text="a\r\nVia: evil", q850=31)
    assert reason_headers(cause, "CANCEL", send_text=True) == [("Reason", "Q.850;cause=31")]


def test_a_challenge_is_answered_once_and_once_more_when_stale() -> None:
    account, tries, one = Account(("alice", "secret")), dict[int, int](), invite()
    first = account.answer(refusal(one, 401, WWW_Authenticate=CHALLENGE), tries, "INVITE", one.uri, b"")
    assert first is not None
    assert first[0][0] == "Authorization"
    stale = CHALLENGE.replace("n1", "n2") + ", stale=true"
    assert account.answer(refusal(one, 401, WWW_Authenticate=CHALLENGE), tries, "INVITE", one.uri, b"") is None
    again = account.answer(refusal(one, 401, WWW_Authenticate=stale), tries, "INVITE", one.uri, b"")
    assert again is not None
    assert 'nonce="n2"' in again[0][1]
    assert account.answer(refusal(one, 401, WWW_Authenticate=stale), tries, "INVITE", one.uri, b"") is None


def test_proxy_and_far_end_each_get_their_own_credentials() -> None:
    account, tries, one = Account(("alice", "secret")), dict[int, int](), invite()
    account.answer(refusal(one, 407, Proxy_Authenticate=CHALLENGE), tries, "INVITE", one.uri, b"")
    both = account.answer(refusal(one, 401, WWW_Authenticate=CHALLENGE), tries, "INVITE", one.uri, b"")
    assert both is not None
    assert {name for name, _ in both} == {"Authorization", "Proxy-Authorization"}
    later = account.headers("BYE", "sip:x", b"")
    assert {name for name, _ in later} == {"Authorization", "Proxy-Authorization"}
    assert any("nc=00000003" in value for _, value in later), "nonce counts go on"


def test_without_an_account_or_a_known_scheme_there_is_no_answer() -> None:
    one = invite()
    challenge = refusal(one, 401, WWW_Authenticate=CHALLENGE)
    assert Account(None).answer(challenge, {}, "INVITE", one.uri, b"") is None
    basic = refusal(one, 401, WWW_Authenticate="Basic realm=x")
    assert Account(("a", "b")).answer(basic, {}, "INVITE", one.uri, b"") is None
    assert Account(("a", "b")).answer(refusal(one, 486), {}, "INVITE", one.uri, b"") is None


@pytest.mark.parametrize("headers", [{"X-Big": "x" * 60_000}, {f"X-{number}": "" for number in range(129)}])
def test_an_invite_that_no_datagram_or_snapshot_could_hold_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="more than"):
        invite(headers=headers)
