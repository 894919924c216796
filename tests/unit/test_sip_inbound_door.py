"""Who is let in: peers, digest, what an INVITE must be like, and what it says of numbers."""

import pytest

from onhook.lines.engine import Incoming, Peer
from onhook.lines.sip.guard import MAX_USED_NONCES, NONCE_LIFETIME_S
from onhook.lines.sip.message import Request, Response
from onhook.lines.sip.parties import called_number, calling_number, number_of, shown_headers
from tests.unit.sip_caller import US, Caller, authorization, trusting
from tests.unit.sip_world import FAR, SDP, World

pytestmark = pytest.mark.unit

PEER = Peer({"carrier": "pa55", 'tr"unk\\1': "word"})


def challenged(caller: Caller) -> dict[str, str]:
    """Return the challenges of a 401 by algorithm."""
    found = caller.response.raw("WWW-Authenticate")
    return {value.partition("algorithm=")[2].partition(",")[0]: value for value in found}


def again(caller: Caller, credentials: str, branch: str = "") -> Response:
    """Send the INVITE once more, with credentials."""
    caller._cseq += 1
    caller.invite({"Authorization": credentials}, branch=branch or f"z9hG4bKauth{caller._cseq}")
    return caller.response


def asked(world: World, call_id: str = "in1@far") -> Caller:
    caller = Caller(world, call_id=call_id)
    caller.invite()
    assert caller.response.status == 401
    return caller


# --- peers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trusts", [True, False])
async def test_a_stranger_is_refused_and_nothing_is_kept_of_it(trusts: bool) -> None:
    world = World()
    if trusts:
        world.agent.trust(lambda host: Peer() if host == "198.51.100.1" else None)
    caller = Caller(world)
    caller.invite()
    caller.invite()
    caller.ack()
    assert caller.statuses == [403, 403]
    assert (world.events, len(world.agent.layer), world.clock.pending, world.agent.remembered_legs()) == ([], 0, 0, 0)


# --- digest -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize(("username", "password"), list(PEER.accounts.items()))
async def test_a_caller_with_an_account_is_let_in(algorithm: str, username: str, password: str) -> None:
    world = trusting(peer=PEER)
    caller = asked(world)
    assert list(challenged(caller)) == ["SHA-256", "MD5"]
    assert (len(world.agent.layer), world.events) == (0, [])
    escaped = username.replace("\\", "\\\\").replace('"', '\\"')
    credentials = authorization(challenged(caller)[algorithm], username=username, password=password)
    answer = again(caller, credentials.replace(f'username="{username}"', f'username="{escaped}"'))
    assert answer.status == 100
    assert world.of(Incoming)[0].account == username
    assert "Authorization" not in world.of(Incoming)[0].headers


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda text: text.replace('uri="sip:+1202', 'uri="sip:+1303'),
        lambda text: text.replace("nc=00000001", "nc=1"),
        lambda text: text.replace("qop=auth, ", ""),
        lambda text: text.replace('cnonce="c0ffee"', 'cnonce=""'),
        lambda text: text.replace('nonce="0', 'nonce="1'),
        lambda text: text.replace("algorithm=SHA-256", "algorithm=SHA-256-sess"),
        lambda text: text.replace("Digest", "Basic"),
        lambda text: text.replace('response="', 'response="0'),
        lambda text: "",
        lambda text: "Digest nonsense",
    ],
)  # fmt: skip
async def test_credentials_that_are_not_right_are_asked_for_again(spoilt) -> None:  # type: ignore[no-untyped-def]
    world = trusting(peer=PEER)
    caller = asked(world)
    good = authorization(challenged(caller)["SHA-256"], username="carrier", password="pa55")
    assert again(caller, spoilt(good)).status == 401
    assert "stale" not in challenged(caller)["MD5"]
    assert world.events == []


@pytest.mark.parametrize(("username", "password"), [("carrier", "wrong"), ("nobody", "")])
async def test_a_wrong_password_or_name_is_asked_for_again(username: str, password: str) -> None:
    world = trusting(peer=PEER)
    caller = asked(world)
    assert again(caller, authorization(challenged(caller)["MD5"], username=username, password=password)).status == 401


