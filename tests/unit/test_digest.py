"""Digest answers against the vectors of the RFCs and an independent computation."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lines.sip.auth import ALGORITHMS, DigestSession, parse_challenge, strongest

pytestmark = pytest.mark.unit

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"


def fields(value: str) -> dict[str, str]:
    """Read credentials with code of the test's own."""
    scheme, _, rest = value.partition(" ")
    assert scheme == "Digest"
    return {name: quoted or token for name, quoted, token in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', rest)}


def session(cnonce: str, username: str = "Mufasa", password: str = "Circle of Life") -> DigestSession:
    return DigestSession(username, password, new_cnonce=lambda: cnonce)


def answered(
    digest: DigestSession, *challenges: str, method: str = "GET", uri: str = "/dir/index.html", body: bytes = b""
) -> dict[str, str]:
    result = digest.answer(list(challenges), proxy=False, method=method, uri=uri, body=body)
    assert result is not None
    assert result[0] == "Authorization"
    return fields(result[1])


def test_answers_the_example_of_rfc_2617() -> None:
    challenge = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    sent = answered(session("0a4f113b", password="Circle Of Life"), challenge)
    assert sent["response"] == "6629fae49393a05397450978507c4ef1"
    assert (sent["qop"], sent["nc"], sent["cnonce"]) == ("auth", "00000001", "0a4f113b")
    assert sent["opaque"] == "5ccc069c403ebaf9f0171e9517f40e41"
    assert "algorithm" not in sent


def test_answers_the_md5_example_of_rfc_7616() -> None:
    challenge = f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="{NONCE}"'
    sent = answered(session("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"), challenge)
    assert sent["response"] == "8ca523f5e9506fed4657c9700eebdbec"


def test_answers_the_sha_256_example_of_rfc_7616() -> None:
    challenge = f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="{NONCE}"'
    sent = answered(session("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"), challenge)
    assert sent["response"] == "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    assert sent["algorithm"] == "SHA-256"


def test_answers_the_old_form_without_qop() -> None:
    """The SIP example that every stack knows: RFC 2069 form, computed here by hand."""
    sent = answered(
        session("unused", "bob", "zanzibar"), 'Digest realm="biloxi.com", nonce="abc"', method="INVITE", uri="sip:a@b"
    )
    a1 = hashlib.md5(b"bob:biloxi.com:zanzibar").hexdigest()
    a2 = hashlib.md5(b"INVITE:sip:a@b").hexdigest()
    assert sent["response"] == hashlib.md5(f"{a1}:abc:{a2}".encode()).hexdigest()
    assert {"qop", "nc", "cnonce"}.isdisjoint(sent)


def test_a_session_variant_without_qop_still_tells_its_cnonce() -> None:
    sent = answered(session("c", "u", "p"), 'Digest realm="r", nonce="n", algorithm=MD5-sess')
    assert sent["cnonce"] == "c"
    assert "qop" not in sent


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("sess", ["", "-sess"])
@pytest.mark.parametrize(("name", "hash_name"), [("MD5", "md5"), ("SHA-256", "sha256"), ("SHA-512-256", "sha512_256")])
def test_every_combination_equals_an_independent_computation(name: str, hash_name: str, sess: str, qop: str) -> None:
    if name not in ALGORITHMS:
        pytest.skip(f"this OpenSSL has no {name}")

    def digest(text: str) -> str:
        return hashlib.new(hash_name, text.encode()).hexdigest()

    challenge = f'Digest realm="r", nonce="n", algorithm={name}{sess}, qop="{qop}"'
    sent = answered(session("c", "u", "p"), challenge, method="BYE", uri="sip:x@y", body=b"v=0\r\n")
    a1 = digest("u:r:p") if not sess else digest(f"{digest('u:r:p')}:n:c")
    a2 = digest("BYE:sip:x@y" if qop == "auth" else f"BYE:sip:x@y:{digest('v=0' + chr(13) + chr(10))}")
    assert sent["response"] == digest(f"{a1}:n:00000001:c:{qop}:{a2}")
    assert sent["algorithm"] == f"{name}{sess}"


def test_picks_the_strongest_supported_challenge() -> None:
    weak = 'Digest realm="r", nonce="weak", algorithm=MD5, qop="auth"'
    strong = 'Digest realm="r", nonce="strong", algorithm=SHA-256, qop="auth"'
    unknown = 'Digest realm="r", nonce="unknown", algorithm=SHA3-512, qop="auth"'
    assert answered(session("c"), weak, unknown, strong)["nonce"] == "strong"


def test_picks_the_first_of_equally_strong_challenges() -> None:
    first = strongest(['Digest realm="r", nonce="first"', 'Digest realm="r", nonce="second"'])
    assert first is not None
    assert first.nonce == "first"


def test_prefers_auth_over_auth_int() -> None:
    assert answered(session("c"), 'Digest realm="r", nonce="n", qop="auth-int,auth"')["qop"] == "auth"


def test_counts_each_nonce_on_its_own() -> None:
    digest = session("c")
    one, two = 'Digest realm="r", nonce="one", qop="auth"', 'Digest realm="r", nonce="two", qop="auth"'
    counts = [answered(digest, challenge)["nc"] for challenge in (one, one, two, one)]
    assert counts == ["00000001", "00000002", "00000001", "00000003"]


def test_goes_on_with_the_known_nonce_for_later_requests() -> None:
    digest = session("c")
    assert digest.preemptive("BYE", "sip:a@b", b"") is None
    first = digest.answer(
        ['Digest realm="r", nonce="n", qop="auth"'], proxy=True, method="INVITE", uri="sip:a@b", body=b""
    )
    later = digest.preemptive("BYE", "sip:a@b", b"")
    assert first is not None
    assert later is not None
    assert first[0] == later[0] == "Proxy-Authorization"
    assert fields(later[1])["nc"] == "00000002"
    assert fields(later[1])["response"] != fields(first[1])["response"]


def test_a_long_dialog_does_not_grow() -> None:
    digest = session("c")
    for number in range(1000):
        answered(digest, f'Digest realm="r", nonce="{number}", qop="auth"')
    assert len(digest._uses) <= 16


@pytest.mark.parametrize(("stale", "expected"), [("true", True), ("TRUE", True), ('"true"', True), ("false", False)])
def test_knows_a_stale_nonce(stale: str, expected: bool) -> None:
    assert session("c").is_stale([f'Digest realm="r", nonce="n", stale={stale}']) is expected


def test_quotes_in_names_cannot_break_out_of_the_header() -> None:
    digest = DigestSession('a"b\\', "p")
    result = digest.answer(['Digest realm="x\\"y", nonce="n"'], proxy=False, method="BYE", uri="sip:a@b", body=b"")
    assert result is not None
    assert 'username="a\\"b\\\\"' in result[1]
    assert 'realm="x\\"y"' in result[1]


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "Basic realm=x",
        "Digest",
        "Digest ",
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", nonce=""',
        'Digest realm="r, nonce="n"',
        'Digest realm="r", nonce="n\r\nVia: evil"',
        'Digest realm="r", nonce="n", algorithm=SHA-1',
        'Digest realm="r", nonce="n", algorithm=-sess',
        'Digest realm="r", nonce="n", qop="voodoo"',
        'Digest realm="\ud800", nonce="n"',
        'Digest realm="r", nonce="' + "n" * 10_000 + '"',
    ],
)
def test_a_hostile_challenge_gets_no_answer(hostile: str) -> None:
    digest = session("c")
    assert digest.answer([hostile], proxy=False, method="BYE", uri="sip:a@b", body=b"") is None
    assert digest.is_stale([hostile]) is False


@given(st.text(max_size=200))
def test_no_text_crashes_the_reader(text: str) -> None:
    for value in (text, f"Digest {text}", f'Digest realm="{text}", nonce="{text}", qop={text}'):
        challenge = parse_challenge(value)
        if challenge is not None:
            result = session("c").answer([value], proxy=False, method="BYE", uri="sip:a@b", body=b"")
            assert result is not None
            assert "\r" not in result[1]
            assert "\n" not in result[1]
