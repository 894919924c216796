"""The sandbox's judgement of a caller: one wrong message per rule, and the right one that draws nothing."""

import ast
import hashlib
from pathlib import Path

import pytest

from onhook.lines.sandbox import judge
from onhook.lines.sandbox.digest import Demand, Door, fault_in
from onhook.lines.sandbox.numbers import Challenge
from onhook.lines.sandbox.uas import Request, Response, parse, response

pytestmark = pytest.mark.unit

RIGHT = (
    "{method} sip:far@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:me@x>;tag=mine\r\n"
    "To: <sip:far@x>\r\nCall-ID: one\r\nCSeq: 5 {method}\r\nContact: <sip:me@127.0.0.1>\r\n{more}\r\n"
)


def message(method: str, *, more: str = "", change: tuple[str, str] = ("", "")) -> Request:
    text = RIGHT.format(method=method, more=more)
    assert change[0] in text
    parsed = parse(text.replace(*change).encode())
    assert isinstance(parsed, Request)
    return parsed


def test_the_sandbox_imports_nothing_of_ours_but_itself_and_the_clock() -> None:
    sources = sorted(Path(judge.__file__).parent.glob("*.py"))
    nodes = [node for source in sources for node in ast.walk(ast.parse(source.read_text()))]
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in names if name.startswith("onhook") and not name.startswith("onhook.lines.sandbox")}
    assert ours == {"onhook.clock"}


def test_a_right_invite_draws_nothing() -> None:
    assert judge.faults_of_invite(message("INVITE"), 4, cancelled=False) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("z9hG4bK1", "1"), "INVITE without an RFC 3261 branch"),
        ((";tag=mine", ""), "INVITE without a From tag"),
        (("Contact: <sip:me@127.0.0.1>\r\n", ""), "INVITE without exactly one Contact"),
        (("CSeq: 5", "CSeq: 4"), "new INVITE with CSeq 4 after 4"),
    ],
)
def test_a_wrong_invite_draws_its_fault(change: tuple[str, str], fault: str) -> None:
    assert judge.faults_of_invite(message("INVITE", change=change), 4, cancelled=False) == [fault]


def test_an_invite_after_a_cancel_is_a_fault() -> None:
    assert judge.faults_of_invite(message("INVITE"), 4, cancelled=True) == ["new INVITE after a CANCEL"]


def test_a_right_cancel_draws_nothing() -> None:
    assert judge.faults_of_cancel(message("CANCEL"), message("INVITE"), replied=True) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("sip:far@127.0.0.1 ", "sip:near@127.0.0.1 "), "CANCEL with another Request-URI than its INVITE"),
        (("CSeq: 5", "CSeq: 6"), "CANCEL with CSeq 6, its INVITE has 5"),
        (("<sip:far@x>", "<sip:far@x>;tag=far"), "CANCEL with a To tag"),
        (("Contact", "Route: <sip:p;lr>\r\nContact"), "CANCEL with another Route than its INVITE"),
    ],
)
def test_a_wrong_cancel_draws_its_fault(change: tuple[str, str], fault: str) -> None:
    assert judge.faults_of_cancel(message("CANCEL", change=change), message("INVITE"), replied=True) == [fault]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("", ""), None),
        ((";tag=far", ";tag=other"), "ACK of the 486 with another To tag"),
        (("CSeq: 5", "CSeq: 6"), "ACK of the 486 with another CSeq number"),
        (("sip:far@127.0.0.1 ", "sip:near@x "), "ACK of the 486 with another Request-URI than its INVITE"),
    ],
)
def test_the_ack_of_a_refusal_must_match_it(change: tuple[str, str], fault: str | None) -> None:
    busy: Response = response(message("INVITE"), 486, tag="far")
    ack = message("ACK", change=("To: <sip:far@x>", "To: <sip:far@x>;tag=far"))
    changed = parse(ack.encode().replace(change[0].encode(), change[1].encode(), 1) if fault else ack.encode())
    assert isinstance(changed, Request)
    assert judge.faults_of_refusal_ack(changed, busy, message("INVITE")) == ([fault] if fault else [])


def credentials(**changes: str) -> str:
    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    uri = changes.get("uri", "sip:far@127.0.0.1")
    second = md5(f"BYE:{uri}")
    values = {
        "username": "onhook",
        "realm": "sandbox",
        "nonce": "n",
        "uri": uri,
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "c",
        "response": md5(f"{md5('onhook:sandbox:sandbox')}:n:00000001:c:auth:{second}"),
        **changes,
    }
    return "Authorization: Digest " + ", ".join(f'{key}="{value}"' for key, value in values.items()) + "\r\n"


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (credentials(), None),
        ("", "BYE came again without Authorization"),
        (credentials(nonce="old"), "Authorization: wrong or missing nonce"),
        (credentials(uri="sip:other@x"), "Authorization: wrong or missing uri"),
        (credentials(nc="00000002"), "Authorization: wrong or missing nc"),
        (credentials(cnonce=""), "Authorization: wrong or missing cnonce"),
        (credentials(algorithm="SHA-256"), "Authorization: algorithm is not MD5"),
        (credentials(response="0" * 32), "Authorization: wrong response"),
    ],
)
def test_credentials_are_right_or_draw_their_fault(header: str, fault: str | None) -> None:
    assert fault_in(message("BYE", more=header), Demand(Challenge(401), "n")) == fault


def test_a_door_without_challenges_lets_everything_pass() -> None:
    door = Door(())
    assert door.check(message("BYE")) is None
    assert door.take_faults() == []


def test_a_door_asks_again_under_a_new_nonce_and_tells_each_fault_once() -> None:
    door = Door((Challenge(401),))
    first, second = door.check(message("BYE")), door.check(message("BYE"))
    assert first is not None
    assert second is not None
    assert first.nonce != second.nonce
    assert door.take_faults() == ["BYE came again without Authorization"]
    assert door.take_faults() == []