async def test_credentials_for_another_number_do_not_open_this_one() -> None:
    world = trusting(peer=PEER)
    caller = asked(world)
    other = authorization(challenged(caller)["MD5"], username="carrier", password="pa55", uri="sip:other@192.0.2.1")
    assert again(caller, other).status == 401


async def test_an_overheard_request_opens_nothing_but_its_own_repetition_does() -> None:
    world = trusting(peer=PEER)
    caller = asked(world)
    challenge = challenged(caller)["SHA-256"]
    credentials = authorization(challenge, username="carrier", password="pa55")
    assert again(caller, credentials, branch="z9hG4bKone").status == 100
    thief = Caller(world, call_id="thief@far")
    thief.invite({"Authorization": credentials}, branch="z9hG4bKthief")
    assert thief.response.status == 401
    assert "stale=true" in challenged(thief)["MD5"]
    thief.invite({"Authorization": credentials}, branch="z9hG4bKone")
    assert len(world.of(Incoming)) == 1, "the transaction absorbs it"
    second = Caller(world, call_id="second@far")
    second.invite({"Authorization": authorization(challenge, username="carrier", password="pa55", nc="0000000a")})
    assert second.response.status == 100


async def test_a_refused_request_may_be_repeated_with_its_credentials() -> None:
    world = trusting(peer=PEER)
    caller = asked(world)
    more = {
        "Authorization": authorization(challenged(caller)["MD5"], username="carrier", password="pa55"),
        "Require": "100rel",
    }
    for _ in range(2):
        caller.invite(more, branch="z9hG4bKlost")
        assert caller.response.status == 420


async def test_a_nonce_grows_old() -> None:
    world = trusting(peer=PEER)
    caller = asked(world)
    credentials = authorization(challenged(caller)["MD5"], username="carrier", password="pa55")
    world.clock.advance(NONCE_LIFETIME_S + 1)
    assert again(caller, credentials).status == 401
    assert "stale=true" in challenged(caller)["MD5"]
    fresh = authorization(challenged(caller)["MD5"], username="carrier", password="pa55")
    assert again(caller, fresh).status == 100


async def test_used_nonces_fill_no_memory_and_none_that_was_forgotten_is_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MAX_USED_NONCES >= 1000
    monkeypatch.setattr("onhook.lines.sip.guard.MAX_USED_NONCES", 2)
    world = trusting(peer=PEER)
    used = []
    for number in range(3):
        caller = asked(world, f"in{number}@far")
        used.append(authorization(challenged(caller)["MD5"], username="carrier", password="pa55"))
        assert again(caller, used[-1], branch=f"z9hG4bKuse{number}").status == 100
        world.clock.advance(1)
    thief = Caller(world, call_id="thief@far")
    thief.invite({"Authorization": used[0]}, branch="z9hG4bKthief")
    assert "stale=true" in challenged(thief)["MD5"]


# --- what an INVITE must be like --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "body", "status", "header"),
    [
        ({"Require": "100rel, timer"}, SDP, 420, ("Unsupported", "100rel")),
        ({"Require": "Replaces"}, SDP, 420, ("Unsupported", "replaces")),
        ({"Content-Type": "application/isup"}, b"\x01", 415, ("Accept", "application/sdp")),
        ({"Content-Encoding": "gzip"}, SDP, 415, ("Accept-Encoding", "identity")),
        ({}, b"v=0\r\nnonsense", 488, None),
        ({}, SDP.replace(b"AVP 0 101", b"AVP 9 101"), 488, None),
        ({"Session-Expires": "30", "Supported": "timer"}, SDP, 422, ("Min-SE", "90")),
        ({"Contact": ""}, SDP, 400, None),
        ({"From": "<sip:a@b>"}, SDP, 400, None),
    ],
)
async def test_an_invite_that_we_cannot_serve_is_refused_before_anybody_is_told(
    more: dict[str, str], body: bytes, status: int, header: tuple[str, str] | None
) -> None:
    world = trusting()
    Caller(world).invite(more, sdp=body)
    (response,) = world.responses("INVITE")
    assert response.status == status
    assert header is None or response.first(header[0]) == header[1]
    assert (world.events, len(world.agent.layer), len(world.media.sessions)) == ([], 0, 0)


async def test_a_scheme_that_we_do_not_speak_is_refused() -> None:
    world = trusting()
    caller = Caller(world)
    caller.uri = "sips:+12025550100@192.0.2.1"
    caller.invite()
    assert caller.statuses == [416]


async def test_an_invite_in_an_unknown_dialog_is_no_new_call() -> None:
    world = trusting()
    caller = Caller(world)
    caller.send("INVITE", cseq=1, body=SDP, to_tag="unknown")
    assert (caller.statuses, world.events) == ([481], [])


# --- numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("sip:+12025550100@x", "+12025550100"),
        ("sip:+1-202-555-0100;npdi@x:5060;user=phone", "+12025550100"),
        ("sip:%2B12025550100@x", "+12025550100"),
        ("sip:12025550100@x", "+12025550100"),
        ("sip:0012025550100@x", "+12025550100"),
        ("sip:+12025550100:secret@x", "+12025550100"),
        ("SIP:2025550100@x", "2025550100"),
        ("sip:5550100;phone-context=+1202@x", "+12025550100"),
        ("sip:5550100;phone-context=example.com@x", "5550100"),
        ("tel:+1(202)555-0100", "+12025550100"),
        ("tel:911", "911"),
        ("sip:+@x", "+"),
        ("sip:anonymous@anonymous.invalid", "anonymous"),
        ("sip:call_0123456789abcdef@x", "call_0123456789abcdef"),
        ("sip:j%C3%BCrgen@x", "jürgen"),
        ("sip:192.0.2.1", ""),
        ("", ""),
        ("sip:" + "1" * 500 + "@x", "1" * 128),
    ],
)
def test_a_user_part_is_read_as_a_number_where_it_is_one(uri: str, number: str) -> None:
    assert number_of(uri) == number


def invite_with(uri: str = US, **headers: str) -> Request:
    head = {
        "Via": "SIP/2.0/UDP x;branch=z9hG4bKx",
        "From": '"Ann" <sip:+12025550123@x>;tag=1',
        "To": "<sip:+12025550199@x>",
        "Call-ID": "a",
        "CSeq": "1 INVITE",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Request(method="INVITE", uri=uri, headers=tuple(head.items()))


def test_the_called_number_is_in_the_request_uri_else_in_to() -> None:
    assert called_number(invite_with()) == "+12025550100"
    assert called_number(invite_with("sip:192.0.2.1")) == "+12025550199"


def test_the_calling_number_is_what_the_network_asserts_unless_it_is_private() -> None:
    asserted = '"Ann" <sip:ann@x>, <tel:+12025550177>'
    assert calling_number(invite_with()) == "+12025550123"
    assert calling_number(invite_with(P_Asserted_Identity="<tel:+12025550177>")) == "+12025550177"
    assert calling_number(invite_with(P_Asserted_Identity=asserted)) == "ann"
    assert calling_number(invite_with(P_Asserted_Identity="<sip:gw.test>")) == "+12025550123"
    hidden = invite_with(P_Asserted_Identity=asserted, Privacy="critical; id", From="<sip:anonymous@x>;tag=1")
    assert calling_number(hidden) == "anonymous"


def test_headers_are_shown_as_people_read_them() -> None:
    invite = Request(
        method="INVITE",
        uri=US,
        headers=(*invite_with().headers, ("X-Tag", "a"), ("Authorization", "Digest x"), ("X-Tag", "j\xc3\xbcrgen")),
    )
    assert shown_headers(invite) == {"X-Tag": "a, jürgen"}
    assert FAR.host == "192.0.2.9"
